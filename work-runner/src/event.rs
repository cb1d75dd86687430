//! The events of a worker, for a hook and for `tracing`.

use crate::contain::contain;
use crate::lease::{Lease, WorkerId};
use crate::lifecycle::{LeaseLost, State};
use crate::registry::Swept;
use std::fmt;

/// Something that a worker did or met.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// It got a lease and claims.
    Enlisted {
        /// The incarnation.
        worker: WorkerId,
    },
    /// Its lease is gone; its jobs are asked to stop, and it starts again as another incarnation.
    Fenced {
        /// The incarnation that ended.
        worker: WorkerId,
    },
    /// The end of an attempt is written.
    Written {
        /// The lease it was written under.
        lease: Lease,
        /// The state that the job is in now.
        state: State,
    },
    /// The end of an attempt was refused: another worker answers for the job.
    Refused(LeaseLost),
    /// Jobs of dead workers were taken back.
    Recovered(Swept),
    /// A handler blocks its thread; its job was written off.
    Stuck {
        /// The lease of the job.
        lease: Lease,
    },
    /// A call to the store failed and is tried again.
    StoreFailed {
        /// What the store said.
        error: String,
    },
    /// A periodic job cannot be enqueued. It was disabled and is listed with its error.
    PeriodicDisabled {
        /// Its name and what the store said.
        error: String,
    },
    /// A drive failed or panicked; the runner goes on.
    DriveFailed {
        /// What it said.
        error: String,
    },
}

/// Whom to tell.
#[derive(Default)]
pub(crate) struct Hook {
    #[expect(clippy::type_complexity, reason = "named nowhere else")]
    call: Option<Box<dyn Fn(&Event) + Send + Sync>>,
}

impl Hook {
    pub(crate) fn new(call: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self { call: Some(Box::new(call)) }
    }

    /// Whether anybody hears of each end; then nothing is built for it otherwise.
    pub(crate) fn listens(&self) -> bool {
        self.call.is_some() || cfg!(feature = "tracing")
    }

    pub(crate) fn tell(&self, event: &Event) {
        // The panic of a hook or of a subscriber is its own affair; the worker goes on.
        let _ = contain(|| trace(event));
        if let Some(call) = &self.call {
            let _ = contain(|| call(event));
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("set", &self.call.is_some()).finish()
    }
}

#[cfg(feature = "tracing")]
pub(crate) fn trace(event: &Event) {
    const TARGET: &str = "lastout_work_runner";
    match event {
        Event::Enlisted { worker } => tracing::info!(target: TARGET, %worker, "enlisted"),
        Event::Fenced { worker } => tracing::warn!(target: TARGET, %worker, "fenced"),
        Event::Written { lease, state } => {
            tracing::debug!(target: TARGET, job = lease.job.0, fence = lease.fence.0, %state, "written");
        }
        Event::Refused(lost) => tracing::warn!(target: TARGET, %lost, "refused"),
        Event::Recovered(swept) => tracing::info!(target: TARGET, ?swept, "recovered"),
        Event::Stuck { lease } => {
            tracing::error!(target: TARGET, job = lease.job.0, "handler blocks");
        }
        Event::StoreFailed { error } => tracing::warn!(target: TARGET, %error, "store failed"),
        Event::PeriodicDisabled { error } => {
            tracing::error!(target: TARGET, %error, "periodic job disabled");
        }
        Event::DriveFailed { error } => tracing::error!(target: TARGET, %error, "drive failed"),
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn trace(_: &Event) {}
