//! Closing a descriptor.
#![expect(unsafe_code, reason = "std closes without telling how it went")]

use crate::context::CleanupContext;
use crate::task::{Cleanup, Options, Outcome};
use std::io;

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

/// Closes a file descriptor where that may block (a network file system, a lingering socket) and
/// where the error is worth a count: a close that fails may have lost what was written.
///
/// Dropped unrun, it closes as well, without the report.
#[derive(Debug)]
pub struct CloseFd {
    fd: OwnedFd,
    options: Options,
}

impl CloseFd {
    /// That descriptor, of whatever kind.
    pub fn new(fd: impl Into<OwnedFd>) -> Self {
        Self { fd: fd.into(), options: Options::new().label("close descriptor") }
    }

    /// Replaces label, timeout and weight.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }
}

impl AsFd for CloseFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Cleanup for CloseFd {
    async fn run(self, cx: CleanupContext) -> Outcome {
        cx.blocking(move || close(self.fd)).await??;
        Ok(())
    }

    fn options(&self) -> Options {
        self.options
    }
}

fn close(fd: OwnedFd) -> io::Result<()> {
    unsafe extern "C" {
        fn close(fd: std::ffi::c_int) -> std::ffi::c_int;
    }
    // SAFETY: the descriptor is owned and given up here. It is not closed again whatever comes
    // back: the kernel has released it also when it reports an error.
    let status = unsafe { close(fd.into_raw_fd()) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
