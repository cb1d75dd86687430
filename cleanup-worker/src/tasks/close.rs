//! Closing a descriptor.
#![expect(unsafe_code, reason = "std closes without telling how it went")]

use crate::context::CleanupContext;
use crate::options::Options;
use crate::task::{Cleanup, Outcome};
use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::{fmt, io};

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

/// Which descriptor could not be closed, and why.
#[derive(Debug)]
struct Unclosed {
    fd: RawFd,
    source: io::Error,
}

impl fmt::Display for Unclosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "close descriptor {}", self.fd)
    }
}

impl Error for Unclosed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

fn close(fd: OwnedFd) -> Result<(), Unclosed> {
    unsafe extern "C" {
        fn close(fd: std::ffi::c_int) -> std::ffi::c_int;
    }
    let fd = fd.into_raw_fd();
    // SAFETY: the descriptor was owned and given up here. It is not closed again whatever comes
    // back: the kernel has released it even if it reports an error.
    let status = unsafe { close(fd) };
    if status == 0 { Ok(()) } else { Err(Unclosed { fd, source: io::Error::last_os_error() }) }
}
