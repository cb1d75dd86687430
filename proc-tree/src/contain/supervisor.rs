//! The caller's side of a supervisor: the socket to it, and what it has said.

use crate::id::ProcId;
use crate::signal::Signal;
use crate::sys::{Account, EXITED, KILL, KILLED, LET_LIVE, MESSAGE, Pidfd, account_of_ended};
use crate::wait::reap_later;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A running supervisor. Dropping it closes the socket, and then the supervisor kills the tree
/// unless it was told to let it live.
#[derive(Debug)]
pub(crate) struct Link {
    socket: OwnedFd,
    id: ProcId,
    end: Pidfd,
    root: Option<Pidfd>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the supervisor ended because nobody was left, once it was waited for.
    is_concluded: Option<bool>,
    /// How the root has ended.
    root: Option<ExitStatus>,
    /// How many the supervisor has killed, as its last word says.
    killed: usize,
    /// What all that it has waited for have used, once it has ended.
    account: Option<Account>,
}

impl Link {
    /// Makes the two ends of a socket: ours, and that of the supervisor.
    pub(crate) fn socket() -> io::Result<(OwnedFd, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
    }

    /// Takes hold of a supervisor that was just started, and of its root.
    pub(crate) fn new(socket: OwnedFd, id: ProcId, end: Pidfd, root: Option<Pidfd>) -> Self {
        Self { socket, id, end, root, state: Mutex::default() }
    }

    /// The root, if it could be held.
    pub(crate) fn root(&self) -> Option<&Pidfd> {
        self.root.as_ref()
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

    /// Whoever belongs to the same user may stop a supervisor, so each word wakes it as well.
    fn tell(&self, word: u8) {
        let _ = send(&self.socket, &[word], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        let _ = self.end.signal(Signal::CONT);
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
                _ if is_gone => Some(self.status_without_supervisor()),
                _ => None,
            };
        }
        state.root
    }

    /// The supervisor was killed, and its death has killed the root, which may have ended before.
    fn status_without_supervisor(&self) -> ExitStatus {
        let told = self.root.as_ref().and_then(Pidfd::told_status);
        told.unwrap_or_else(|| ExitStatus::from_raw(libc::SIGKILL))
    }

    /// Waits for the supervisor itself, if it has ended, so that it is no zombie; whether it ended
    /// because nobody was left.
    pub(crate) fn conclude(&self) -> Option<bool> {
        if !self.end.is_dead() {
            return None;
        }
        self.root_status();
        let mut state = self.state();
        if state.is_concluded.is_none() {
            // Its own memory may be a copy of the caller's, and says nothing of the tree.
            let account = account_of_ended(self.end.as_fd());
            state.account = account.map(|account| Account { peak_memory: None, ..account });
            let status = self.end.reap().ok().flatten();
            let mut said_goodbye = false;
            // Nobody needs the messages to wake any more: the end of the socket does.
            while let Some((tag, _, value)) = self.next_message(RecvFlags::DONTWAIT) {
                if tag == KILLED {
                    said_goodbye = true;
                    state.killed = usize::try_from(value).unwrap_or(usize::MAX);
                }
            }
            // Whoever ignores SIGCHLD may not learn how it ended; then its last word tells.
            state.is_concluded = Some(status.map_or(said_goodbye, |status| status.success()));
        }
        state.is_concluded
    }

    /// How many it has killed, once it was seen to be gone.
    pub(crate) fn killed(&self) -> usize {
        self.state().killed
    }

    /// What all that it has waited for have used, once it was seen to be gone.
    pub(crate) fn account(&self) -> Option<Account> {
        self.state().account
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
            reap_later(self.end.clone());
        }
    }
}
