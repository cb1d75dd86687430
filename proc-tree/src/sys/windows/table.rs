//! The tables of the system, read through snapshots: the threads of a process, and who started whom.
#![expect(unsafe_code, reason = "calls of the system that read its tables")]

use super::held::{done, owned};
use crate::id::Pid;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use windows_sys::Win32::Foundation::{ERROR_NO_MORE_FILES, HANDLE};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CREATE_TOOLHELP_SNAPSHOT_FLAGS, CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW,
    Process32NextW, TH32CS_SNAPPROCESS, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First,
    Thread32Next,
};
use windows_sys::Win32::System::Threading::{OpenThread, ResumeThread, THREAD_SUSPEND_RESUME};

/// What `ResumeThread` returns when it fails.
const NOT_RESUMED: u32 = u32::MAX;

/// Lets a process run that was created suspended.
///
/// # Errors
///
/// When it has no thread that could be resumed.
pub(super) fn resume(pid: Pid) -> io::Result<()> {
    let mut resumed = false;
    for thread in threads()?.into_iter().filter(|thread| thread.th32OwnerProcessID == pid) {
        // SAFETY: the call takes numbers alone.
        let handle = owned(unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, thread.th32ThreadID) })?;
        // SAFETY: the handle is open.
        if unsafe { ResumeThread(handle.as_raw_handle()) } == NOT_RESUMED {
            return Err(io::Error::last_os_error());
        }
        resumed = true;
    }
    if resumed { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Every process with the number of the process that started it. That one may be gone, and its number in use again.
pub(super) fn processes() -> io::Result<Vec<(Pid, Pid)>> {
    let table = snapshot(TH32CS_SNAPPROCESS)?;
    let mut entry =
        PROCESSENTRY32W { dwSize: size_of::<PROCESSENTRY32W>() as u32, ..Default::default() };
    // SAFETY: the handle is open, and the entry says how large it is.
    let mut next = unsafe { Process32FirstW(raw(&table), &mut entry) };
    let mut found = Vec::new();
    while is_there(next)? {
        found.push((entry.th32ProcessID, entry.th32ParentProcessID));
        // SAFETY: as above.
        next = unsafe { Process32NextW(raw(&table), &mut entry) };
    }
    Ok(found)
}

fn threads() -> io::Result<Vec<THREADENTRY32>> {
    let table = snapshot(TH32CS_SNAPTHREAD)?;
    let mut entry =
        THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..Default::default() };
    // SAFETY: the handle is open, and the entry says how large it is.
    let mut next = unsafe { Thread32First(raw(&table), &mut entry) };
    let mut found = Vec::new();
    while is_there(next)? {
        found.push(entry);
        // SAFETY: as above.
        next = unsafe { Thread32Next(raw(&table), &mut entry) };
    }
    Ok(found)
}

fn snapshot(of: CREATE_TOOLHELP_SNAPSHOT_FLAGS) -> io::Result<OwnedHandle> {
    // SAFETY: the call takes numbers alone.
    owned(unsafe { CreateToolhelp32Snapshot(of, 0) })
}

fn raw(table: &OwnedHandle) -> HANDLE {
    table.as_raw_handle()
}

/// Whether a call has brought an entry; the last one says that there are no more.
fn is_there(truth: i32) -> io::Result<bool> {
    match done(truth) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(ERROR_NO_MORE_FILES as i32) => Ok(false),
        Err(error) => Err(error),
    }
}
