//! The guard: a thread of its own that renews the worker's lease, and that fences the worker
//! *before* the lease can lapse when it cannot renew.
//!
//! Invariants:
//! - I1: while [`Guard::is_live`], the boot clock is before `valid_until`, which lies a margin before
//!   the end of the lease as of the last renewal that was *sent* and answered.
//! - I2: a fenced incarnation never comes back; the engine enlists a new one.
//! - I3: no beat while the runtime does not tick, so a wedged worker does not look alive for ever.

use super::flight::{Flight, lock};
use crate::clock::boot_ms;
use crate::contain::{contain, drop_contained};
use crate::error::StoreError;
use crate::job::millis;
use crate::lease::{LeaseTimings, WorkerId};
use crate::registry::{Registry, StoreFuture};
use crate::stats::Counters;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Guard {
    state: Mutex<State>,
    changed: Condvar,
    /// When the runtime last ran, on the boot clock.
    tick: AtomicI64,
    timings: LeaseTimings,
    wedged_after_ms: i64,
}

#[derive(Debug)]
struct State {
    worker: WorkerId,
    live: bool,
    stop: bool,
    valid_until: i64,
    next_beat: i64,
}

/// The thread, ended and joined by its owner.
#[derive(Debug)]
pub(super) struct GuardThread(Option<JoinHandle<()>>);

impl Guard {
    pub(super) fn new(timings: LeaseTimings, wedged_after: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                worker: WorkerId::NONE,
                live: false,
                stop: false,
                valid_until: 0,
                next_beat: 0,
            }),
            changed: Condvar::new(),
            tick: AtomicI64::new(boot_ms()),
            timings,
            wedged_after_ms: millis(wedged_after),
        }
    }

    /// The runtime runs.
    pub(super) fn tick(&self) {
        self.tick.store(boot_ms(), Ordering::Relaxed);
    }

    /// A lease was granted to `worker` by a call sent at `sent`.
    pub(super) fn arm(&self, worker: WorkerId, sent: i64) {
        self.tick();
        let mut state = lock(&self.state);
        state.worker = worker;
        state.live = true;
        self.renewed(&mut state, sent);
        self.changed.notify_all();
    }

    fn renewed(&self, state: &mut State, sent: i64) {
        let Self { timings, .. } = self;
        state.valid_until = sent + millis(timings.ttl()) - millis(timings.margin());
        state.next_beat = sent + millis(timings.beat());
    }

    /// The living incarnation.
    pub(super) fn worker(&self) -> Option<WorkerId> {
        let state = lock(&self.state);
        (state.live && boot_ms() < state.valid_until).then_some(state.worker)
    }

    /// I2: this incarnation is over: its jobs stop, and nothing of them is written.
    pub(super) fn fence(&self, worker: WorkerId, flight: &Flight, counters: &Counters) {
        let mut state = lock(&self.state);
        if !state.live || state.worker != worker {
            return;
        }
        state.live = false;
        drop(state);
        counters.fenced.add(1);
        counters.lost.add(flight.lose_all(worker));
        flight.changed();
    }

    /// The incarnation has given its lease back.
    pub(super) fn retire(&self) {
        lock(&self.state).live = false;
    }

    /// No more beats; the incarnation is not fenced.
    pub(super) fn stop(&self) {
        lock(&self.state).stop = true;
        self.changed.notify_all();
    }

    fn is_stopped(&self) -> bool {
        lock(&self.state).stop
    }
}

impl GuardThread {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one thread of a worker: it must run while the runtime does not; joined on drop"
    )]
    pub(super) fn start(
        guard: Arc<Guard>,
        registry: Arc<dyn Registry>,
        flight: Arc<Flight>,
        counters: Arc<Counters>,
    ) -> std::io::Result<Self> {
        let thread = std::thread::Builder::new().name("lastout-lease".into());
        let run = move || {
            while let Some(worker) = guard.wait_for_beat(&flight, &counters) {
                guard.beat(worker, &*registry, &flight, &counters);
            }
        };
        Ok(Self(Some(thread.spawn(run)?)))
    }

    /// Waits for the end of the thread. It ends soon after [`Guard::stop`], whatever the store does.
    pub(super) fn join(&mut self, guard: &Guard) {
        guard.stop();
        if let Some(thread) = self.0.take() {
            thread.thread().unpark();
            // What the store does on it is contained; if it panicked all the same, the lease lapses.
            let _ = thread.join();
        }
    }
}

impl Guard {
    /// Sleeps until the next beat is due; fences when the lease is about to lapse. `None` on stop.
    fn wait_for_beat(&self, flight: &Flight, counters: &Counters) -> Option<WorkerId> {
        let mut state = lock(&self.state);
        loop {
            if state.stop {
                return None;
            }
            let now = boot_ms();
            if state.live && now >= state.valid_until {
                let worker = state.worker;
                drop(state);
                self.fence(worker, flight, counters);
                state = lock(&self.state);
                continue;
            }
            let wedged = now - self.tick.load(Ordering::Relaxed) > self.wedged_after_ms;
            if state.live && now >= state.next_beat && !wedged {
                return Some(state.worker);
            }
            let until = match (state.live, wedged) {
                (false, _) => now + millis(self.timings.ttl()),
                // I3: look again soon, but let the lease run out.
                (true, true) => state.valid_until.min(now + millis(self.timings.beat())),
                (true, false) => state.valid_until.min(state.next_beat),
            };
            let wait = Duration::from_millis((until - now).max(1).unsigned_abs());
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn beat(
        &self,
        worker: WorkerId,
        registry: &dyn Registry,
        flight: &Flight,
        counters: &Counters,
    ) {
        let sent = boot_ms();
        let valid_until = lock(&self.state).valid_until;
        let answer = match contain(|| registry.beat(worker, self.timings.ttl())) {
            Ok(call) => block_until(call, valid_until, || self.is_stopped()),
            Err(panicked) => Some(Err(panicked.into())),
        };
        counters.beats.add(1);
        let mut state = lock(&self.state);
        if state.worker != worker || !state.live {
            return;
        }
        match answer {
            Some(Ok(true)) => self.renewed(&mut state, sent),
            Some(Ok(false)) => {
                drop(state);
                self.fence(worker, flight, counters);
            }
            // One failure is no loss: a ttl holds three beats, and this tries four times in one.
            Some(Err(_)) => {
                counters.failed_beats.add(1);
                state.next_beat = boot_ms() + millis(self.timings.beat() / 4);
            }
            None => {}
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a call on this thread, at most until `until` on the boot clock or until `stopped`. A panic of the
/// store is its failure: the next beat is a new call.
fn block_until<T>(
    mut call: StoreFuture<'_, T>,
    until: i64,
    stopped: impl Fn() -> bool,
) -> Option<Result<T, StoreError>> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let answer = loop {
        match contain(|| call.as_mut().poll(&mut context)) {
            Ok(Poll::Ready(answer)) => break Some(answer),
            Ok(Poll::Pending) => {}
            Err(panicked) => break Some(Err(panicked.into())),
        }
        let left = until - boot_ms();
        if left <= 0 || stopped() {
            break None;
        }
        std::thread::park_timeout(Duration::from_millis(left.unsigned_abs()));
    };
    // A panic of its destructor changes nothing about its answer.
    let _ = drop_contained(call);
    answer
}
