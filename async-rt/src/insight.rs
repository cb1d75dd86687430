//! Looking into a running program: names and places of tasks, a dump of those alive, how long polls
//! take, and a callback for polls that take too long. Nothing is measured unless it is asked for.

use crate::config::Builder;
use crate::error::BuildError;
use crate::handle::Handle;
use crate::join::TaskId;
use crate::runtime::Runtime;
use crate::task::Origin;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

type Callback = Box<dyn Fn(Stall) + Send>;

/// What the builder was asked for.
#[derive(Default)]
pub(crate) struct Insight {
    histogram: bool,
    stall: Option<(Duration, Callback)>,
}

impl fmt::Debug for Insight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Insight").field("histogram", &self.histogram).finish_non_exhaustive()
    }
}

impl Insight {
    pub(crate) fn probe(self) -> Result<Option<Rc<Probe>>, BuildError> {
        if !self.histogram && self.stall.is_none() {
            return Ok(None);
        }
        let watchdog = self.stall.map(|(limit, callback)| Watchdog::start(limit, callback));
        let watchdog = watchdog.transpose()?;
        Ok(Some(Rc::new(Probe { histogram: RefCell::default(), watchdog })))
    }
}

impl Builder {
    /// Measures how long each poll takes, for [`Runtime::poll_times`]. Two clock reads per poll.
    pub fn poll_histogram(mut self) -> Self {
        self.insight.histogram = true;
        self
    }

    /// Calls `callback` on a thread of its own when a poll has lasted longer than `limit`, while it
    /// still lasts; once per poll. The thread ends with the runtime.
    pub fn on_stall(mut self, limit: Duration, callback: impl Fn(Stall) + Send + 'static) -> Self {
        self.insight.stall = Some((limit, Box::new(callback)));
        self
    }
}

/// A poll that does not end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stall {
    /// The task's name, if it was given one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub location: &'static Location<'static>,
    /// How long the poll has lasted.
    pub elapsed: Duration,
}

/// A live task.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Which task.
    pub id: TaskId,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub location: &'static Location<'static>,
    /// What it does now.
    pub state: TaskState,
    /// When it was last woken, by the system's clock; noted only with a histogram or stall callback.
    pub last_wake: Option<Instant>,
    /// How often it was polled, counted only with a histogram or a stall callback.
    pub polls: u64,
}

/// What a live task does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It is being polled.
    Running,
    /// It waits for its turn.
    Ready,
    /// It waits to be woken.
    Waiting,
}

/// How many polls took how long: bucket `n` counts those of less than `2^n` nanoseconds that the
/// bucket before does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollTimes {
    buckets: [u64; 64],
}

impl Default for PollTimes {
    fn default() -> Self {
        Self { buckets: [0; 64] }
    }
}

impl PollTimes {
    fn note(&mut self, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - nanos.leading_zeros()).min(63);
        self.buckets[bucket as usize] += 1;
    }

    /// The buckets that are not empty: the bound below which their polls stayed, and how many.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let bound = |index: usize| Duration::from_nanos(1 << index);
        let all = self.buckets.iter().enumerate();
        all.filter(|(_, count)| **count > 0).map(move |(index, count)| (bound(index), *count))
    }

    /// How many polls there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// A time below which at least `share` (0 to 1) of the polls stayed.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = share.clamp(0.0, 1.0) * self.count() as f64;
        let mut seen = 0;
        self.buckets()
            .find(|(_, count)| {
                seen += count;
                seen as f64 >= wanted
            })
            .map(|(bound, _)| bound)
    }
}

/// What the engine reports its polls to.
pub(crate) struct Probe {
    histogram: RefCell<PollTimes>,
    watchdog: Option<Watchdog>,
}

/// A poll under way.
pub(crate) struct Polling<'a> {
    probe: &'a Probe,
    start: Instant,
}

impl Probe {
    pub(crate) fn polling(&self, origin: &Origin) -> Polling<'_> {
        origin.polls.set(origin.polls.get() + 1);
        let start = Instant::now();
        if let Some(watchdog) = &self.watchdog {
            watchdog.watch(origin, start);
        }
        Polling { probe: self, start }
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.probe.histogram.borrow_mut().note(self.start.elapsed());
        if let Some(watchdog) = &self.probe.watchdog {
            watchdog.state().watched = None;
        }
    }
}

/// A thread that looks whether the poll under way has lasted too long.
struct Watchdog {
    shared: Arc<Shared>,
    thread: Cell<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Watch>,
    changed: Condvar,
}

#[derive(Default)]
struct Watch {
    watched: Option<(Option<Box<str>>, &'static Location<'static>, Instant)>,
    stop: bool,
}

impl Watchdog {
    #[expect(clippy::disallowed_methods, reason = "the watchdog owns this thread and joins it")]
    fn start(limit: Duration, callback: Callback) -> Result<Self, BuildError> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("async-rt-stall".into())
            .spawn(move || guard(&theirs, limit, &callback))
            .map_err(|source| BuildError::Os { what: "start its stall watchdog", source })?;
        Ok(Self { shared, thread: Cell::new(Some(thread)) })
    }

    fn state(&self) -> MutexGuard<'_, Watch> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, origin: &Origin, start: Instant) {
        self.state().watched = Some((origin.name.clone(), origin.location, start));
    }
}

/// The watchdog's thread: a look every half `limit`, as notifying it of each poll would cost more.
fn guard(shared: &Shared, limit: Duration, callback: &Callback) {
    let pause = (limit / 2).max(Duration::from_millis(1));
    let mut told = None;
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    while !state.stop {
        if let Some((name, location, start)) = &state.watched
            && start.elapsed() > limit
            && told != Some(*start)
        {
            told = Some(*start);
            let (name, elapsed) = (name.as_deref().map(String::from), start.elapsed());
            let stall = Stall { name, location, elapsed };
            drop(state);
            callback(stall);
            state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let waited = shared.changed.wait_timeout(state, pause);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.state().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A callback that panicked has ended the thread, which is all there is to know.
            let _ = thread.join();
        }
    }
}

impl Handle {
    /// Every live task, the future of `block_on` included.
    pub fn dump(&self) -> Vec<TaskInfo> {
        let mut tasks = Vec::new();
        self.owner.engine.each(|view| {
            let origin = view.origin;
            let state = match (view.running, view.ready) {
                (true, _) => TaskState::Running,
                (false, true) => TaskState::Ready,
                (false, false) => TaskState::Waiting,
            };
            tasks.push(TaskInfo {
                id: TaskId(view.id),
                name: origin.name.as_deref().map(String::from),
                location: origin.location,
                state,
                last_wake: origin.last_wake.get(),
                polls: origin.polls.get(),
            });
        });
        tasks
    }
}

impl Runtime {
    /// Every live task, the future of `block_on` included.
    pub fn dump(&self) -> Vec<TaskInfo> {
        self.handle().dump()
    }

    /// How long polls have taken; empty without [`Builder::poll_histogram`].
    pub fn poll_times(&self) -> PollTimes {
        let probe = self.owner().insight.as_ref();
        probe.map_or_else(PollTimes::default, |probe| probe.histogram.borrow().clone())
    }
}
