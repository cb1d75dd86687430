//! What differs between systems: the boot clock.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::boot_ms;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::boot_ms;
