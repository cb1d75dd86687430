//! The page through which the new processes of a spawn report to the caller: exact errors, pids, and who runs.
//!
//! It is a shared mapping, so it works in the same way for a child that shares the caller's memory and for
//! one that has a copy. Each word is written by one process before it lets the next one go on, by ending,
//! by its exec, or by a message, and read after that; so no word needs an order of its own.
#![expect(unsafe_code, reason = "a mapping that several processes share")]

use super::pidfd::Pidfd;
use crate::error::SpawnStep;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// What is reported. All zero at first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Told {
    step: AtomicI32,
    errno: AtomicI32,
    marked: AtomicI32,
    root: AtomicI32,
    root_runs: AtomicI32,
    /// The root was made, so that `root_pidfd` is its pidfd. The kernel writes its pid here, or whoever
    /// comes first of the root and the supervisor; in the namespace of the supervisor.
    root_is_made: AtomicI32,
    /// The supervisor is about to make the root in the way in which the kernel does not write `root_is_made`.
    root_comes: AtomicI32,
    /// The kernel writes a number here also when it makes no process in the end, and takes it back.
    root_pidfd: AtomicI32,
    root_start: AtomicU64,
    is_copy: AtomicI32,
}

impl Told {
    pub(super) fn set_failure(&self, step: i32, errno: i32) {
        self.step.store(step, Ordering::Relaxed);
        self.errno.store(errno, Ordering::Relaxed);
    }

    /// The step that failed, and what the system said.
    pub(crate) fn failure(&self) -> Option<(SpawnStep, i32)> {
        let step = SpawnStep::from_raw(self.step.load(Ordering::Relaxed))?;
        Some((step, self.errno.load(Ordering::Relaxed)))
    }

    pub(super) fn set_marked(&self, marked: bool) {
        self.marked.store(marked.into(), Ordering::Relaxed);
    }

    /// Whether the root carries its mark.
    pub(crate) fn is_marked(&self) -> bool {
        self.marked.load(Ordering::Relaxed) != 0
    }

    pub(super) fn set_root(&self, pid: i32, start: u64) {
        self.root.store(pid, Ordering::Relaxed);
        self.root_start.store(start, Ordering::Relaxed);
    }

    /// The pid of the root as the caller sees it, and its start, when the root told them.
    pub(crate) fn root(&self) -> (i32, u64) {
        (self.root.load(Ordering::Relaxed), self.root_start.load(Ordering::Relaxed))
    }

    pub(super) fn set_root_runs(&self) {
        self.root_runs.store(1, Ordering::Relaxed);
    }

    /// Whether the root got as far as its exec.
    pub(super) fn root_runs(&self) -> bool {
        self.root_runs.load(Ordering::Relaxed) != 0
    }

    /// Where the kernel writes the pidfd of the root, into the caller's table.
    pub(super) fn root_pidfd_place(&self) -> *mut i32 {
        self.root_pidfd.as_ptr()
    }

    /// Where the kernel writes that the root is made.
    pub(super) fn root_is_made_place(&self) -> *mut i32 {
        self.root_is_made.as_ptr()
    }

    pub(super) fn set_root_is_made(&self, pid: i32) {
        self.root_is_made.store(pid, Ordering::Relaxed);
    }

    /// The pid of the root, which may be gone already; 0 when it is not known. In a namespace only the root itself
    /// can say by which number the caller knows it.
    pub(super) fn pid_of_root(&self, in_namespace: bool, root: &Pidfd) -> i32 {
        match (self.root().0, in_namespace) {
            (0, true) => root.pid().map_or(0, |pid| pid as i32),
            (0, false) => self.root_is_made.load(Ordering::Relaxed),
            (said, _) => said,
        }
    }

    pub(super) fn set_root_comes(&self, comes: bool) {
        self.root_comes.store(comes.into(), Ordering::Relaxed);
    }

    /// Whether the root may have been made without a word of it yet.
    pub(super) fn root_may_come(&self) -> bool {
        self.root_comes.load(Ordering::Relaxed) != 0
            && self.root_is_made.load(Ordering::Relaxed) == 0
    }

    /// The pidfd of a root that was made.
    pub(super) fn root_pidfd(&self) -> Option<i32> {
        let is_made = self.root_is_made.load(Ordering::Relaxed) != 0;
        is_made.then(|| self.root_pidfd.load(Ordering::Relaxed))
    }

    pub(super) fn set_copy(&self) {
        self.is_copy.store(1, Ordering::Relaxed);
    }

    /// Whether the supervisor is a copy of the caller.
    pub(crate) fn is_copy(&self) -> bool {
        self.is_copy.load(Ordering::Relaxed) != 0
    }
}

/// Owns the page.
#[derive(Debug)]
pub(crate) struct ToldPage(NonNull<Told>);

// SAFETY: the page holds atomics alone, and is unmapped by the last owner.
unsafe impl Send for ToldPage {}
// SAFETY: as above.
unsafe impl Sync for ToldPage {}

impl ToldPage {
    pub(crate) fn new() -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let length = size_of::<Told>();
        // SAFETY: a new mapping touches no memory that is in use.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
        match NonNull::new(at.cast()) {
            Some(page) if at != libc::MAP_FAILED => Ok(Self(page)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Deref for ToldPage {
    type Target = Told;

    fn deref(&self) -> &Told {
        // SAFETY: the mapping is live, zeroed at first and aligned to a page.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for ToldPage {
    fn drop(&mut self) {
        // SAFETY: this is the last owner. A child that is in the middle of a spawn is waited for before.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Told>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_gone_with_its_supervisor_has_its_pid_all_the_same() {
        #[expect(clippy::disallowed_methods, reason = "a process to hold")]
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let root = Pidfd::open(gone.id()).unwrap();
        gone.wait().unwrap();
        let told = ToldPage::new().unwrap();
        assert_eq!(told.pid_of_root(false, &root), 0, "no root was made");
        told.set_root_is_made(7);
        assert_eq!(told.pid_of_root(false, &root), 7);
        assert_eq!(told.pid_of_root(true, &root), 0, "it is a number of the namespace");
        told.set_root(4711, 0);
        assert_eq!(told.pid_of_root(true, &root), 4711);
    }
}
