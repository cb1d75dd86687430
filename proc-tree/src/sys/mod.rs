//! The operating system: everything that differs between kernels, and all of the unsafe code.
//!
//! Callers see one set of names and no `cfg`. The build script refuses systems that are not here.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
