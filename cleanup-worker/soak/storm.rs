//! One storm: a worker with random limits, threads that do everything at once, and an end that comes
//! while they are at it.

use lastout_cleanup_worker::{
    Blocking, CleanupHandle, CleanupWorker, Options, RejectReason, Stats,
};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The sums over all storms.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "printed")]
pub(crate) struct Sums {
    submitted: u64,
    refused: u64,
    accepted: u64,
    completed: u64,
    failed: u64,
    panicked: u64,
    timed_out: u64,
    abandoned: u64,
}

impl Sums {
    pub(crate) fn is_balanced(&self) -> bool {
        let ended = self.completed + self.failed + self.panicked + self.timed_out + self.abandoned;
        self.accepted == ended && self.submitted == self.accepted + self.refused
    }
}

impl AddAssign<Self> for Sums {
    fn add_assign(&mut self, other: Self) {
        self.submitted += other.submitted;
        self.refused += other.refused;
        self.accepted += other.accepted;
        self.completed += other.completed;
        self.failed += other.failed;
        self.panicked += other.panicked;
        self.timed_out += other.timed_out;
        self.abandoned += other.abandoned;
    }
}

/// xorshift: small, seeded, good enough to mix.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

pub(crate) fn run(seed: u64) -> Sums {
    // The panics of a storm are on purpose.
    std::panic::set_hook(Box::new(|_| {}));
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let worker = CleanupWorker::builder()
        .capacity([10, 1000, 100_000][dice.roll(3) as usize])
        .concurrency([1, 4, 64][dice.roll(3) as usize])
        .blocking_threads(1 + dice.roll(3) as usize)
        .timeout(Duration::from_millis(50))
        .build()
        .expect("valid");
    let handle = worker.handle().clone();
    let (stop, submitted) = (AtomicBool::new(false), AtomicU64::new(0));
    let deadline = Duration::from_millis(dice.roll(3) * 20);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mut dice = Dice(dice.roll(u64::MAX) | 1 + thread);
            let (handle, stop, submitted) = (&handle, &stop, &submitted);
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    submitted.fetch_add(u64::from(act(handle, &mut dice)), Relaxed);
                }
            });
        }
        // SLEEP: the storm itself lasts so long.
        std::thread::sleep(Duration::from_millis(200));
        // The end comes in the middle of it, in one of its two ways.
        if dice.roll(2) == 0 {
            let report = worker.shutdown_blocking(deadline);
            assert!(report.stats().is_balanced(), "{report:?}");
        } else {
            drop(worker);
        }
        stop.store(true, Relaxed);
    });
    // What was still being polled or pushed at the end is counted as soon as it is over.
    let quiet = |stats: &Stats| stats.used == 0 && stats.stuck_blocking == 0;
    let patience = std::time::Instant::now() + super::LONG;
    let mut stats = handle.stats();
    while !quiet(&stats) {
        assert!(std::time::Instant::now() < patience, "never quiet: seed {seed}, {stats:?}");
        std::thread::yield_now();
        stats = handle.stats();
    }
    Sums {
        submitted: submitted.load(Relaxed),
        refused: stats.refused,
        accepted: stats.accepted,
        completed: stats.completed,
        failed: stats.failed,
        panicked: stats.panicked,
        timed_out: stats.timed_out,
        abandoned: stats.abandoned,
    }
}

/// Does one thing; whether it handed a task over, accepted or refused.
fn act(handle: &CleanupHandle, dice: &mut Dice) -> bool {
    let short = Options::new().timeout(Duration::from_millis(1));
    let weight = Options::new().weight(1 + dice.roll(5) as u32);
    let yes = std::hint::black_box(true);
    match dice.roll(100) {
        0..50 => drop(handle.submit_with(async {}, weight)),
        50..55 => drop(handle.submit(async { Err::<(), _>("on purpose") })),
        55..60 => drop(handle.submit(async move { assert!(!yes, "on purpose") })),
        60..65 => drop(handle.submit(Blocking(std::thread::yield_now))),
        65..67 => drop(handle.submit_with(std::future::pending::<()>(), short)),
        67..69 => {
            let inner = handle.clone();
            drop(handle.submit(async move { inner.flush(Duration::from_millis(5)).await }));
        }
        69..85 => match handle.arm(async {}) {
            Ok(guard) => drop(guard),
            Err(rejected) => drop(rejected),
        },
        85..90 => match handle.arm_with(async {}, weight) {
            Ok(guard) => {
                drop(guard.disarm());
                return false;
            }
            Err(rejected) => {
                assert_ne!(rejected.reason(), RejectReason::OutOfMemory);
                drop(rejected);
            }
        },
        90..95 => drop(handle.lazy().submit(async {})),
        95..97 => {
            let _ = handle.flush_blocking(Duration::from_millis(2));
            return false;
        }
        _ => {
            let stats = handle.stats();
            assert!(stats.is_balanced(), "{stats:?}");
            return false;
        }
    }
    true
}
