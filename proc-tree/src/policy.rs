//! [`Policy`]: how a tree is asked to end before it is made to.

use crate::signal::Signal;
use std::time::Duration;

/// A sequence of requests, each with the time that the whole tree has to follow it.
///
/// The time of a step ends early only when the *tree* is empty: a root that obeys does not cut short
/// the grace of its helpers. Whoever is left after the last step is killed.
///
/// ```
/// use lastout_proc_tree::{Policy, Signal};
/// use std::time::Duration;
///
/// let policy = Policy::new()
///     .ask_root(Signal::INT, Duration::from_secs(2))
///     .ask_all(Signal::TERM, Duration::from_secs(5))
///     .kill_within(Duration::from_secs(3));
/// assert_eq!(policy.longest(), Duration::from_secs(10));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Policy {
    pub(crate) steps: Vec<Request>,
    pub(crate) kill: Duration,
}

/// One request of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) signal: Signal,
    pub(crate) to_all: bool,
    pub(crate) grace: Duration,
}

/// What the kill after the last step may take, unless the policy says otherwise.
const KILL: Duration = Duration::from_secs(5);

impl Policy {
    /// No request: kills at once, within 5 s.
    pub fn new() -> Self {
        Self { steps: Vec::new(), kill: KILL }
    }

    /// SIGTERM to the root, and then `grace` for the whole tree.
    pub fn term(grace: Duration) -> Self {
        Self::new().ask_root(Signal::TERM, grace)
    }

    /// Sends `signal` to the root, and gives the tree `grace` to be empty.
    ///
    /// When the root is gone already, the signal goes to everybody: somebody has to be asked.
    pub fn ask_root(self, signal: Signal, grace: Duration) -> Self {
        self.ask(signal, false, grace)
    }

    /// Sends `signal` to every member there is, and gives the tree `grace` to be empty.
    pub fn ask_all(self, signal: Signal, grace: Duration) -> Self {
        self.ask(signal, true, grace)
    }

    /// Bounds the kill after the last step.
    pub fn kill_within(mut self, bound: Duration) -> Self {
        self.kill = bound;
        self
    }

    /// How long it takes when nobody obeys.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let graces = self.steps.iter().map(|step| step.grace);
        graces.fold(self.kill, Duration::saturating_add)
    }

    fn ask(mut self, signal: Signal, to_all: bool, grace: Duration) -> Self {
        self.steps.push(Request { signal, to_all, grace });
        self
    }
}

impl Default for Policy {
    /// SIGTERM to the root, 5 s for the tree, then the kill within 5 s.
    fn default() -> Self {
        Self::term(Duration::from_secs(5))
    }
}
