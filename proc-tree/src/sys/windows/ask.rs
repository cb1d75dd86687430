//! The request to end: the console event `CTRL_BREAK` to the process group of the root.
#![expect(unsafe_code, reason = "a call of the system")]

use super::held::done;
use crate::id::Pid;
use std::io;
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent};

/// Asks the process group that this root leads. The root must be held, so that its number is its own.
///
/// # Errors
///
/// When no such group shares the console of the caller.
pub(super) fn ask_group(root: Pid) -> io::Result<()> {
    // Group 0 would be everybody on the console, the caller included.
    if root == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the call takes numbers alone.
    done(unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, root) })
}
