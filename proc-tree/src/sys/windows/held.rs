//! [`Held`]: a process that a handle holds, so that its number means no other. [`Event`] and [`wait_any`]: waits.
#![expect(unsafe_code, reason = "calls of the system on handles")]

use crate::id::{BootId, Pid, ProcId};
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::time::Instant;
use windows_sys::Win32::Foundation::{
    FILETIME, HANDLE, INVALID_HANDLE_VALUE, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, GetExitCodeProcess, GetProcessId, GetProcessTimes, OpenProcess,
    PROCESS_ACCESS_RIGHTS, PROCESS_QUERY_INFORMATION, PROCESS_QUERY_LIMITED_INFORMATION,
    PROCESS_SYNCHRONIZE, QueryFullProcessImageNameW, SetEvent, TerminateProcess,
    WaitForMultipleObjects,
};

/// Whether a wait was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// It was not: the process has ended, or the time is over.
    ForIt,
    /// It was.
    Cancelled,
}

/// Takes over a handle that a call has returned.
pub(super) fn owned(raw: HANDLE) -> io::Result<OwnedHandle> {
    if raw.is_null() || raw == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, and nobody else has the handle that it has just made.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) })
}

/// What a call that returns a truth value has said.
pub(super) fn done(truth: i32) -> io::Result<()> {
    if truth == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A process. Its number is not given to another one while this lives.
#[derive(Debug)]
pub(super) struct Held {
    handle: OwnedHandle,
    pid: Pid,
}

impl Held {
    /// Holds the process that has this number now, to look at it and to wait for it.
    pub(super) fn open(pid: Pid) -> io::Result<Self> {
        // More than is needed on Windows, and what Wine wants of a question for the job. It may be refused where
        // less is not.
        Self::open_for(pid, PROCESS_QUERY_INFORMATION).or_else(|_| Self::open_for(pid, 0))
    }

    /// Holds it with further rights.
    pub(super) fn open_for(pid: Pid, rights: PROCESS_ACCESS_RIGHTS) -> io::Result<Self> {
        let rights = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE | rights;
        // SAFETY: the call takes numbers alone.
        let raw = unsafe { OpenProcess(rights, 0, pid) };
        let handle = owned(raw)?;
        // The system ignores the last two bits of a number; here a number is that of one process.
        // SAFETY: the handle is open.
        match unsafe { GetProcessId(handle.as_raw_handle()) } {
            number if number == pid => Ok(Self { handle, pid }),
            _ => Err(io::Error::from_raw_os_error(NO_SUCH_PROCESS)),
        }
    }

    /// Holds the process that std has started.
    pub(super) fn of_child(child: std::process::Child) -> Self {
        Self { pid: child.id(), handle: child.into() }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn raw(&self) -> HANDLE {
        self.handle.as_raw_handle()
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> io::Result<bool> {
        Ok(wait_any(&[self.as_handle()], Instant::now())?.is_some())
    }

    /// Waits for its end until then, or until that is cancelled. It may return early.
    pub(super) fn wait(&self, until: Instant, cancel: Option<&Event>) -> io::Result<Waited> {
        let this = self.as_handle();
        let signalled = match cancel {
            None => wait_any(&[this], until)?,
            Some(cancel) => wait_any(&[this, cancel.as_handle()], until)?,
        };
        Ok(if signalled == Some(1) { Waited::Cancelled } else { Waited::ForIt })
    }

    /// The number that it has ended with, if it has ended.
    pub(super) fn exit_code(&self) -> io::Result<Option<u32>> {
        // A process may end with the number that stands for one that runs: the handle tells.
        if !self.has_ended()? {
            return Ok(None);
        }
        let mut code = 0;
        // SAFETY: the handle is open, and `code` outlives the call.
        done(unsafe { GetExitCodeProcess(self.raw(), &mut code) })?;
        Ok(Some(code))
    }

    /// Which process it is: no other has started with this number at this time.
    pub(super) fn id(&self) -> io::Result<ProcId> {
        let mut times = [FILETIME::default(); 4];
        let [created, ended, kernel, user] = &mut times;
        // SAFETY: the handle is open, and the four places outlive the call.
        done(unsafe { GetProcessTimes(self.raw(), created, ended, kernel, user) })?;
        let started = u64::from(times[0].dwHighDateTime) << 32 | u64::from(times[0].dwLowDateTime);
        Ok(identity(self.pid, started))
    }

    /// The name of its program, without the directory; empty when it cannot be read.
    pub(super) fn name(&self) -> String {
        let mut path = [0; 1024];
        let mut length = path.len() as u32;
        // SAFETY: the handle is open, and `length` tells how much `path` takes.
        let read =
            unsafe { QueryFullProcessImageNameW(self.raw(), 0, path.as_mut_ptr(), &mut length) };
        let read = if read == 0 { 0 } else { length as usize };
        let path = String::from_utf16_lossy(path.get(..read).unwrap_or_default());
        path.rsplit('\\').next().unwrap_or_default().to_owned()
    }

    /// Ends this one process.
    pub(super) fn terminate(&self, code: u32) -> io::Result<()> {
        // SAFETY: the handle is open.
        done(unsafe { TerminateProcess(self.raw(), code) })
    }
}

impl AsHandle for Held {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}

/// Start times count since 1601, so no boot is needed to tell two processes apart.
const BOOT: BootId = BootId(0);

/// The identity of a process by its number and the time of its start.
pub(super) fn identity(pid: Pid, started: u64) -> ProcId {
    ProcId::from_parts(BOOT, pid, started, None)
}

/// Something to wait for that is set once.
#[derive(Debug)]
pub(super) struct Event(OwnedHandle);

impl Event {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no attributes and no name are valid arguments.
        let raw = unsafe { CreateEventW(std::ptr::null(), 1, 0, std::ptr::null()) };
        Ok(Self(owned(raw)?))
    }

    pub(super) fn set(&self) {
        // SAFETY: the handle is open, and may be set.
        let set = unsafe { SetEvent(self.0.as_raw_handle()) };
        debug_assert!(set != 0, "an event that is open can be set");
    }
}

impl AsHandle for Event {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// Waits until one of these is signalled, and tells which; `None` when the time is over. It may return early.
pub(super) fn wait_any(
    handles: &[BorrowedHandle<'_>],
    until: Instant,
) -> io::Result<Option<usize>> {
    let left = until.saturating_duration_since(Instant::now());
    // Rounded up, so that a caller that loops does not spin; the largest number means for ever.
    let millis =
        u32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).min(u32::MAX - 1);
    let raw: Vec<HANDLE> = handles.iter().map(AsRawHandle::as_raw_handle).collect();
    // SAFETY: the handles are borrowed for the call, and `raw` has as many as it says.
    match unsafe { WaitForMultipleObjects(raw.len() as u32, raw.as_ptr(), 0, millis) } {
        WAIT_FAILED => Err(io::Error::last_os_error()),
        WAIT_TIMEOUT => Ok(None),
        first => Ok(Some((first - WAIT_OBJECT_0) as usize)),
    }
}

impl ProcId {
    /// The identity of the process that has `pid` now; `None` when there is none, and when it cannot be looked at.
    ///
    /// A process that has ended keeps its pid while somebody holds it, and therefore an identity.
    pub fn of(pid: Pid) -> Option<Self> {
        Held::open(pid).ok()?.id().ok()
    }

    /// The identity of the calling process.
    ///
    /// # Panics
    ///
    /// When the system does not let a process look at itself.
    pub fn current() -> Self {
        Self::of(std::process::id()).expect("a process may look at itself")
    }

    /// Whether this very process still has its pid: it runs, or somebody holds it after its end. One that cannot be
    /// looked at counts as existing.
    pub fn exists(&self) -> bool {
        self.find(|_| true)
    }

    /// Whether this very process still runs. One that cannot be looked at counts as running.
    pub fn is_running(&self) -> bool {
        self.find(|held| !held.has_ended().unwrap_or(false))
    }

    fn find(&self, is_wanted: impl FnOnce(&Held) -> bool) -> bool {
        if !self.is_of(BOOT) {
            return false;
        }
        match Held::open(self.pid()) {
            Ok(held) => held.id().map_or(true, |now| now.is_same(self)) && is_wanted(&held),
            // The system says so of a number that no process has.
            Err(error) => error.raw_os_error() != Some(NO_SUCH_PROCESS),
        }
    }
}

/// What `OpenProcess` says of a number that no process has: `ERROR_INVALID_PARAMETER`.
pub(super) const NO_SUCH_PROCESS: i32 = 87;
