//! The caller's side of a supervisor: the socket to it, and what it has said.

use crate::id::ProcId;
use crate::sys::{EXITED, KILL, KILLED, LET_LIVE, MESSAGE, Pidfd, ROOT, wait_readable};
use crate::wait::reap_later;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a supervisor that has started may take to name the root. It does so before the exec that
/// the spawn has waited for, so the message is there, unless the supervisor was killed meanwhile.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// A running supervisor. Dropping it closes the socket, and then the supervisor kills the tree
/// unless it was told to let it live.
#[derive(Debug)]
pub(crate) struct Link {
    socket: OwnedFd,
    id: ProcId,
    end: Pidfd,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Taken by the drop alone.
    process: Option<Child>,
    /// How the supervisor itself has ended, once it was waited for.
    ended: Option<ExitStatus>,
    /// How the root has ended.
    root: Option<ExitStatus>,
    /// How many the supervisor has killed, as its last word says.
    killed: usize,
}

impl Link {
    /// Makes the two ends of a socket: ours, and that of the supervisor.
    pub(crate) fn socket() -> io::Result<(OwnedFd, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
    }

    /// Takes hold of a supervisor that was just started; also returns who the root is. On a failure
    /// the socket is closed, and the supervisor kills what it has.
    pub(crate) fn connect(socket: OwnedFd, process: Child) -> io::Result<(Self, ProcId)> {
        let lost = || io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor ended early");
        let id = ProcId::of(process.id()).ok_or_else(lost)?;
        let link = Self {
            end: Pidfd::open(process.id())?,
            id,
            socket,
            state: Mutex::new(State { process: Some(process), ended: None, root: None, killed: 0 }),
        };
        wait_readable(link.socket.as_fd(), Instant::now() + FIRST_WORD)?;
        match link.next_message(RecvFlags::DONTWAIT) {
            Some((ROOT, pid, start)) => Ok((link, ProcId::new(pid, start))),
            _ => Err(lost()),
        }
    }

    /// Which process the supervisor is.
    pub(crate) fn id(&self) -> ProcId {
        self.id
    }

    /// Ends with the supervisor, and that ends with the tree.
    pub(crate) fn end(&self) -> &Pidfd {
        &self.end
    }

    /// Readable when the root has ended, or the supervisor.
    pub(crate) fn news(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Tells the supervisor to kill everybody. One that is gone has done so.
    pub(crate) fn strike(&self) {
        self.tell(KILL);
    }

    /// Tells the supervisor to let the tree live when the caller is gone.
    pub(crate) fn let_live(&self) {
        self.tell(LET_LIVE);
    }

    fn tell(&self, word: u8) {
        let _ = send(&self.socket, &[word], SendFlags::NOSIGNAL);
    }

    /// How the root has ended, if it has. A root whose supervisor was killed has been killed, too.
    pub(crate) fn root_status(&self) -> Option<ExitStatus> {
        let mut state = self.state();
        if state.root.is_none() {
            // Asked first: a supervisor that ends afterwards has said how the root did.
            let is_gone = self.end.is_dead();
            // The message stays in the socket, so that it wakes everybody who waits for it.
            let peeked = self.next_message(RecvFlags::DONTWAIT | RecvFlags::PEEK);
            state.root = match peeked {
                Some((EXITED, _, status)) => Some(ExitStatus::from_raw(status as i32)),
                _ if is_gone => Some(ExitStatus::from_raw(libc::SIGKILL)),
                _ => None,
            };
        }
        state.root
    }

    /// Waits for the supervisor itself, if it has ended, so that it is no zombie; whether it ended
    /// because nobody was left.
    pub(crate) fn conclude(&self) -> Option<bool> {
        if !self.end.is_dead() {
            return None;
        }
        self.root_status();
        let mut state = self.state();
        if state.ended.is_none() {
            let process = state.process.as_mut();
            state.ended = process.and_then(|process| process.try_wait().ok().flatten());
            // Nobody needs the messages to wake any more: the end of the socket does.
            while let Some((tag, _, value)) = self.next_message(RecvFlags::DONTWAIT) {
                if tag == KILLED {
                    state.killed = usize::try_from(value).unwrap_or(usize::MAX);
                }
            }
        }
        Some(state.ended.is_some_and(|status| status.success()))
    }

    /// How many it has killed, once it was seen to be gone.
    pub(crate) fn killed(&self) -> usize {
        self.state().killed
    }

    fn next_message(&self, flags: RecvFlags) -> Option<(u8, u32, u64)> {
        let mut message = [0; MESSAGE];
        loop {
            match recv(&self.socket, &mut message[..], flags) {
                Ok((MESSAGE, _)) => break,
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return None,
            }
        }
        let (tag, rest) = message.split_first()?;
        let (number, value) = rest.split_first_chunk()?;
        let value = value.first_chunk()?;
        Some((*tag, u32::from_ne_bytes(*number), u64::from_ne_bytes(*value)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Link {
    /// The supervisor ends when the tree does, which may be long after us.
    fn drop(&mut self) {
        if self.conclude().is_none() {
            let process = self.state().process.take();
            process.into_iter().for_each(|process| reap_later(self.end.as_fd(), process));
        }
    }
}
