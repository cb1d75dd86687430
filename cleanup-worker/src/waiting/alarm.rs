//! Wakes waiters at a moment of real time, from a thread of its own.
//!
//! A flush must end in time even if the worker's thread is held up by a cleanup that blocks, so
//! the worker cannot be the one who watches its deadline. The thread starts with the first deadline
//! and ends after a while without any.

use crate::clock::{Key, Timers};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long after a refusal the system is asked for a thread again.
pub(crate) const RETRY: Duration = Duration::from_millis(10);

/// How long the thread stays without an alarm.
const LINGER: Duration = Duration::from_secs(5);

pub(crate) struct Alarm {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
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
            state: Mutex::new(State {
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
        let mut state = self.lock();
        let mut idle_since = Instant::now();
        loop {
            let now = Instant::now();
            let due = if state.stopped { state.timers.pop() } else { state.timers.pop_due(now) };
            if let Some(waker) = due {
                drop(state);
                let _ = crate::contain::contain(move || waker.wake());
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
