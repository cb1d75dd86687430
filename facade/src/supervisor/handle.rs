//! Reaches a supervisor that runs elsewhere.

use crate::supervisor::stats::Stats;
use crate::supervisor::stop::Level;
use crate::supervisor::{Health, Shared};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// Stops a supervisor, forces it, and looks at it, from any thread. Clones are equal.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Ends everything: each member is drained by its deadline. Again: no effect.
    pub fn stop(&self) {
        self.shared.stop.raise(Level::Drain);
    }

    /// Ends everything now: what drains is dropped and forced, and so are all that follow.
    pub fn force(&self) {
        self.shared.stop.raise(Level::Force);
    }

    /// As a signal does: the first call stops, the next one forces, and after the third nothing is waited
    /// for. For programs that listen for signals in their own way.
    pub fn stop_or_force(&self) {
        self.shared.stop.step();
    }

    /// Waits for nothing any more: the report is there at once, and names what has not ended.
    pub fn abandon(&self) {
        self.shared.stop.raise(Level::Abandon);
    }

    /// As [`stop`](Self::stop), and the whole end is over by then.
    pub(crate) fn stop_by(&self, deadline: Instant) {
        *self.shared.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        self.stop();
    }

    /// Has every member that runs [reload](crate::Drain::reload), one after the other in the order in which
    /// they were added. Calls that come while a reload is under way are one more together; after a stop
    /// there is none.
    pub fn reload(&self) {
        self.shared.reloads.ask();
    }

    /// Whether it has started, is ready, and is live. Asks the members that run on the thread at hand.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Whether everything is being ended, or has ended.
    pub fn is_stopping(&self) -> bool {
        self.shared.stop.level() > Level::Run
    }

    /// What every member counted. Of one that has ended, what it had counted at its end.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}
