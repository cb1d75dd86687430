//! The threads, the queue in front of them, and the counts.

use super::stats::{BlockingRefusedKind, BlockingStats, RunningClosure};
use crate::contain;
use crate::sys::Unpark;
use std::collections::{BTreeMap, VecDeque};
use std::panic::Location;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a thread without work stays, so that a steady trickle of closures does not start a
/// thread for each.
const KEEP: Duration = Duration::from_secs(10);

/// The longest single wait of a thread that waits for the end of the pool.
const LONGEST: Duration = Duration::from_secs(3600);

/// The bounds of a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) threads: usize,
    pub(crate) waiting: usize,
}

impl Default for Limits {
    /// Closures block: more threads than cores are useful, and each idle one costs a stack.
    fn default() -> Self {
        Self { threads: 16, waiting: 4096 }
    }
}

/// How a closure ended.
pub(super) enum Ended {
    Completed,
    Panicked,
}

/// A closure and the way back for its output. Neither step unwinds.
pub(super) trait Work: Send {
    /// Runs the closure, and keeps what came of it.
    fn run(&mut self) -> Ended;
    /// Sends what came of it, once it has been counted.
    fn tell(self: Box<Self>);
}

struct Job {
    id: u64,
    spawned_at: &'static Location<'static>,
    work: Box<dyn Work>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Closures that have room and are about to wait: no thread ends before it has seen them.
    coming: usize,
    running: BTreeMap<u64, (&'static Location<'static>, Instant)>,
    /// Closures that have been counted, and whose output is on its way.
    telling: usize,
    /// Threads that exist or are being started.
    threads: usize,
    /// Threads that wait for work; each of them looks at the queue before it waits again.
    idle: usize,
    closed: bool,
    /// Also the number of the next closure.
    accepted: u64,
    completed: u64,
    panicked: u64,
    cancelled: u64,
}

impl State {
    /// Whether no closure waits, runs, or has its output on the way.
    fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.telling == 0
    }

    /// A closure has ended. It is counted before its reader is told.
    fn count(&mut self, id: u64, ended: &Ended) {
        self.running.remove(&id);
        self.telling += 1;
        match ended {
            Ended::Completed => self.completed += 1,
            Ended::Panicked => self.panicked += 1,
        }
    }
}

/// The blocking pool of one runtime, shared with its threads.
pub(crate) struct Pool {
    state: Mutex<State>,
    /// Signalled for each closure that waits, and at the close.
    work: Condvar,
    /// Signalled when the last running closure has ended, and when the last thread has.
    quiet: Condvar,
    limits: Limits,
    /// Unparked when no closure is left: a runtime that is ending waits for that, and a virtual clock
    /// must not jump before.
    runtime: Arc<dyn Unpark>,
    /// The process whose threads these are; a forked child has none of them.
    process: u32,
}

impl Pool {
    pub(crate) fn new(limits: Limits, runtime: Arc<dyn Unpark>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            work: Condvar::new(),
            quiet: Condvar::new(),
            limits,
            runtime,
            process: std::process::id(),
        })
    }

    /// Locks; a poisoned state is valid, because no user code runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// Accepts `work`, or hands it back with the reason. Returns the number of the closure.
    pub(super) fn submit<W>(
        self: &Arc<Self>,
        spawned_at: &'static Location<'static>,
        work: W,
        boxed: impl FnOnce(W) -> Box<dyn Work>,
    ) -> Result<u64, (BlockingRefusedKind, W)> {
        if !self.is_ours() {
            return Err((BlockingRefusedKind::Ended, work));
        }
        if let Err(kind) = self.make_room() {
            return Err((kind, work));
        }
        // The box is made outside the lock. Only the runtime's thread submits and closes, so what
        // `make_room` found still holds.
        let work = boxed(work);
        let mut state = self.lock();
        let id = state.accepted;
        state.accepted += 1;
        state.coming -= 1;
        state.waiting.push_back(Job { id, spawned_at, work });
        drop(state);
        self.work.notify_one();
        Ok(id)
    }

    /// Makes sure that one more closure may wait, and that a thread comes to take it.
    fn make_room(self: &Arc<Self>) -> Result<(), BlockingRefusedKind> {
        let mut state = self.lock();
        if state.closed {
            return Err(BlockingRefusedKind::Ended);
        }
        if state.waiting.len() >= self.limits.waiting {
            return Err(BlockingRefusedKind::Full { waiting: state.waiting.len() });
        }
        state.coming += 1;
        // Each idle thread takes one of those that wait already.
        if state.idle > state.waiting.len() || state.threads == self.limits.threads {
            return Ok(());
        }
        state.threads += 1;
        drop(state);
        let pool = Arc::clone(self);
        let thread = std::thread::Builder::new().name("async-rt-block".into());
        #[expect(clippy::disallowed_methods, reason = "the pool counts its threads and ends them")]
        let started = thread.spawn(move || pool.run());
        let Err(source) = started.map(drop) else { return Ok(()) };
        let mut state = self.lock();
        state.threads -= 1;
        // With fewer threads than wanted the closure waits longer; with none it would wait for ever.
        if state.threads == 0 {
            state.coming -= 1;
            return Err(BlockingRefusedKind::NoThread { source });
        }
        Ok(())
    }

    /// One thread, until there has been nothing to do for a while, or the pool has ended.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            if let Some(Job { id, spawned_at, mut work }) = state.waiting.pop_front() {
                state.running.insert(id, (spawned_at, Instant::now()));
                drop(state);
                let ended = work.run();
                state = self.lock();
                state.count(id, &ended);
                drop(state);
                work.tell();
                state = self.lock();
                state.telling -= 1;
                if state.is_quiet() {
                    drop(state);
                    self.say_quiet();
                    state = self.lock();
                }
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, KEEP);
            let (after, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            state = after;
            state.idle -= 1;
            if timed_out.timed_out() && state.waiting.is_empty() && state.coming == 0 {
                break;
            }
        }
        state.threads -= 1;
        if state.threads == 0 {
            self.quiet.notify_all();
        }
    }

    fn say_quiet(&self) {
        self.quiet.notify_all();
        self.runtime.unpark();
    }

    /// Cancels the closure with this number if it still waits.
    pub(super) fn abort(&self, id: u64) {
        if !self.is_ours() {
            return;
        }
        let mut state = self.lock();
        let place = state.waiting.iter().position(|job| job.id == id);
        let job = place.and_then(|place| state.waiting.remove(place));
        state.cancelled += u64::from(job.is_some());
        drop(state);
        self.say_quiet();
        contain::discard(job);
    }

    /// Takes nothing new, cancels what waits, and lets the threads end. What runs goes on. Returns how
    /// many closures it has cancelled.
    pub(crate) fn close(&self) -> u64 {
        if !self.is_ours() {
            // The lock may be held by a thread that this process does not have.
            return 0;
        }
        let mut state = self.lock();
        state.closed = true;
        let cancelled = std::mem::take(&mut state.waiting);
        let count = cancelled.len() as u64;
        state.cancelled += count;
        drop(state);
        self.work.notify_all();
        cancelled.into_iter().for_each(contain::discard);
        count
    }

    /// Blocks the thread until no closure waits, runs or has its output on the way, or `deadline`; `true` when none does.
    pub(crate) fn wait_until_quiet(&self, deadline: Instant) -> bool {
        self.wait(deadline, State::is_quiet)
    }

    /// Blocks the thread until no thread of the pool is left, or `deadline`; `true` when none is.
    /// Call it after [`close`](Self::close).
    pub(crate) fn wait_until_gone(&self, deadline: Instant) -> bool {
        self.wait(deadline, |state| state.threads == 0)
    }

    fn wait(&self, deadline: Instant, is_over: impl Fn(&State) -> bool) -> bool {
        if !self.is_ours() {
            return true;
        }
        let mut state = self.lock();
        loop {
            if is_over(&state) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.quiet.wait_timeout(state, left.min(LONGEST));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether a closure waits or runs.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_ours() && !self.lock().is_quiet()
    }

    /// The closures that run, oldest first.
    pub(crate) fn running(&self) -> Vec<RunningClosure> {
        if !self.is_ours() {
            return Vec::new();
        }
        let now = Instant::now();
        let named = |(&_, &(spawned_at, since)): (&u64, &(&'static Location<'static>, Instant))| {
            RunningClosure { spawned_at, running_for: now.saturating_duration_since(since) }
        };
        self.lock().running.iter().map(named).collect()
    }

    pub(crate) fn stats(&self) -> BlockingStats {
        if !self.is_ours() {
            return BlockingStats::default();
        }
        let state = self.lock();
        BlockingStats {
            accepted: state.accepted,
            waiting: state.waiting.len() as u64,
            running: state.running.len() as u64,
            completed: state.completed,
            panicked: state.panicked,
            cancelled: state.cancelled,
            threads: state.threads as u64,
        }
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    struct Blocks(Receiver<()>);

    impl Work for Blocks {
        fn run(&mut self) -> Ended {
            let _ = self.0.recv();
            Ended::Completed
        }
        fn tell(self: Box<Self>) {}
    }

    struct Nobody;

    impl Unpark for Nobody {
        fn unpark(&self) {}
    }

    #[test]
    fn the_end_waits_until_the_deadline_and_names_what_runs() {
        let pool = Pool::new(Limits::default(), Arc::new(Nobody));
        let (release, blocks) = channel();
        let here = Location::caller();
        assert!(pool.submit(here, blocks, |blocks| Box::new(Blocks(blocks))).is_ok());
        let soon = Instant::now() + Duration::from_millis(5);
        assert!(!pool.wait_until_quiet(soon), "it runs, or waits for its thread");
        pool.close();
        if pool.stats().cancelled == 0 {
            assert!(!pool.wait_until_gone(Instant::now() + Duration::from_millis(5)));
            let running = pool.running();
            assert_eq!(running.len(), 1);
            assert!(running[0].to_string().contains(&here.to_string()), "{}", running[0]);
        }
        drop(release);
        let generous = Instant::now() + Duration::from_secs(60);
        assert!(pool.wait_until_quiet(generous) && pool.wait_until_gone(generous));
        assert_eq!((pool.stats().threads, pool.running().len()), (0, 0));
        let (_release, blocks) = channel();
        assert!(pool.submit(here, blocks, |blocks| Box::new(Blocks(blocks))).is_err());
    }
}
