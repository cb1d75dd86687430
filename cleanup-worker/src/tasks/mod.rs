//! Ready-made tasks: what guards most often have to do.

#[cfg(unix)]
mod close;
mod remove;

#[cfg(unix)]
pub use close::CloseFd;
pub use remove::{RemoveDirAll, RemoveFile};

use std::io;
use std::path::PathBuf;

/// What could not be removed, or closed, and why.
#[derive(Debug)]
pub(crate) struct Undone {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl std::fmt::Display for Undone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.what, self.path.display())
    }
}

impl std::error::Error for Undone {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
