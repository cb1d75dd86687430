//! `cargo xtask soak cleanup`: ten million submits from eight threads with memory bounded by the
//! capacity, then storms of everything at once until the time is up. It ends with the sums.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "real threads, and the sums are its output"
)]

#[path = "../tests/support/play.rs"]
mod play;

use lastout_cleanup_worker::CleanupWorker;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(300);
const THREADS: u64 = 8;
const SUBMITS: u64 = 10_000_000;
const CAPACITY: u64 = 100_000;
/// Room for the tasks of a full worker, at 512 bytes each, and for the allocator's arenas.
const GROWTH_KB: u64 = CAPACITY * 512 / 1024 + 64 * 1024;

static RAN: AtomicU64 = AtomicU64::new(0);

fn main() {
    let (minutes, seed) = arguments();
    let start = Instant::now();
    ten_million();
    // The panics of tasks are on purpose; any other ends this thread, and so the soak.
    std::panic::set_hook(Box::new(|info| {
        if !info.to_string().contains("on purpose") {
            println!("{info}");
        }
    }));
    println!("seed {seed}");
    let (mut plays, mut sums) = (0, [0; 6]);
    while plays == 0 || start.elapsed() < Duration::from_secs_f64(minutes * 60.0) {
        let seed = seed.wrapping_add(plays);
        let stats = std::panic::catch_unwind(|| play::run(seed, 1 + seed % 2000));
        let Ok(stats) = stats else { panic!("the play with seed {seed} failed") };
        let ends =
            [stats.completed, stats.failed, stats.panicked, stats.timed_out, stats.abandoned];
        sums[0] += stats.accepted;
        sums[1..].iter_mut().zip(ends).for_each(|(sum, end)| *sum += end);
        plays += 1;
    }
    println!("{plays} plays in {:.0} s", start.elapsed().as_secs_f64());
    let [accepted, completed, failed, panicked, timed_out, abandoned] = sums;
    assert_eq!(accepted, sums[1..].iter().sum::<u64>(), "the sums do not agree");
    println!(
        "ok: {accepted} accepted = {completed} completed + {failed} failed + {panicked} panicked + \
         {timed_out} timed out + {abandoned} abandoned"
    );
}

fn arguments() -> (f64, u64) {
    let (mut minutes, mut seed) = (1.0, 1);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match word.as_str() {
            "--minutes" => minutes = value.parse().expect("--minutes takes a number"),
            "--seed" => seed = value.parse().expect("--seed takes a number"),
            other => panic!("unknown argument {other}"),
        }
    }
    (minutes, seed)
}

fn ten_million() {
    let worker = CleanupWorker::builder().capacity(CAPACITY as usize).build().expect("valid");
    let before = resident_kb();
    let (refused, peak) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for turn in 0..SUBMITS / THREADS {
                    let mut task = count_one();
                    // A refused task comes back, and is handed over again: none is lost.
                    while let Err(rejected) = worker.handle().submit(task) {
                        refused.fetch_add(1, Relaxed);
                        task = rejected.into_task();
                        std::thread::yield_now();
                    }
                    if turn % 10_000 == 0 {
                        let stats = worker.stats();
                        assert!(stats.is_balanced(), "{stats:?}");
                        assert!(stats.queued + stats.in_flight <= CAPACITY, "{stats:?}");
                        peak.fetch_max(resident_kb(), Relaxed);
                    }
                }
            });
        }
    });
    let report = worker.shutdown_blocking(LONG);
    assert!(report.is_clean(), "{report:?}");
    let (stats, ran, refused) = (report.stats(), RAN.load(Relaxed), refused.load(Relaxed));
    let growth = peak.load(Relaxed).saturating_sub(before);
    println!(
        "{SUBMITS} submits from {THREADS} threads in {:.1} s: {ran} ran, {refused} refusals, {} wakes, \
         {growth} KB more resident",
        start.elapsed().as_secs_f64(),
        stats.wakes,
    );
    assert_eq!((ran, stats.accepted, stats.completed), (SUBMITS, SUBMITS, SUBMITS));
    assert_eq!((stats.refused, stats.used), (refused, 0));
    assert!(growth <= GROWTH_KB, "memory is not bounded by the capacity: {growth} KB");
}

fn count_one() -> impl Future<Output = ()> {
    std::future::poll_fn(|_| {
        RAN.fetch_add(1, Relaxed);
        std::task::Poll::Ready(())
    })
}

/// Resident memory of this process; 0 where the kernel does not tell.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
