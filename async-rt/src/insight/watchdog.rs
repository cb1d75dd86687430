//! The watchdog: a thread that looks whether the poll under way has lasted too long.
//!
//! The callback is foreign code: it runs on this thread, under no lock, and may take as long as it
//! likes. The end of the runtime tells the thread to end and waits for it only in the blocking end,
//! until its deadline.

use crate::contain;
use crate::error::BuildError;
use std::panic::Location;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) type Callback = Box<dyn Fn(Stall) + Send>;

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

/// Owns the watchdog's thread.
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    /// The process that has the thread; a forked child has not, and must not wait for its lock.
    process: u32,
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
    /// The thread has called the callback for the last time.
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watchdog {
    #[expect(
        clippy::disallowed_methods,
        reason = "the watchdog owns this thread and tells its end"
    )]
    pub(crate) fn start(limit: Duration, callback: Callback) -> Result<Self, BuildError> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("async-rt-stall".into())
            .spawn(move || {
                guard(&theirs, limit, &callback);
                contain::discard(callback);
                theirs.lock().ended = true;
                theirs.changed.notify_all();
            })
            .map_err(|source| BuildError::Os { what: "start the stall watchdog", source })?;
        Ok(Self { shared, process: std::process::id() })
    }

    /// A poll has begun.
    pub(crate) fn watch(
        &self,
        name: Option<&str>,
        location: &'static Location<'static>,
        start: Instant,
    ) {
        self.shared.lock().watched = Some((name.map(Box::from), location, start));
    }

    /// The poll has ended.
    pub(crate) fn watch_none(&self) {
        self.shared.lock().watched = None;
    }

    /// Tells the thread to end, and waits for it until `deadline`; `true` when it has ended.
    pub(crate) fn end(&self, deadline: Instant) -> bool {
        if self.process != std::process::id() {
            return true;
        }
        let mut state = self.shared.lock();
        state.stop = true;
        self.shared.changed.notify_all();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// A look every half `limit`, as notifying the thread of each poll would cost more.
fn guard(shared: &Shared, limit: Duration, callback: &Callback) {
    let pause = (limit / 2).max(Duration::from_millis(1));
    let mut told = None;
    let mut state = shared.lock();
    while !state.stop {
        let stalls = |start: &Instant| start.elapsed() > limit && told != Some(*start);
        let stalled = state.watched.as_ref().filter(|(_, _, start)| stalls(start));
        if let Some((name, location, start)) = stalled {
            told = Some(*start);
            let (name, elapsed) = (name.as_deref().map(String::from), start.elapsed());
            let stall = Stall { name, location, elapsed };
            drop(state);
            contain::run(|| callback(stall));
            state = shared.lock();
            continue;
        }
        let waited = shared.changed.wait_timeout(state, pause);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // It ends by itself, after its callback, which is not waited for.
        self.end(Instant::now());
    }
}
