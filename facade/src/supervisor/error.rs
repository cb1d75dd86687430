//! What can go wrong before a supervisor runs.

use crate::supervisor::Builder;
use crate::supervisor::contain::{call, discard};
use crate::supervisor::drain::Failure;
use std::error::Error;
use std::fmt;

/// Why a supervisor could not be built. The builder comes back, with all its members.
#[derive(Debug)]
#[must_use = "the members are in here, and dropping it drops them"]
pub struct BuildError {
    reason: BuildReason,
    builder: Box<Builder>,
}

/// What is wrong with the members.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildReason {
    /// A member has no name.
    EmptyName,
    /// Two members have the same name.
    SameName(String),
    /// The system refuses to listen for signals, with its reason.
    Signals(String),
    /// The socket in `$NOTIFY_SOCKET` cannot be reached, with the reason.
    Notify(String),
}

impl BuildError {
    pub(crate) fn new(reason: BuildReason, builder: Builder) -> Self {
        Self { reason, builder: Box::new(builder) }
    }

    /// What is wrong.
    pub fn reason(&self) -> &BuildReason {
        &self.reason
    }

    /// The builder as it was.
    pub fn into_builder(self) -> Builder {
        *self.builder
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            BuildReason::EmptyName => f.write_str("build the supervisor: a member has no name"),
            BuildReason::SameName(name) => {
                write!(f, "build the supervisor: two members are called {name:?}")
            }
            BuildReason::Signals(reason) => {
                write!(f, "build the supervisor: listening for signals failed: {reason}")
            }
            BuildReason::Notify(reason) => {
                write!(f, "build the supervisor: reaching the service manager failed: {reason}")
            }
        }
    }
}

impl Error for BuildError {}

/// Why a supervisor could not listen for signals. It comes back, and still runs nothing.
#[cfg(feature = "tokio")]
#[derive(Debug)]
#[must_use = "the supervisor is in here, and dropping it drops its members"]
pub struct SignalError {
    source: std::io::Error,
    supervisor: Box<crate::Supervisor>,
}

#[cfg(feature = "tokio")]
impl SignalError {
    pub(crate) fn new(source: std::io::Error, supervisor: crate::Supervisor) -> Self {
        Self { source, supervisor: Box::new(supervisor) }
    }

    /// The supervisor as it was.
    pub fn into_supervisor(self) -> crate::Supervisor {
        *self.supervisor
    }
}

#[cfg(feature = "tokio")]
impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("listen for SIGINT and SIGTERM")
    }
}

#[cfg(feature = "tokio")]
impl Error for SignalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// What a failure says. Its text and its destructor are code of a member.
pub(crate) fn say(failure: Failure) -> String {
    let said = call(|| chain(&*failure));
    discard(failure);
    said.unwrap_or_else(|panic| format!("an error whose text panicked: {panic}"))
}

/// Text of others, as part of a line.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// An error and its sources, as one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line
}
