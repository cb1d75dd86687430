//! The operating system: everything that differs between kernels, and all of the unsafe code.
//!
//! Callers see one set of names and no `cfg`.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(not(target_os = "linux"))]
compile_error!("lastout-proc-tree controls processes on Linux only, so far");
