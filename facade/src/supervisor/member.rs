//! One supervised thing: its present instance, what became of the earlier ones, what it counted.

use crate::supervisor::contain::{Boxed, discard};
use crate::supervisor::drain::{Drain, Drained, Failure};
use crate::supervisor::restart::Restart;
use crate::supervisor::stats::{Counters, MemberStats, Phase};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Makes an instance of a service.
pub(crate) type Start =
    dyn Fn() -> Boxed<'static, Result<Arc<dyn Drain>, Failure>> + Send + Sync + 'static;

/// How many failures a member remembers; the oldest are forgotten.
const FAILURES: usize = 16;

pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) deadline: Duration,
    /// Whether it ends after all others, whenever it was added.
    pub(crate) is_last: bool,
    pub(crate) service: Option<Service>,
    state: Mutex<State>,
}

/// How a member that can be started again is started.
pub(crate) struct Service {
    pub(crate) policy: Restart,
    pub(crate) start: Box<Start>,
}

struct State {
    phase: Phase,
    restarts: u32,
    instance: Option<Arc<dyn Drain>>,
    /// Of the instances that have ended.
    past: Counters,
    drained: Drained,
    failures: Vec<String>,
}

impl Member {
    pub(crate) fn running(name: String, deadline: Duration, instance: Arc<dyn Drain>) -> Self {
        Self::new(name, deadline, Phase::Running, Some(instance), None)
    }

    pub(crate) fn service(name: String, deadline: Duration, service: Service) -> Self {
        Self::new(name, deadline, Phase::Waiting, None, Some(service))
    }

    fn new(
        name: String,
        deadline: Duration,
        phase: Phase,
        instance: Option<Arc<dyn Drain>>,
        service: Option<Service>,
    ) -> Self {
        let state = State {
            phase,
            restarts: 0,
            instance,
            past: Counters::new(),
            drained: Drained::new(),
            failures: Vec::new(),
        };
        Self { name, deadline, is_last: false, service, state: Mutex::new(state) }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    pub(crate) fn instance(&self) -> Option<Arc<dyn Drain>> {
        self.lock().instance.clone()
    }

    /// A new instance runs. `again` when there was one before.
    pub(crate) fn started(&self, instance: Arc<dyn Drain>, again: bool) {
        let mut state = self.lock();
        state.instance = Some(instance);
        state.phase = Phase::Running;
        state.restarts += u32::from(again);
    }

    /// Notes a failure, or a panic in an end.
    pub(crate) fn note(&self, failure: String) {
        let mut state = self.lock();
        if state.failures.len() == FAILURES {
            state.failures.remove(0);
        }
        state.failures.push(failure);
    }

    /// The present instance has ended: its counts and what it drained stay.
    pub(crate) fn ended(&self, drained: Drained) {
        let Some(instance) = self.instance() else {
            return;
        };
        let counters = stats_of(&*instance);
        let gone = {
            let mut state = self.lock();
            state.past = std::mem::take(&mut state.past).and(counters);
            state.drained = std::mem::take(&mut state.drained).and(drained);
            state.instance.take()
        };
        discard(gone);
        discard(instance);
    }

    pub(crate) fn stats(&self) -> MemberStats {
        // The instance is asked without the lock: its answer is code of somebody else's.
        let (instance, past, phase, restarts) = {
            let state = self.lock();
            (state.instance.clone(), state.past.clone(), state.phase, state.restarts)
        };
        let now = instance.map_or_else(Counters::new, |instance| stats_of(&*instance));
        MemberStats { name: self.name.clone(), phase, restarts, counters: past.and(now) }
    }

    pub(crate) fn drained(&self) -> Drained {
        self.lock().drained.clone()
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.lock().failures.clone()
    }

    /// Drops the instance, on behalf of a supervisor that was dropped.
    pub(crate) fn abandon(&self) {
        let gone = self.lock().instance.take();
        discard(gone);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A panic in a member's `stats` counts nothing, and goes no further.
fn stats_of(instance: &dyn Drain) -> Counters {
    let ask = std::panic::AssertUnwindSafe(|| instance.stats());
    std::panic::catch_unwind(ask).unwrap_or_default()
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("name", &self.name)
            .field("phase", &self.lock().phase)
            .finish_non_exhaustive()
    }
}
