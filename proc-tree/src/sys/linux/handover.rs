//! How a process that std forks hands its own pidfd to the caller, before its exec.
//!
//! Where the kernel waits for the children of the caller, such a process may be gone, and its number in use
//! again, before std has returned. A pidfd that was made before holds it all the same, and newer kernels
//! tell how it has ended.

use super::above_standard;
use super::pidfd::Pidfd;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// Both ends of a socket.
#[derive(Debug)]
pub(crate) struct Handover {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Handover {
    pub(crate) fn new() -> io::Result<Self> {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (ours, theirs) = socketpair(family, kind, SocketFlags::CLOEXEC, None)?;
        // The streams of the child are put in place before it hands anything over.
        Ok(Self { ours, theirs: above_standard(theirs)? })
    }

    /// Hands over the calling process, under the rules of `launch.rs`: these calls allocate nothing. What
    /// fails is not handed over, and the caller looks for the process by its number.
    pub(super) fn give(&self) {
        let Ok(own) = pidfd_open(getpid(), PidfdFlags::empty()) else { return };
        let descriptors = [own.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        if message.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let _ = sendmsg(&self.theirs, &[IoSlice::new(&[0])], &mut message, flags);
        }
    }

    /// The process that has handed itself over.
    pub(crate) fn take(&self) -> Option<Pidfd> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        recvmsg(&self.ours, &mut [IoSliceMut::new(&mut [0])], &mut message, flags).ok()?;
        message
            .drain()
            .find_map(|part| match part {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            })
            .map(Pidfd::from_owned)
    }
}
