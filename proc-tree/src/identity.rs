//! How the identity of a process is read from the system, and how it is found again.

use crate::engine::Stat;
use crate::id::{Pid, ProcId};
use crate::sys::{self, Identified, Pidfd, is_shortage};
use std::io;

/// The process that has made something, and ends it when it is dropped. A copy of that process, made by a fork,
/// drops it as well; the copy inherits only from a maker that is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker(Pid);

impl Maker {
    /// The calling process.
    pub(crate) fn here() -> Self {
        Self(std::process::id())
    }

    /// Whether the calling process is the maker, or inherits from it.
    pub(crate) fn is_here(self) -> bool {
        self.0 == std::process::id() || !ProcId::of(self.0).is_some_and(|maker| maker.is_running())
    }
}

impl ProcId {
    /// The identity of the process that has `pid` now; `None` when there is none, and when the number is
    /// that of a thread.
    ///
    /// A zombie still has its pid, and therefore an identity.
    pub fn of(pid: Pid) -> Option<Self> {
        match sys::identify(pid) {
            Identified::Process(id, ..) => Some(id),
            Identified::Nobody | Identified::Unknown(..) => None,
        }
    }

    /// The process that has `pid` now; `None` is nobody. One that is hidden has no start that can be read,
    /// and gets 0, as no process does.
    pub(crate) fn seen(pid: Pid) -> io::Result<Option<Self>> {
        match sys::identify(pid) {
            Identified::Process(id, ..) => Ok(Some(id)),
            Identified::Nobody => Ok(None),
            Identified::Unknown(Some(held), why) if !is_shortage(why) => {
                Ok(Some(Self::from_parts(sys::boot(), pid, 0, held.inode())))
            }
            Identified::Unknown(_, why) => Err(why.into()),
        }
    }

    /// The identity of the calling process.
    ///
    /// # Panics
    ///
    /// When the process table cannot be read at all, as in a sandbox without `/proc`.
    pub fn current() -> Self {
        Self::of(std::process::id()).expect("the calling process is in the process table")
    }

    /// The identity of a process of this boot by its pid and start alone, as others tell it.
    pub(crate) fn new(pid: Pid, start: u64) -> Self {
        Self::from_parts(sys::boot(), pid, start, None)
    }

    /// Whether this very process still has its pid, running or as a zombie that nobody waited for.
    ///
    /// While no descriptor is free to look with, a process whose number is in use counts as existing.
    pub fn exists(&self) -> bool {
        self.find(|_, _| true)
    }

    /// Whether this very process still runs: it exists, and is not a zombie.
    ///
    /// A process whose first thread has ended while others go on runs. While no descriptor is free to look
    /// with, a process whose number is in use counts as running.
    pub fn is_running(&self) -> bool {
        self.find(|stat, pidfd| !pidfd.map_or_else(|| stat.is_dead(), Pidfd::is_dead))
    }

    /// Takes hold of this very process; `None` when it is gone, or cannot be held.
    pub(crate) fn hold(&self) -> Option<Pidfd> {
        match sys::identify(self.pid()) {
            Identified::Process(now, _, pidfd) if now.is_same(self) => pidfd,
            Identified::Unknown(held, _) => {
                held.filter(|held| self.inode().is_some() && held.inode() == self.inode())
            }
            _ => None,
        }
    }

    fn find(&self, is_wanted: impl FnOnce(&Stat, Option<&Pidfd>) -> bool) -> bool {
        self.is_of(sys::boot())
            && match sys::identify(self.pid()) {
                Identified::Process(now, stat, pidfd) => {
                    now.is_same(self) && is_wanted(&stat, pidfd.as_ref())
                }
                Identified::Nobody => false,
                Identified::Unknown(..) => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calling_process_exists_and_runs_and_one_that_started_earlier_does_not() {
        let me = ProcId::current();
        assert!(me.exists() && me.is_running());
        let earlier = ProcId::new(me.pid(), me.start() - 1);
        assert!(!earlier.exists() && !earlier.is_running());
        assert!(ProcId::new(me.pid(), me.start()).exists(), "without an inode the start tells");
    }

    #[test]
    fn another_inode_at_the_same_pid_and_start_is_another_process() {
        let me = ProcId::current();
        let Some(inode) = me.inode() else {
            return; // Before Linux 6.9 there is none.
        };
        let other = inode.checked_add(1);
        let other = ProcId::from_parts(sys::boot(), me.pid(), me.start(), other);
        assert!(!other.exists() && !other.is_running());
    }

    #[test]
    fn a_thread_has_no_identity_of_a_process() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
                let _ = ended.recv();
            });
            let number = told.recv().unwrap().unsigned_abs();
            assert_eq!(ProcId::of(number), None);
            drop(end);
        });
    }
}
