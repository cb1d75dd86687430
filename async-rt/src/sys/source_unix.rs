//! What `mio` watches on Unix: a descriptor.

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

#[allow(unreachable_pub, reason = "it is the bound of a public type")]
pub use std::os::fd::AsFd as Watch;

/// No event says that a read may have stopped at urgent data.
#[cfg(feature = "net")]
pub(crate) const TELLS_OF_URGENT_DATA: bool = false;

/// What must be kept of a watch: nothing.
#[derive(Debug)]
pub(crate) struct Watched;

pub(super) fn register(to: &Registry, what: &impl Watch, token: Token) -> io::Result<Watched> {
    let both = Interest::READABLE | Interest::WRITABLE;
    SourceFd(&what.as_fd().as_raw_fd()).register(to, token, both)?;
    Ok(Watched)
}

/// An edge needs no order to come again.
#[expect(clippy::unnecessary_wraps, reason = "on Windows it can fail")]
pub(super) fn rearm(_: &Registry, _: &mut Watched, _: Token, _: [bool; 2]) -> io::Result<()> {
    Ok(())
}

pub(super) fn remove(from: &Registry, what: &impl Watch, _: Option<Watched>) -> io::Result<()> {
    SourceFd(&what.as_fd().as_raw_fd()).deregister(from)
}

impl super::Poller {
    /// Watches the descriptor that tells of signals.
    pub(super) fn add_signals(&self, fd: RawFd) -> io::Result<()> {
        let token = super::portable::token(super::SIGNAL);
        self.registry(|registry| SourceFd(&fd).register(registry, token, Interest::READABLE))
    }
}
