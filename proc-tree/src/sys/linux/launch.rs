//! What a new process does before its exec, whoever has started it.
//!
//! It runs in a copy of the caller, or in the caller's very memory. The caller may have many threads, and
//! one of them may hold any lock: here nothing allocates, locks or panics, and every call is one that a
//! signal handler may make.
#![expect(unsafe_code, reason = "code before an exec, and the raw calls it is made of")]

use super::handover::Handover;
use super::mark::put_on_self;
use super::raw::own_pid;
use super::supervise::Supervise;
use super::told::{Told, ToldPage};
use crate::error::SpawnStep;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Weak};

/// What the root does for its containment. The descriptors are held open by the caller until the spawn is over.
#[derive(Debug)]
pub(crate) struct Launch {
    /// What the new processes report.
    pub(crate) told: ToldPage,
    /// Puts a supervisor between the caller and the root.
    pub(crate) supervise: Option<Supervise>,
    /// The `cgroup.procs` of the leaf to join, and of the leaves of single controllers.
    pub(crate) doors: Vec<RawFd>,
    /// The directory of the leaf, whose door is the first.
    pub(crate) directory: Option<RawFd>,
    pub(crate) mark: Option<u64>,
    pub(crate) place: Place,
    /// Number in the root, and the descriptor that becomes it.
    pub(crate) descriptors: Vec<(RawFd, RawFd)>,
    /// Through which a process that std forks hands itself to the caller.
    pub(crate) handover: Option<Handover>,
    /// A variable for a command that changes no variables of its own: `NAME=value`.
    pub(crate) variable: Option<std::ffi::CString>,
}

/// Where the root stands among groups and sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It leads a process group of its own.
    OwnGroup,
    /// It stays in the group of the caller.
    CallersGroup,
    /// It leads a session of its own, perhaps with this controlling terminal.
    Session(Option<RawFd>),
}

/// The step that failed, and what the system said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) step: SpawnStep,
    pub(crate) errno: i32,
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::from_raw_os_error(fault.errno)
    }
}

impl Launch {
    /// Makes the next spawn of `command` do this in the child. Std has no way to take the step out of the
    /// command again: it does nothing once the launch is gone.
    pub(crate) fn install(self: &Arc<Self>, command: &mut Command) {
        let launch = Arc::downgrade(self);
        let step = move || Weak::upgrade(&launch).map_or(Ok(()), |launch| launch.in_hook());
        // SAFETY: `in_hook` makes system calls only; see its contract. The upgrade and its drop count, and
        // free nothing: the caller holds the launch in the memory that was copied.
        unsafe { command.pre_exec(step) };
    }

    fn in_hook(&self) -> io::Result<()> {
        if let Some(handover) = &self.handover {
            handover.give();
        }
        let done = self.split().and_then(|()| self.join(false));
        done.map_err(|fault| {
            self.told.fail(fault);
            io::Error::from(fault)
        })?;
        self.add_variable();
        Ok(())
    }

    /// Leaves a supervisor behind: returns in the root alone, which has told who it is.
    fn split(&self) -> Result<(), Fault> {
        match &self.supervise {
            Some(supervise) => supervise.split(&self.told),
            None => {
                self.told.set_root(own_pid(), 0);
                Ok(())
            }
        }
    }

    /// What the root itself does: it becomes a member, and takes what it is given.
    pub(super) fn join(&self, is_in_leaf: bool) -> Result<(), Fault> {
        let entered = usize::from(is_in_leaf && self.directory.is_some());
        for door in self.doors.iter().skip(entered) {
            let joined = unless_negative(write_byte(*door, b'0'));
            joined.map_err(|errno| Fault { step: SpawnStep::Cgroup, errno })?;
        }
        if let Some(mark) = self.mark {
            self.told.set_marked(put_on_self(mark));
        }
        self.take_place()?;
        self.place_descriptors().map_err(|errno| Fault { step: SpawnStep::Descriptors, errno })
    }

    fn take_place(&self) -> Result<(), Fault> {
        let (step, outcome) = match self.place {
            Place::CallersGroup => return Ok(()),
            // SAFETY: a system call without pointers; 0 and 0 name the calling process.
            Place::OwnGroup => (SpawnStep::Group, unsafe { libc::setpgid(0, 0) }),
            // SAFETY: a system call without pointers.
            Place::Session(_) => (SpawnStep::Session, unsafe { libc::setsid() }),
        };
        unless_negative(outcome).map_err(|errno| Fault { step, errno })?;
        if let Place::Session(Some(terminal)) = self.place {
            // SAFETY: the request takes a number.
            let outcome = unsafe { libc::ioctl(terminal, libc::TIOCSCTTY, 0) };
            let step = SpawnStep::Terminal;
            unless_negative(outcome).map_err(|errno| Fault { step, errno })?;
        }
        Ok(())
    }

    /// Puts the descriptors in place. A source that has the number of a target is moved aside first, above
    /// the highest number.
    fn place_descriptors(&self) -> Result<(), i32> {
        let highest = self.descriptors.iter().map(|(number, _)| *number).max();
        let free = highest.unwrap_or(0).saturating_add(1).max(3);
        let mut sources: [RawFd; PLACES] = [-1; PLACES];
        for ((_, source), slot) in self.descriptors.iter().zip(&mut sources) {
            *slot = *source;
            if self.descriptors.iter().any(|(number, _)| number == source) {
                // SAFETY: a system call without pointers.
                *slot = unsafe { libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, free) };
                unless_negative(*slot)?;
            }
        }
        for ((number, _), source) in self.descriptors.iter().zip(sources) {
            // SAFETY: a system call without pointers; `dup2` clears close-on-exec of the number.
            unless_negative(unsafe { libc::dup2(source, *number) })?;
        }
        Ok(())
    }

    /// Puts the variable in front of those that the exec is about to pass on.
    fn add_variable(&self) {
        let Some(variable) = &self.variable else { return };
        // SAFETY: this process is a copy of the caller with one thread, which reads a plain pointer.
        let old = unsafe { environ };
        let mut length = 0usize;
        // SAFETY: the pointers end with a null.
        while !old.is_null() && unsafe { !(*old.wrapping_add(length)).is_null() } {
            length = length.wrapping_add(1);
        }
        let Some(bytes) =
            length.checked_add(2).and_then(|count| count.checked_mul(size_of::<usize>()))
        else {
            return;
        };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping touches no memory that is in use.
        let new = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if new == libc::MAP_FAILED {
            return;
        }
        let new: *mut *mut libc::c_char = new.cast();
        // SAFETY: the mapping has two places more than there are pointers; the last stays null.
        unsafe { new.write(variable.as_ptr().cast_mut()) };
        // SAFETY: as many pointers are readable, and writable behind the first.
        unsafe { std::ptr::copy_nonoverlapping(old, new.wrapping_add(1), length) };
        // SAFETY: as above.
        unsafe { environ = new };
    }
}

unsafe extern "C" {
    static mut environ: *mut *mut libc::c_char;
}

/// How many descriptors one spawn may hand over, besides those of stdin, stdout and stderr: they are placed
/// through an array, because nothing may be allocated there.
pub(crate) const MOST_DESCRIPTORS: usize = 32;
const PLACES: usize = MOST_DESCRIPTORS + 3;

fn write_byte(descriptor: RawFd, byte: u8) -> libc::c_int {
    let at: *const u8 = &raw const byte;
    // SAFETY: one byte is read from a live local.
    let written = unsafe { libc::write(descriptor, at.cast(), 1) };
    i32::from(written == 1) - 1
}

/// The error of a call that has just returned.
pub(super) fn unless_negative(outcome: libc::c_int) -> Result<(), i32> {
    if outcome < 0 { Err(errno()) } else { Ok(()) }
}

pub(super) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Makes the children of the calling *thread* the first processes of a new PID namespace. The thread
/// cannot go back, so it must end after its one spawn.
pub(crate) fn enter_new_pid_namespace() -> io::Result<()> {
    // SAFETY: a system call without pointers.
    unless_negative(unsafe { libc::unshare(libc::CLONE_NEWPID) })
        .map_err(io::Error::from_raw_os_error)
}

impl Told {
    /// Notes the step that failed.
    pub(super) fn fail(&self, fault: Fault) {
        self.set_failure(fault.step as i32, fault.errno);
    }
}
