//! Time: the clock that timeouts and ages are judged by, which a test may move, what is due by it, and the thread
//! that watches the deadlines of those who wait.

use crate::fork::{self, PerProcess};
use crate::ready::Ready;
use crate::sync::process::AtomicU64;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A clock that stands still until a test moves it.
///
/// Timeouts, ages, [`CleanupContext::sleep`](crate::CleanupContext::sleep) and the ticks of lazy
/// handles follow it. How long a caller waits in `flush`, `quiesce` or `shutdown` does not: those
/// bounds are always real time.
///
/// ```
/// use lastout_cleanup_worker::{CleanupWorker, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let worker = CleanupWorker::builder().clock(clock.clone()).build()?;
/// worker.handle().submit(std::future::pending::<()>())?;
/// # let deadline = std::time::Instant::now() + Duration::from_secs(60);
/// # while worker.stats().in_flight == 0 && std::time::Instant::now() < deadline { std::thread::yield_now(); }
/// clock.advance(Duration::from_secs(30));
/// worker.quiesce_blocking(Duration::from_secs(60))?;
/// assert_eq!(worker.stats().timed_out, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ManualClock {
    face: Arc<Face>,
}

struct Face {
    start: Instant,
    /// In nanoseconds.
    advanced: AtomicU64,
    /// Those of this process: in a forked child each worker begins to follow anew.
    followers: PerProcess<Followers>,
}

type Followers = Mutex<Vec<Weak<Ready>>>;

impl ManualClock {
    /// A clock that shows the present and stands still.
    pub fn new() -> Self {
        Self {
            face: Arc::new(Face {
                start: Instant::now(),
                advanced: AtomicU64::new(0),
                followers: PerProcess::new(Followers::default()),
            }),
        }
    }

    /// Moves the clock forward, by at most 100 years at once and 500 in all, and wakes the workers that follow
    /// it.
    ///
    /// A forked child goes on from what the clock showed at the fork.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.min(FAR).as_nanos()).unwrap_or(u64::MAX);
        let moved = |advanced: u64| Some(advanced.saturating_add(by).min(END));
        // ORDERING: a worker that is woken below sees the new time, by the lock of its waker.
        let _ = self.face.advanced.fetch_update(Relaxed, Relaxed, moved);
        let followers = {
            let mut followers = self.followers();
            followers.retain(|ready| ready.strong_count() > 0);
            followers.clone()
        };
        for ready in followers.iter().filter_map(Weak::upgrade) {
            ready.kick.wake();
        }
    }

    /// What the clock shows.
    pub fn now(&self) -> Instant {
        after(self.face.start, self.advanced())
    }

    fn advanced(&self) -> Duration {
        Duration::from_nanos(self.face.advanced.load(Relaxed))
    }

    fn followers(&self) -> MutexGuard<'_, Vec<Weak<Ready>>> {
        let followers = self.face.followers.own(Followers::default).lock();
        followers.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("advanced", &self.advanced()).finish_non_exhaustive()
    }
}

/// The clock of a worker.
#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    #[default]
    Monotonic,
    Manual(ManualClock),
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Monotonic => Instant::now(),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// Whether waiting makes time pass.
    pub(crate) fn is_real(&self) -> bool {
        matches!(self, Self::Monotonic)
    }

    /// Wakes the worker whenever the clock is moved.
    pub(crate) fn follow(&self, ready: &Arc<Ready>) {
        if let Self::Manual(clock) = self {
            clock.followers().push(Arc::downgrade(ready));
        }
    }
}

/// 100 years: the end of time for a timer.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 100);

/// 500 years, in nanoseconds: where a clock stops that is moved further and further.
const END: u64 = 5 * FAR.as_nanos() as u64;

/// `start + by`, or as far away as can be told.
pub(crate) fn after(start: Instant, by: Duration) -> Instant {
    start.checked_add(by).unwrap_or(start + FAR)
}

/// Names one entry, and when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(Instant, u64);

/// What is due when. Pure: `now` is an argument.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    entries: BTreeMap<Key, T>,
    issued: u64,
}

impl<T> Timers<T> {
    /// Its keys are numbered from above `first`.
    pub(crate) fn new(first: u64) -> Self {
        Self { entries: BTreeMap::new(), issued: first }
    }

    pub(crate) fn insert(&mut self, due: Instant, entry: T) -> Key {
        self.issued += 1;
        let key = Key(due, self.issued);
        self.entries.insert(key, entry);
        key
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.entries.remove(&key)
    }

    /// Takes the entry that is due first, due or not.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.entries.pop_first().map(|(_, entry)| entry)
    }

    /// Takes the entry that is due first, if it is due by `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let first = self.entries.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next entry is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(key, _)| key.0)
    }
}

/// How long after a refusal the system is asked for a thread again.
pub(crate) const RETRY: Duration = Duration::from_millis(10);

/// How long the thread stays without an alarm.
const LINGER: Duration = Duration::from_secs(5);

/// Wakes waiters at a moment of real time, from a thread of its own.
///
/// A flush must end in time even if the worker's thread is held up by a cleanup that blocks, so
/// the worker cannot be the one who watches its deadline. The thread starts with the first deadline
/// and ends after a while without any.
pub(crate) struct Alarm {
    state: Mutex<Alarms>,
    changed: Condvar,
}

struct Alarms {
    timers: Timers<Waker>,
    thread: Option<JoinHandle<()>>,
    alive: bool,
    stopped: bool,
    /// How often the system refused the thread, and when it is asked again.
    refusals: u64,
    retry_at: Option<Instant>,
}

impl Alarm {
    pub(crate) fn new(first: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(Alarms {
                timers: Timers::new(first),
                thread: None,
                alive: false,
                stopped: false,
                refusals: 0,
                retry_at: None,
            }),
            changed: Condvar::new(),
        })
    }

    /// Sets an alarm; `None` when there is no thread for it.
    pub(crate) fn set(self: &Arc<Self>, due: Instant, waker: Waker) -> Option<Key> {
        let mut state = self.lock();
        if !state.alive {
            let now = Instant::now();
            if state.retry_at.is_some_and(|at| now < at) {
                return None;
            }
            let Some(thread) = self.start() else {
                state.refusals += 1;
                state.retry_at = Some(now + RETRY);
                return None;
            };
            state.thread = Some(thread);
            state.retry_at = None;
            state.alive = true;
            state.stopped = false;
        }
        let key = state.timers.insert(due, waker);
        let first = state.timers.next_due() == Some(due);
        drop(state);
        if first {
            self.changed.notify_one();
        }
        Some(key)
    }

    pub(crate) fn cancel(&self, key: Key) {
        let waker = self.lock().timers.remove(key);
        crate::contain::drop_quietly(waker);
    }

    pub(crate) fn refusals(&self) -> u64 {
        self.lock().refusals
    }

    /// Ends the thread, and gives it to be joined, after it woke all that still wait: they set a new alarm if
    /// they have to.
    pub(crate) fn stop(&self) -> Option<JoinHandle<()>> {
        let thread = {
            let mut state = self.lock();
            state.stopped = true;
            state.thread.take()
        };
        self.changed.notify_one();
        thread
    }

    #[expect(clippy::disallowed_methods, reason = "the owner of this thread, joined after `stop`")]
    fn start(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        let alarm = Arc::clone(self);
        let thread = std::thread::Builder::new().name("lastout-alarm".to_owned());
        thread.spawn(move || alarm.run()).ok()
    }

    fn run(&self) {
        let generation = fork::generation();
        let mut state = self.lock();
        let mut idle_since = Instant::now();
        loop {
            let now = Instant::now();
            let due = if state.stopped { state.timers.pop() } else { state.timers.pop_due(now) };
            if let Some(waker) = due {
                drop(state);
                let _ = crate::contain::contain(move || waker.wake());
                if !fork::is_generation(generation) {
                    // The waker forked, and this is the child: the others are the parent's.
                    return;
                }
                state = self.lock();
                idle_since = now;
                continue;
            }
            let idle = state.timers.next_due().is_none();
            if idle && (state.stopped || now.duration_since(idle_since) >= LINGER) {
                state.alive = false;
                return;
            }
            let until = state.timers.next_due().unwrap_or(idle_since + LINGER);
            let wait = until.saturating_duration_since(now);
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Alarms> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn due_entries_come_in_order_and_ties_in_the_order_of_insertion() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new(0);
        timers.insert(at(5), "late");
        timers.insert(at(1), "first");
        let gone = timers.insert(at(1), "gone");
        timers.insert(at(1), "second");
        assert_eq!(timers.remove(gone), Some("gone"));
        assert_eq!(timers.pop_due(start), None);
        assert_eq!(timers.pop_due(at(1)), Some("first"));
        assert_eq!(timers.pop_due(at(1)), Some("second"));
        assert_eq!(timers.pop_due(at(4)), None);
        assert_eq!(timers.next_due(), Some(at(5)));
    }
}
