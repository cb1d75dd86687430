//! [`Reserve`]: descriptors that are kept for a kill while there are trees.
//!
//! A process that has run out of descriptors can still end what it started: the reserve holds `/proc` open,
//! and a few descriptors that do nothing until a kill finds none free. Then one of them is closed, and what
//! the kill needs is opened in its place. All trees of a process share one reserve, which is closed with the
//! last of them.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What one kill has open at the same time: the set that it waits with, a cgroup and a file of it, a file
/// of `/proc`, and a process or two. The rest is for a second kill beside it.
const SPARES: usize = 8;

/// The descriptors, shared by all trees.
#[derive(Debug)]
pub(crate) struct Reserve {
    proc: OwnedFd,
    spares: Mutex<Vec<OwnedFd>>,
}

impl Reserve {
    /// The reserve of this process, made with the first tree.
    pub(crate) fn share() -> io::Result<Arc<Self>> {
        let mut shared = shared();
        if let Some(reserve) = shared.upgrade() {
            // An earlier kill may have used it up, and found nothing free to take back.
            reserve.refill();
            return Ok(reserve);
        }
        let reserve = Arc::new(Self { proc: open_proc()?, spares: Mutex::default() });
        reserve.refill();
        *shared = Arc::downgrade(&reserve);
        Ok(reserve)
    }

    /// The reserve of this process, while it has trees.
    pub(super) fn current() -> Option<Arc<Self>> {
        shared().upgrade()
    }

    /// The open `/proc`.
    pub(super) fn proc(&self) -> BorrowedFd<'_> {
        self.proc.as_fd()
    }

    /// Gives one descriptor up, for another one to be opened; whether there was one.
    fn give(&self) -> bool {
        self.spares().pop().is_some()
    }

    /// Takes back what was given up, as far as descriptors are free.
    pub(super) fn refill(&self) {
        let mut spares = self.spares();
        while spares.len() < SPARES {
            match self.proc.try_clone() {
                Ok(spare) => spares.push(spare),
                Err(_) => return,
            }
        }
    }

    fn spares(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shared() -> MutexGuard<'static, Weak<Reserve>> {
    static SHARED: Mutex<Weak<Reserve>> = Mutex::new(Weak::new());
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn open_proc() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, "/proc", flags, Mode::empty())?)
}

/// Opens something, in the place of a spare descriptor when none is free. Whatever looks at a tree, or ends
/// one, opens by this.
pub(crate) fn sparing<T>(mut open: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match open() {
            Err(error) if is_shortage(error) && spend_one() => {}
            outcome => return outcome,
        }
    }
}

fn spend_one() -> bool {
    Reserve::current().is_some_and(|reserve| reserve.give())
}

/// Whether an error means that no descriptor, or no memory for one, was free.
pub(crate) fn is_shortage(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_share_one_reserve_which_is_given_up_one_by_one_and_taken_back() {
        let reserve = Reserve::share().unwrap();
        assert!(Arc::ptr_eq(&reserve, &Reserve::share().unwrap()));
        let mut failures = 3;
        let opened = sparing(|| {
            failures -= 1;
            if failures > 0 { Err(Errno::MFILE) } else { Ok(()) }
        });
        assert_eq!(opened, Ok(()));
        assert_eq!(reserve.spares().len(), SPARES - 2);
        assert_eq!(sparing(|| Err::<(), _>(Errno::MFILE)), Err(Errno::MFILE));
        assert!(!reserve.give());
        reserve.refill();
        assert_eq!(reserve.spares().len(), SPARES);
    }
}
