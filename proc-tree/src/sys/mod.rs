//! The operating system: everything that differs between kernels, and all of the unsafe code.
//!
//! Callers see one set of names and no `cfg`. The build script refuses systems that are not here.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(windows)]
mod windows;
#[cfg(all(windows, feature = "tokio"))]
pub use windows::TokioChild;
#[cfg(windows)]
pub(crate) use windows::signal;
#[cfg(windows)]
pub use windows::{Child, Containment, Spawn, Tree, uptime};
