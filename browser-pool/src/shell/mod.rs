//! The one lock of the pool, and the actions that follow from it.
//!
//! Every change is one *turn*: under the lock the state steps and its actions become effects that own
//! all they need; after the lock the effects are performed. So no lock is held over an await, a
//! waker, a hook or a destructor, and an effect that is late finds a state that ignores it.

mod news;
mod turn;

use self::turn::{Effect, Entry, Inner};
use crate::cell::doom;
use crate::config::PoolConfig;
use crate::contain::contain;
use crate::driver::{Driver, Ending};
use crate::error::{AcquireError, OpError, Waiting};
use crate::hooks::Hooked;
use crate::lease::Granted;
use crate::report::{BrowserReport, LeftBehind};
use crate::request::{LaunchProfile, UnitSpec};
use crate::state::{Condition, Event, Mode, PageRefusal, Place, Refusal, SlotId, State, WaiterId};
use crate::stats::Waits;
use crate::supervisor;
use crate::tasks::Tasks;
use crate::trace;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot, watch};

/// How many pools there were.
static POOLS: AtomicU64 = AtomicU64::new(1);

/// What a waiter is sent.
pub(crate) type Answer<D> = Result<Granted<D>, Refusal>;

/// Everything that the handles, leases and supervisors of one pool share.
pub(crate) struct Core<D: Driver> {
    /// Unique in this process.
    pub(crate) id: u64,
    pub(crate) driver: D,
    pub(crate) config: Arc<PoolConfig>,
    pub(crate) hooks: Hooked,
    pub(crate) tasks: Tasks,
    /// Told when a browser has ended.
    pub(crate) changed: Notify,
    /// Told when something is due earlier than the ticker thinks.
    pub(crate) alarm: Arc<Notify>,
    /// Set when the runtime dropped a supervisor that had not ended.
    runtime_gone: AtomicBool,
    /// When the whole pool must have ended.
    end_by: Mutex<Option<tokio::time::Instant>>,
    /// Set when that moment has passed.
    late: watch::Sender<bool>,
    inner: Mutex<Inner<D>>,
}

/// What the state does not count.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) waits: Waits,
    pub(crate) lost: u64,
    pub(crate) page_crashes: u64,
    /// The browsers that ended last.
    pub(crate) reports: VecDeque<BrowserReport>,
    /// Over the whole life of the pool.
    pub(crate) left: Vec<LeftBehind>,
}

impl<D: Driver> Core<D> {
    pub(crate) fn new(driver: D, config: PoolConfig, hooks: Hooked, tasks: Tasks) -> Self {
        let config = Arc::new(config);
        let inner = Inner {
            state: State::new(config.clone()),
            actions: Vec::new(),
            waiters: HashMap::new(),
            openers: HashMap::new(),
            browsers: HashMap::new(),
            units: HashMap::new(),
            armed: None,
            tally: Tally::default(),
            crashed: VecDeque::new(),
        };
        Self {
            // Relaxed: only the number matters.
            id: POOLS.fetch_add(1, Ordering::Relaxed),
            driver,
            config,
            hooks,
            tasks,
            changed: Notify::new(),
            alarm: Arc::new(Notify::new()),
            runtime_gone: AtomicBool::new(false),
            end_by: Mutex::new(None),
            late: watch::Sender::new(false),
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<D>> {
        // The state is changed by code that does not panic; if it ever did, the counts still hold.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in one event.
    pub(crate) fn apply(self: &Arc<Self>, event: Event) {
        self.turn(|inner, now| inner.step(event, now));
    }

    /// Changes the state under the lock, then does what follows from it.
    fn turn<T>(self: &Arc<Self>, change: impl FnOnce(&mut Inner<D>, Instant) -> T) -> T {
        let mut effects = Vec::new();
        let (result, due) = {
            let mut inner = self.lock();
            // Under the lock, so that no turn is at an earlier time than the one before it.
            let now = tokio::time::Instant::now().into_std();
            let result = change(&mut inner, now);
            let actions = std::mem::take(&mut inner.actions);
            effects.reserve(actions.len());
            let mut actions = actions;
            for action in actions.drain(..) {
                inner.prepare(self, action, &mut effects);
            }
            inner.actions = actions;
            (result, inner.rearm(now))
        };
        for effect in effects {
            // What a driver or a caller gave may panic where it is dropped or woken: the others go on.
            drop(contain(|| self.perform(effect)));
        }
        if due {
            self.alarm.notify_one();
        }
        result
    }

    fn perform(self: &Arc<Self>, effect: Effect<D>) {
        match effect {
            Effect::Launch(slot, profile, commands) => {
                let core = self.clone();
                self.tasks.start(supervisor::supervise(core, slot, profile, commands));
            }
            // A supervisor that has ended needs no commands: its browser is gone.
            Effect::Command(sender, command) => drop(sender.send(command)),
            // A waiter that has gone drops the grant, whose destructor gives it back.
            Effect::Answer(sender, answer) => drop(sender.send(answer)),
            Effect::RefusePage(opener, PageRefusal::Full { max }) => {
                drop(opener.send(Err(OpError::PageLimit { max })));
            }
            Effect::RefusePage(opener, PageRefusal::Gone) => drop(opener),
            Effect::Doom(cells, loss) => cells.iter().for_each(|cell| doom(&cell.fate, &loss)),
            Effect::Retired(slot, reason) => {
                trace::retired(slot.0, &reason);
                self.hooks.call(|hooks| hooks.on_retire(slot.0, &reason));
            }
            Effect::Drop(cell) => drop(cell),
        }
    }

    /// Puts a caller into the queue; the answer comes through the receiver, maybe at once.
    pub(crate) fn ask(
        self: &Arc<Self>,
        tenant: Arc<str>,
        profile: Option<LaunchProfile>,
        spec: UnitSpec,
    ) -> (WaiterId, oneshot::Receiver<Answer<D>>) {
        let (sender, receiver) = oneshot::channel();
        let waiter = self.turn(|inner, now| {
            let waiter = WaiterId(inner.state.number());
            let profile = match profile {
                Some(profile) => Arc::new(profile),
                None => inner.state.default_profile().clone(),
            };
            inner.waiters.insert(waiter, sender);
            inner.step(Event::Ask { waiter, tenant, profile, spec }, now);
            waiter
        });
        (waiter, receiver)
    }

    /// A lease from stock, if there is one and nobody waits.
    pub(crate) fn try_lease(
        self: &Arc<Self>,
        profile: Option<LaunchProfile>,
        spec: UnitSpec,
    ) -> Result<Option<Granted<D>>, AcquireError> {
        let (sender, mut receiver) = oneshot::channel();
        self.turn(|inner, now| {
            let waiter = WaiterId(inner.state.number());
            let profile = match profile {
                Some(profile) => Arc::new(profile),
                None => inner.state.default_profile().clone(),
            };
            inner.waiters.insert(waiter, sender);
            inner.step(Event::Try { waiter, profile, spec }, now);
        });
        match receiver.try_recv() {
            Ok(Ok(granted)) => Ok(Some(granted)),
            Ok(Err(Refusal::NoStock)) | Err(_) => Ok(None),
            Ok(Err(refusal)) => Err(self.refusal(refusal)),
        }
    }

    /// Takes a caller out of the queue, if it is still in it.
    pub(crate) fn cancel(self: &Arc<Self>, waiter: WaiterId) {
        let sender = self.turn(|inner, now| {
            inner.step(Event::Cancel { waiter }, now);
            inner.waiters.remove(&waiter)
        });
        drop(sender);
    }

    pub(crate) fn waiting_for(&self, waiter: WaiterId) -> Waiting {
        let now = tokio::time::Instant::now().into_std();
        self.lock().state.waiting_for(waiter, now)
    }

    /// Takes a lease back. Later calls for the same lease change nothing.
    pub(crate) fn release(self: &Arc<Self>, place: Place, condition: Condition) {
        self.apply(Event::Release { place, condition });
    }

    /// Launches one more browser if there is a place for it; `prepare` runs before the launch can.
    #[cfg(feature = "chrome")]
    pub(crate) fn adopt(self: &Arc<Self>, prepare: impl FnOnce(u64)) -> Option<u64> {
        self.turn(|inner, now| {
            let slot = inner.state.adopt(now, &mut inner.actions)?;
            prepare(slot.0);
            Some(slot.0)
        })
    }

    /// Every browser that runs now.
    pub(crate) fn live(&self) -> Vec<(SlotId, Arc<D::Browser>)> {
        let inner = self.lock();
        let live = |(slot, entry): (&SlotId, &Entry<_>)| Some((*slot, entry.live.clone()?));
        inner.browsers.iter().filter_map(live).collect()
    }

    /// Bounds the ends of all browsers from now on.
    pub(crate) fn end_by(&self, deadline: tokio::time::Instant) {
        *self.end_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
    }

    /// The time for asking is over: whatever is ending is killed.
    pub(crate) fn hurry(&self) {
        self.late.send_replace(true);
    }

    /// Resolves when [`hurry`](Self::hurry) was called.
    pub(crate) async fn hurried(&self) {
        // The sender is in the same value, so it cannot be gone.
        drop(self.late.subscribe().wait_for(|late| *late).await);
    }

    /// How gently a browser may be ended now.
    pub(crate) fn ending(&self) -> Ending {
        let end_by = *self.end_by.lock().unwrap_or_else(PoisonError::into_inner);
        let left = end_by.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(tokio::time::Instant::now())
        });
        match left.min(self.config.close_timeout) {
            Duration::ZERO => Ending::Kill,
            bound => Ending::Graceful(bound),
        }
    }

    /// Reads the state and what is counted beside it.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&State, &mut Tally) -> T) -> T {
        let inner = &mut *self.lock();
        read(&inner.state, &mut inner.tally)
    }

    pub(crate) fn waited(&self, waited: Duration) {
        self.lock().tally.waits.record(waited);
    }

    /// Takes in an event of the ticker; returns the next moment at which time alone changes something.
    ///
    /// Both at one moment: what became due between two would be neither done now nor waited for.
    pub(crate) fn tick(self: &Arc<Self>, event: Event) -> Option<Instant> {
        self.turn(|inner, now| {
            inner.step(event, now);
            inner.armed = inner.state.next_wake(now);
            inner.armed
        })
    }

    pub(crate) fn has_ended(&self) -> bool {
        let inner = self.lock();
        inner.state.mode() != Mode::Open && inner.state.slots().next().is_none()
    }

    pub(crate) fn runtime_is_gone(&self) -> bool {
        // Relaxed: it only chooses the words of an error.
        self.runtime_gone.load(Ordering::Relaxed)
    }

    /// The runtime dropped a supervisor: nothing can be launched any more.
    pub(crate) fn lose_runtime(self: &Arc<Self>) {
        self.runtime_gone.store(true, Ordering::Relaxed);
        self.apply(Event::Destroy);
    }

    pub(crate) fn refusal(&self, refusal: Refusal) -> AcquireError {
        match refusal {
            Refusal::Closed if self.runtime_is_gone() => AcquireError::RuntimeGone,
            Refusal::Closed => AcquireError::Closed,
            Refusal::QueueFull { waiting } => AcquireError::QueueFull { waiting },
            Refusal::Launch(error) => AcquireError::Launch(error),
            Refusal::Make(error) => AcquireError::Unit(error),
            // Only who does not wait is told so.
            Refusal::NoStock => AcquireError::QueueFull { waiting: 0 },
        }
    }
}
