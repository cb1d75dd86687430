//! No signals: Windows has none, and the events of its console have no safe interface.

use super::Poller;
use std::io;

/// No value of it exists.
#[derive(Debug)]
pub(crate) enum Watch {}

impl Watch {
    pub(crate) fn install(_: &Poller) -> io::Result<Self> {
        let what = "signal handlers are for Unix: Windows has no SIGINT and SIGTERM";
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }

    pub(crate) fn came(&self) -> bool {
        match *self {}
    }
}
