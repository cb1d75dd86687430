//! Registers a descriptor with the reactor of tokio.
#![expect(unsafe_code, reason = "the registration trusts the descriptor to stay open")]

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches `fd` for being readable. Called inside a runtime whose reactor is on.
pub(crate) fn watch_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names one descriptor for its whole life, which the `AsyncFd` owns.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    watched.map_err(io::Error::from)
}
