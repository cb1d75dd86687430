//! The operating system: waiting for descriptors and being woken while doing so, and signals.
//!
//! On Linux a thin layer over epoll and eventfd. `mio` was weighed for it and costs what a timer
//! runtime cannot give away: its waits are whole milliseconds, where `epoll_pwait2` takes
//! nanoseconds. Elsewhere `mio` it is, whose kqueue waits are exact, and whose waits on Windows are whole
//! milliseconds.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
mod ticker;
#[cfg(all(target_os = "linux", feature = "net"))]
pub(crate) use epoll::TELLS_OF_URGENT_DATA;
#[cfg(target_os = "linux")]
pub(crate) use epoll::{Events, Poller, Watched};
#[cfg(target_os = "linux")]
pub(crate) use ticker::Ticker;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{Events, Poller, Ticker};

#[cfg(all(unix, not(target_os = "linux")))]
#[path = "source_unix.rs"]
mod source;
#[cfg(windows)]
#[path = "source_windows.rs"]
mod source;
#[cfg(all(not(target_os = "linux"), feature = "net"))]
pub(crate) use source::TELLS_OF_URGENT_DATA;
#[cfg(not(target_os = "linux"))]
#[allow(unreachable_pub, reason = "where it is a trait of std, it is public")]
pub use source::Watch;
#[cfg(not(target_os = "linux"))]
pub(crate) use source::Watched;
/// What can be watched: on Linux whatever has a descriptor.
#[cfg(target_os = "linux")]
#[allow(unreachable_pub, reason = "it is the bound of a public type")]
pub use std::os::fd::AsFd as Watch;

#[cfg(unix)]
#[path = "codes_unix.rs"]
pub(crate) mod codes;
#[cfg(windows)]
#[path = "codes_windows.rs"]
pub(crate) mod codes;

#[cfg(all(unix, feature = "net"))]
mod local;
#[cfg(all(unix, feature = "net"))]
mod peer;
/// The sockets that only some systems have.
#[cfg(feature = "net")]
#[allow(unreachable_pub, reason = "Windows has none of them")]
pub(crate) mod local_sockets {
    #[cfg(unix)]
    pub use super::local::{UnixDatagram, UnixListener, UnixStream};
    #[cfg(unix)]
    pub use super::peer::PeerCredentials;
}

#[cfg(unix)]
pub(crate) mod signal;
#[cfg(windows)]
#[path = "signal_windows.rs"]
pub(crate) mod signal;

/// Implements the trait of the standard library that lends what the system calls a socket.
#[cfg(unix)]
macro_rules! lend {
    ([$($generics:tt)*] $type:ty, |$this:ident| $inner:expr) => {
        impl<$($generics)*> std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                let $this = self;
                $inner.as_fd()
            }
        }
    };
}

/// Implements the trait of the standard library that lends what the system calls a socket.
#[cfg(windows)]
macro_rules! lend {
    ([$($generics:tt)*] $type:ty, |$this:ident| $inner:expr) => {
        impl<$($generics)*> std::os::windows::io::AsSocket for $type {
            fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
                let $this = self;
                $inner.as_socket()
            }
        }
    };
}

pub(crate) use lend;

/// Ends the sleep of a runtime that has announced it, from any thread.
pub(crate) trait Unpark: Send + Sync {
    /// Ends the sleep; before the sleep, it shortens it to nothing.
    fn unpark(&self);
}

/// Events that one wait may be asked for; the kernel has a limit of its own, which is higher.
pub(crate) const MOST_EVENTS: usize = 1 << 16;

/// The token of the poller's own wake.
pub(crate) const WAKE: u64 = u64::MAX;
/// The token of the process's signal descriptor.
pub(crate) const SIGNAL: u64 = u64::MAX - 1;

/// What became possible for a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) token: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The direction has ended, or a short count does not say that it is empty: it stays ready until an
    /// operation would block, and no further edge may come.
    pub(crate) read_closed: bool,
    pub(crate) write_closed: bool,
}
