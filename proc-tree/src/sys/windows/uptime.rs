//! The clock that all processes of the machine share.
#![expect(unsafe_code, reason = "a call of the system")]

use std::time::Duration;
use windows_sys::Win32::System::SystemInformation::GetTickCount64;

/// How long the machine has been up, the time asleep included. Every process of the machine sees the same clock, which
/// moves in steps of some 16 ms and only forward.
pub fn uptime() -> Duration {
    // SAFETY: the call takes nothing, and cannot fail.
    Duration::from_millis(unsafe { GetTickCount64() })
}
