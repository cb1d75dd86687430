//! [`Table`]: what the engine may ask of a process table and do to it.
//!
//! The real table is `/proc` and pidfds. The fake one is a list in memory whose processes fork,
//! die and have their pids used again at exactly the worst moment.

use crate::evidence::Evidence;
use crate::id::{BootId, Pid, ProcId};
use crate::signal::Signal;
use std::num::NonZeroU64;
use std::time::Instant;

/// What one look at a process tells. All numbers are of the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: Pid,
    pub(crate) parent: Pid,
    pub(crate) group: Pid,
    pub(crate) session: Pid,
    pub(crate) start: u64,
    pub(crate) threads: u32,
    pub(crate) state: State,
    pub(crate) is_kernel_thread: bool,
}

impl Stat {
    /// Whether the first thread has ended and was the last one.
    pub(crate) fn is_dead(&self) -> bool {
        self.state.is_zombie() && self.threads <= 1
    }
}

/// The state of the first thread, as the letter of `ps`. It is not always that of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(pub(crate) u8);

impl State {
    /// Stopped by a signal or by a tracer.
    pub(crate) fn is_stopped(self) -> bool {
        matches!(self.0, b'T' | b't')
    }

    /// The first thread has ended. Others may still run.
    pub(crate) fn is_zombie(self) -> bool {
        matches!(self.0, b'Z' | b'X' | b'x')
    }

    /// Waits inside the kernel and answers no signal until that ends.
    pub(crate) fn is_uninterruptible(self) -> bool {
        self.0 == b'D'
    }
}

/// What a list of children is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Every child that the process had at the time is in it.
    Whole,
    /// The process is gone, or a zombie: it has no children any more.
    Gone,
    /// The system does not tell the children of a process: only a scan of the table can.
    Unsupported,
    /// No descriptor was free to read with.
    Exhausted,
}

/// A process taken hold of, or why not.
#[derive(Debug)]
pub(crate) enum Opened<H> {
    Held(H),
    Gone,
    /// No descriptor was free.
    Exhausted,
    /// The system does not hold processes for the caller, so nothing can be said of this one.
    Refused,
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Delivered,
    Gone,
    Denied,
    /// The process could not be held, so nothing was sent.
    Unheld,
}

/// What became of a signal to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupSent {
    /// At least one member, perhaps a zombie, is in the group, and got it if it may.
    Delivered,
    /// Nobody is in the group any more.
    Empty,
    /// Members exist and none may be signalled.
    Denied,
    /// The system cannot signal a group without naming it by a number that may be reused.
    Unsupported,
}

/// A process table, and the processes in it.
pub(crate) trait Table {
    /// Holds one process, whatever becomes of its number. A clone is as good and takes no descriptor.
    type Handle: Clone;

    /// The pid of the calling process.
    fn own_pid(&self) -> Pid;

    /// The time, for loops that may take longer than they have.
    fn now(&self) -> Instant;

    /// Whether the process that has `pid` is certainly older than one that started at `start`.
    fn is_older(&mut self, pid: Pid, start: u64) -> bool;

    /// The newest pid that the kernel has given out, if `root` is so young that pids cannot have come round since
    /// its start. Then every process younger than `root` has a pid between that of `root` and this one.
    fn newest_since(&mut self, root: ProcId) -> Option<Pid>;

    /// Lets later looks know who was asked for by [`is_older`](Self::is_older).
    fn remember_elders(&mut self);

    /// The boot that start times count from.
    fn boot(&self) -> BootId;

    /// Takes hold of the process that has `pid` now. Urgently means with the last descriptor that there
    /// is, and in the place of one that is kept for this; otherwise some are left free.
    fn open(&mut self, pid: Pid, urgently: bool) -> Opened<Self::Handle>;

    /// The number that no other process of this boot has, where the system gives one.
    fn inode(&mut self, process: &Self::Handle) -> Option<NonZeroU64>;

    /// Whether the process still has its pid: it runs, or is a zombie that nobody has waited for.
    fn has_its_pid(&mut self, process: &Self::Handle) -> bool;

    /// A look at the process that has `pid` now; `None` when there is none.
    fn stat(&mut self, pid: Pid) -> Option<Stat>;

    /// The name of the process that has `pid` now, for people.
    fn name(&mut self, pid: Pid) -> Option<Vec<u8>>;

    /// Appends the children of all threads of `pid`.
    fn children(&mut self, pid: Pid, out: &mut Vec<Pid>) -> Listing;

    /// Appends every pid there is. What cannot be read is not in it.
    fn all(&mut self, out: &mut Vec<Pid>);

    /// Whether a look since the last call failed for want of a descriptor: then somebody who is there
    /// may not have been seen.
    fn ran_short(&mut self) -> bool;

    /// Appends the pids that carry the mark and that [`all`](Self::all) does not tell, as far as the time
    /// goes; whether it went to the end.
    fn hidden(&mut self, mark: u64, until: Instant, out: &mut Vec<Pid>) -> bool;

    /// Whether a look since the last call was refused: then somebody is there who is not seen.
    fn was_hidden(&mut self) -> bool;

    /// Whether the process that has `pid` now carries the mark. A thorough look also sees the marks of
    /// other users' processes.
    fn is_marked(&mut self, pid: Pid, mark: u64, thorough: bool) -> bool;

    /// Puts the mark on the process that is held, which has `pid`; whether it carries it.
    fn mark(&mut self, process: &Self::Handle, pid: Pid, mark: u64) -> bool;

    /// Whether the process that has `pid` now carries a variable or an argument of the evidence.
    fn carries(&mut self, pid: Pid, evidence: &Evidence) -> bool;

    /// Whether no thread of a stopped process can fork any more.
    fn all_threads_stopped(&mut self, pid: Pid) -> bool;

    /// Signals the process that is held.
    fn signal(&mut self, process: &Self::Handle, signal: Signal) -> Sent;

    /// Signals the group that the process led; no signal only asks whether it has members.
    fn signal_group(&mut self, leader: &Self::Handle, signal: Option<Signal>) -> GroupSent;

    /// Whether every thread of the process has ended. A zombie is dead.
    fn is_dead(&mut self, process: &Self::Handle) -> bool;

    /// Makes the end of the process appear in [`Table::ended`], once, under `token`.
    /// Whether that could be arranged.
    fn watch(&mut self, process: &Self::Handle, token: usize) -> bool;

    /// Appends the tokens of the watched processes that ended since the last call.
    fn ended(&mut self, out: &mut Vec<usize>);
}
