//! What a new process does between fork and exec.
//!
//! The caller may have many threads, and one of them may hold any lock at the moment of the fork:
//! here nothing allocates, locks or panics, and every call is one that a signal handler may make.
#![expect(unsafe_code, reason = "code between fork and exec, and the raw calls it is made of")]

use super::mark::put_on_self;
use super::supervise::Supervise;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the child does. The descriptors are held open by the caller until the spawn is over.
#[derive(Debug, Default)]
pub(crate) struct Launch {
    /// The step stays with the command, which may be spawned again: then it must do nothing.
    pub(crate) spent: AtomicBool,
    /// Puts a supervisor between the caller and the root.
    pub(crate) supervise: Option<Supervise>,
    /// The `cgroup.procs` of the leaf to join.
    pub(crate) door: Option<RawFd>,
    pub(crate) mark: Option<u64>,
    pub(crate) leads_group: bool,
    /// Number in the child, and the descriptor that becomes it.
    pub(crate) descriptors: Vec<(RawFd, RawFd)>,
}

impl Launch {
    /// Makes the next spawn of `command` do this in the child.
    pub(crate) fn install(self: &Arc<Self>, command: &mut Command) {
        let launch = Arc::clone(self);
        // SAFETY: `in_child` makes system calls only; see its contract.
        unsafe { command.pre_exec(move || launch.in_child()) };
    }

    /// Later spawns of the command do nothing of this.
    pub(crate) fn spend(&self) {
        self.spent.store(true, Ordering::Relaxed);
    }

    fn in_child(&self) -> io::Result<()> {
        if self.spent.load(Ordering::Relaxed) {
            return Ok(());
        }
        // The rest is for the root alone: the supervisor is no member.
        if let Some(supervise) = &self.supervise {
            supervise.split()?;
        }
        if let Some(door) = self.door {
            write_byte(door, b'0')?;
        }
        if let Some(mark) = self.mark {
            // Whether there is a place was asked before the spawn: the guarantee says so.
            put_on_self(mark);
        }
        self.enter_group()?;
        self.place_descriptors()
    }

    fn enter_group(&self) -> io::Result<()> {
        if !self.leads_group {
            return Ok(());
        }
        // SAFETY: a system call without pointers; 0 and 0 name the calling process.
        check(unsafe { libc::setpgid(0, 0) })
    }

    /// Puts the descriptors in place. A source may have the number that another one is to get, so
    /// all are moved aside first, above the highest number.
    fn place_descriptors(&self) -> io::Result<()> {
        let highest = self.descriptors.iter().map(|(number, _)| *number).max();
        let free = highest.unwrap_or(0).saturating_add(1);
        let mut aside: [RawFd; MOST_DESCRIPTORS] = [-1; MOST_DESCRIPTORS];
        for ((_, source), slot) in self.descriptors.iter().zip(&mut aside) {
            // SAFETY: a system call without pointers.
            *slot = unsafe { libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, free) };
            check(*slot)?;
        }
        for ((number, _), source) in self.descriptors.iter().zip(aside) {
            // SAFETY: a system call without pointers; `dup2` clears close-on-exec of the number.
            check(unsafe { libc::dup2(source, *number) })?;
        }
        Ok(())
    }
}

/// How many descriptors one spawn may hand over: they are moved through an array, because nothing
/// may be allocated there.
pub(crate) const MOST_DESCRIPTORS: usize = 32;

fn write_byte(descriptor: RawFd, byte: u8) -> io::Result<()> {
    let at: *const u8 = &raw const byte;
    // SAFETY: one byte is read from a live local.
    let written = unsafe { libc::write(descriptor, at.cast(), 1) };
    check(i32::from(written == 1) - 1)
}

pub(super) fn check(outcome: libc::c_int) -> io::Result<()> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the children of the calling *thread* the first processes of a new PID namespace. The thread
/// cannot go back, so it must end after its one spawn.
pub(crate) fn enter_new_pid_namespace() -> io::Result<()> {
    // SAFETY: a system call without pointers.
    check(unsafe { libc::unshare(libc::CLONE_NEWPID) })
}
