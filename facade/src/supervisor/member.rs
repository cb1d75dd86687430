//! One supervised thing: its present instance, what became of the earlier ones, what it counted.

use crate::supervisor::contain::{Boxed, call, discard};
use crate::supervisor::drain::{Drain, Drained, Failure};
use crate::supervisor::restart::Restart;
use crate::supervisor::stats::{Counters, MemberStats, Phase};
use crate::supervisor::stop::{Level, Stop};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Makes an instance of a service.
pub(crate) type Make =
    dyn Fn() -> Boxed<'static, Result<Arc<dyn Drain>, Failure>> + Send + Sync + 'static;

/// How many failures a member remembers; the oldest are forgotten.
const FAILURES: usize = 16;

pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) deadline: Duration,
    /// Whether it ends after all others, whenever it was added.
    pub(crate) is_last: bool,
    /// Neighbours with the same number end at the same time.
    pub(crate) group: Option<usize>,
    pub(crate) service: Option<Service>,
    state: Mutex<State>,
}

/// How a service is started. It is gone when the member has ended: what it holds is code of the member, too.
pub(crate) struct Makes(Mutex<Option<Arc<Make>>>);

impl Makes {
    pub(crate) fn new(make: Arc<Make>) -> Self {
        Self(Mutex::new(Some(make)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Make>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a member that can be started again is started.
pub(crate) struct Service {
    pub(crate) policy: Restart,
    pub(crate) makes: Makes,
    /// How long a start may take.
    pub(crate) start_within: Duration,
}

/// Held by a start until it is over, or was dropped.
pub(crate) struct Starting(Arc<Stop>);

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.raise(Level::Drain);
    }
}

/// The last start of a service. There are never two at once.
struct Start {
    /// Raised when it is over.
    over: Arc<Stop>,
    /// Whether the supervisor has given up this start. A service that it still returns is ended.
    given_up: bool,
}

impl Start {
    fn is_over(&self) -> bool {
        self.over.level() >= Level::Drain
    }
}

struct State {
    phase: Phase,
    restarts: u32,
    instance: Option<Arc<dyn Drain>>,
    start: Option<Start>,
    /// Of the instances that have ended.
    past: Counters,
    drained: Drained,
    failures: Vec<String>,
    failed_for_good: bool,
    /// Whether there was an instance, or its policy asks for none any more.
    was_up: bool,
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
            was_up: instance.is_some(),
            phase,
            restarts: 0,
            instance,
            start: None,
            past: Counters::new(),
            drained: Drained::new(),
            failures: Vec::new(),
            failed_for_good: false,
        };
        Self { name, deadline, is_last: false, group: None, service, state: Mutex::new(state) }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        state.phase = phase;
        state.was_up |= phase == Phase::Done;
    }

    pub(crate) fn instance(&self) -> Option<Arc<dyn Drain>> {
        self.lock().instance.clone()
    }

    /// A start begins; the one before is over.
    pub(crate) fn starting(&self) -> Starting {
        let over = Arc::new(Stop::default());
        self.lock().start = Some(Start { over: Arc::clone(&over), given_up: false });
        Starting(over)
    }

    /// Resolves when no start is under way, not even one that was given up.
    pub(crate) async fn start_is_over(&self) {
        let over = self.lock().start.as_ref().map(|start| Arc::clone(&start.over));
        if let Some(over) = over {
            over.reached(Level::Drain).await;
        }
    }

    /// Waits no longer for a start; whether it is under way still. What it brings is not taken.
    pub(crate) fn give_up_start(&self) -> bool {
        let mut state = self.lock();
        let Some(start) = &mut state.start else { return false };
        start.given_up = true;
        !start.is_over()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// Whether it ran once.
    pub(crate) fn was_up(&self) -> bool {
        self.lock().was_up
    }

    /// Whether there is an instance, or a start that may bring one.
    pub(crate) fn is_up(&self) -> bool {
        let state = self.lock();
        let starts = state.start.as_ref().is_some_and(|start| !start.given_up && !start.is_over());
        state.instance.is_some() || starts
    }

    /// A new instance runs. `again` when there was one before.
    ///
    /// The instance comes back when its start was given up: it is to be ended.
    pub(crate) fn started(
        &self,
        instance: Arc<dyn Drain>,
        again: bool,
    ) -> Result<(), Arc<dyn Drain>> {
        let mut state = self.lock();
        if state.start.as_ref().is_some_and(|start| start.given_up) {
            return Err(instance);
        }
        state.instance = Some(instance);
        state.was_up = true;
        state.phase = Phase::Running;
        state.restarts += u32::from(again);
        Ok(())
    }

    /// Notes a failure, or a panic in an end.
    pub(crate) fn note(&self, failure: String) {
        let mut state = self.lock();
        if state.failures.len() == FAILURES {
            state.failures.remove(0);
        }
        state.failures.push(failure);
    }

    /// Whether there is an instance.
    pub(crate) fn is_there(&self) -> bool {
        self.lock().instance.is_some()
    }

    /// The instance has ended: its counts and what it drained stay.
    pub(crate) fn ended(&self, drained: Drained, counters: Counters) {
        let mut state = self.lock();
        state.past = std::mem::take(&mut state.past).and(counters);
        state.drained = std::mem::take(&mut state.drained).and(drained);
    }

    /// The member itself is left behind, and why.
    pub(crate) fn left(&self, reason: impl fmt::Display) {
        let mut state = self.lock();
        state.drained = std::mem::take(&mut state.drained).left(&self.name, reason);
    }

    /// How a service is started; `None` when it has ended.
    pub(crate) fn make(&self) -> Option<Arc<Make>> {
        self.service.as_ref().and_then(|service| service.makes.lock().clone())
    }

    /// The service is started no more: what starts it comes back, to be dropped.
    pub(crate) fn retire(&self) -> Option<Arc<Make>> {
        self.service.as_ref().and_then(|service| service.makes.lock().take())
    }

    /// Drops its hold of the instance, on this thread.
    pub(crate) fn release(&self) {
        let gone = self.lock().instance.take();
        discard(gone);
    }

    pub(crate) fn stats(&self) -> MemberStats {
        // The instance is asked without the lock: its answer is code of somebody else's.
        let (instance, past, phase, restarts) = {
            let state = self.lock();
            (state.instance.clone(), state.past.clone(), state.phase, state.restarts)
        };
        let now = instance.map_or_else(Counters::new, |instance| {
            let now = call(|| instance.stats()).unwrap_or_default();
            discard(instance);
            now
        });
        MemberStats { name: self.name.clone(), phase, restarts, counters: past.and(now) }
    }

    /// As [`stats`](Self::stats), of the instances that have ended.
    pub(crate) fn past(&self) -> MemberStats {
        let state = self.lock();
        let (phase, restarts, counters) = (state.phase, state.restarts, state.past.clone());
        MemberStats { name: self.name.clone(), phase, restarts, counters }
    }

    pub(crate) fn drained(&self) -> Drained {
        self.lock().drained.clone()
    }

    /// It failed, and is not started again.
    pub(crate) fn fails_for_good(&self) {
        self.lock().failed_for_good = true;
    }

    pub(crate) fn failed_for_good(&self) -> bool {
        self.lock().failed_for_good
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.lock().failures.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("name", &self.name)
            .field("phase", &self.lock().phase)
            .finish_non_exhaustive()
    }
}
