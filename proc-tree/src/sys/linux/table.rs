//! The real process table: `/proc` to look, pidfds to act, one epoll set to wait.

use super::elders::Elders;
use super::mark;
use super::pidfd::{Pidfd, WaitSet};
use super::procfs::ProcFs;
use super::reserve::{is_shortage, sparing};
use super::sight::{hides_processes, pid_max};
use crate::engine::{GroupSent, Listing, Opened, Sent, Stat, Table};
use crate::evidence::Evidence;
use crate::id::{BootId, Pid, ProcId};
use crate::signal::Signal;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

/// Descriptors that are left free, so that `/proc` can still be read, also by other threads.
const HEADROOM: u64 = 16;

/// The processes of this machine.
#[derive(Debug)]
pub(crate) struct SystemTable {
    proc: ProcFs,
    /// Missing when there was no descriptor for it: then ends are looked for.
    ends: Option<WaitSet>,
    elders: Elders,
    /// Descriptors are numbered from the lowest free one, so a number near this means few are left.
    descriptor_limit: u64,
}

impl SystemTable {
    pub(crate) fn open() -> io::Result<Self> {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Ok(Self {
            proc: ProcFs::open()?,
            ends: sparing(WaitSet::new).ok(),
            elders: Elders::default(),
            descriptor_limit: limit.saturating_sub(HEADROOM),
        })
    }

    /// Readable when a watched process has ended.
    pub(crate) fn news(&self) -> Option<BorrowedFd<'_>> {
        self.ends.as_ref().map(AsFd::as_fd)
    }
}

impl Table for SystemTable {
    type Handle = Pidfd;

    fn own_pid(&self) -> Pid {
        std::process::id()
    }

    fn open(&mut self, pid: Pid, urgently: bool) -> Opened<Pidfd> {
        let opened = if urgently { Pidfd::open_sparing(pid) } else { Pidfd::open(pid) };
        match opened {
            Ok(pidfd) if !urgently && pidfd.as_fd().as_raw_fd() as u64 >= self.descriptor_limit => {
                Opened::Exhausted
            }
            Ok(pidfd) => Opened::Held(pidfd),
            Err(error) if is_shortage(error) => Opened::Exhausted,
            // Nobody, or a thread: the numbers of those are told apart by newer kernels.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Opened::Gone,
            Err(_) => Opened::Refused,
        }
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn is_older(&mut self, pid: Pid, start: u64) -> bool {
        self.elders.was_seen_before(pid, start)
    }

    fn newest_since(&mut self, root: ProcId) -> Option<Pid> {
        self.proc.newest_since(root.start())
    }

    fn remember_elders(&mut self) {
        if self.elders.has_noted() {
            self.elders.remember(super::now());
        }
    }

    fn boot(&self) -> BootId {
        super::boot()
    }

    fn inode(&mut self, process: &Pidfd) -> Option<NonZeroU64> {
        process.inode()
    }

    fn has_its_pid(&mut self, process: &Pidfd) -> bool {
        process.has_its_pid()
    }

    fn stat(&mut self, pid: Pid) -> Option<Stat> {
        self.proc.stat(pid)
    }

    fn name(&mut self, pid: Pid) -> Option<Vec<u8>> {
        self.proc.stat_and_name(pid).map(|(_, name)| name)
    }

    fn children(&mut self, pid: Pid, out: &mut Vec<Pid>) -> Listing {
        self.proc.children(pid, out)
    }

    fn all(&mut self, out: &mut Vec<Pid>) {
        // It fails for want of a descriptor alone, and `ran_short` tells.
        let _ = self.proc.all(out);
    }

    fn ran_short(&mut self) -> bool {
        self.proc.ran_short()
    }

    fn hidden(&mut self, mark: u64, until: Instant, out: &mut Vec<Pid>) -> bool {
        if !hides_processes() {
            return true;
        }
        // Limits are read by number, whatever `/proc` shows.
        for pid in 2..pid_max() {
            if pid % 1024 == 0 && Instant::now() >= until {
                return false;
            }
            if mark::carries(pid, mark) == Ok(true) {
                out.push(pid);
            }
        }
        true
    }

    fn was_hidden(&mut self) -> bool {
        self.proc.was_hidden()
    }

    fn is_marked(&mut self, pid: Pid, mark: u64, thorough: bool) -> bool {
        match mark::carries(pid, mark) {
            Ok(carries) => carries,
            // It belongs to another user, and shows its limits to everybody in a file.
            Err(Errno::PERM) => thorough && self.proc.shows_mark(pid, mark),
            Err(_) => false,
        }
    }

    fn mark(&mut self, process: &Pidfd, pid: Pid, mark: u64) -> bool {
        // Limits are set by number. Whoever has the number now is the one that is held.
        let is_marked = mark::put(pid, mark);
        let was_right = process.has_its_pid();
        if !was_right {
            mark::remove(pid, mark);
        }
        is_marked && was_right
    }

    fn carries(&mut self, pid: Pid, evidence: &Evidence) -> bool {
        let (variables, arguments) = (&evidence.variables, &evidence.arguments);
        variables.iter().any(|entry| self.proc.has_variable(pid, entry))
            || arguments.iter().any(|word| self.proc.has_argument(pid, word))
    }

    fn all_threads_stopped(&mut self, pid: Pid) -> bool {
        self.proc.all_threads_stopped(pid)
    }

    fn signal(&mut self, process: &Pidfd, signal: Signal) -> Sent {
        match process.signal(signal) {
            Ok(()) => Sent::Delivered,
            Err(Errno::SRCH) => Sent::Gone,
            Err(_) => Sent::Denied,
        }
    }

    fn signal_group(&mut self, leader: &Pidfd, signal: Option<Signal>) -> GroupSent {
        leader.signal_group(signal)
    }

    fn is_dead(&mut self, process: &Pidfd) -> bool {
        process.is_dead()
    }

    fn watch(&mut self, process: &Pidfd, token: usize) -> bool {
        self.ends.as_ref().is_some_and(|ends| ends.watch_end(process, token).is_ok())
    }

    fn ended(&mut self, out: &mut Vec<usize>) {
        let mut tokens = Vec::new();
        if let Some(ends) = &self.ends {
            ends.take(&mut tokens);
        }
        out.extend(tokens.into_iter().filter_map(|token| usize::try_from(token).ok()));
    }
}
