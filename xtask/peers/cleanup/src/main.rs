//! `cargo xtask bench cleanup`: what it costs the thread that drops something to hand the work over, and
//! what waiting costs the worker.
//!
//! A burst is a number of hand-overs back to back; what they made is drained between bursts and not
//! timed, and no consumer runs meanwhile, neither ours (a lazy handle) nor the peers'. What is handed
//! over captures 24 bytes. Values are nanoseconds for one hand-over on one producer.

mod burst;
mod waits;
mod ways;

use burst::{one_producer, two_producers};
use lastout_bench_runner::{Bar, Bench, Case, CountingAllocator, allocations};
use lastout_cleanup_worker::CleanupWorker;
use std::time::Duration;
use ways::{Armed, Bare, Boxed, Enum, Floor, Segmented, Spawn, Std, Submit, Way};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Not a peer to use, but what the mechanism costs without our accounting.
const BARE: &str = "swap and store into a node, nothing else";
const BOXED: &str = "tokio unbounded mpsc, boxed future";

const ALONE: &str = "the same without waiters";

fn main() -> std::process::ExitCode {
    let (floor, bare) = (Floor::new(), Bare::new());
    let (armed, submit) = (Armed::new(), Submit::new());
    let (boxed, plain, spawn) = (Boxed::new(), Enum::new(), Spawn::new());
    let (segmented, std) = (Segmented::new(), Std::new());

    let (waited, alone) = (waits::Waited::new(true), waits::Waited::new(false));

    let (floor, boxed, plain, spawn) = (&floor, &boxed, &plain, &spawn);
    let (segmented, std) = (&segmented, &std);
    let case = |name: &str, two: bool| {
        Case::lower(name, "ns")
            .floor(move || floor.time(two))
            .peer(BOXED, move || boxed.time(two))
            .peer("tokio unbounded mpsc, enum", move || plain.time(two))
            .peer("tokio spawn", move || spawn.time(two))
            .peer("crossbeam SegQueue + tokio Notify", move || segmented.time(two))
            .peer("std mpsc, boxed future", move || std.time(two))
    };
    Bench::new("cleanup")
        .case(
            case("armed drop, 1 producer", false)
                .ours(|| armed.time(false))
                .peer(BARE, || bare.time(false))
                .bar(Bar::floor().max(1.5)),
        )
        .case(
            case("armed drop, 2 producers", true)
                .ours(|| armed.time(true))
                .peer(BARE, || bare.time(true))
                .bar(Bar::floor().max(1.5)),
        )
        .case(
            case("submit, 1 producer", false)
                .ours(|| submit.time(false))
                .bar(Bar::peer(BOXED).max(0.60)),
        )
        .case(
            case("submit, 2 producers", true)
                .ours(|| submit.time(true))
                .bar(Bar::peer(BOXED).max(0.45)),
        )
        .case(
            Case::lower("allocations of an armed drop", "allocations")
                .ours(|| allocations_of(&armed))
                .peer(BOXED, || allocations_of(boxed))
                .peer("tokio spawn", || allocations_of(spawn))
                .bar(Bar::absolute().max(0.0)),
        )
        .case(
            Case::lower("allocations of a submit", "allocations")
                .ours(|| allocations_of(&submit))
                .peer(BOXED, || allocations_of(boxed))
                .peer("tokio spawn", || allocations_of(spawn))
                .bar(Bar::absolute().min(1.0).max(1.0)),
        )
        .case(
            Case::lower("wakes for a submit in a burst", "wakes")
                .ours(wakes)
                .bar(Bar::absolute().max(1.0 / 64.0)),
        )
        .case(
            Case::lower("2 000 flushes at once", "ms")
                .ours(waits::flushes)
                .bar(Bar::absolute().max(10.0)),
        )
        .case(
            Case::lower("end of a task beside 10 000 waiters", "ns")
                .ours(|| waited.end())
                .peer(ALONE, || alone.end())
                .bar(Bar::peer(ALONE).max(1.2)),
        )
        .run()
}

/// A way to hand over, timed with one or two producers.
trait Timed {
    fn time(&self, two: bool) -> f64;
}

impl<W: Way> Timed for W {
    fn time(&self, two: bool) -> f64 {
        if two { two_producers(self) } else { one_producer(self) }
    }
}

/// Allocations of one hand-over, over a burst.
fn allocations_of(way: &impl Way) -> f64 {
    const BURST: usize = 1000;
    let items = way.prepare(BURST);
    let (count, _) = allocations(|| items.into_iter().for_each(|item| way.hand(item)));
    way.drain();
    count as f64 / BURST as f64
}

/// Wakes of a sleeping worker for one submit, over bursts of 6400 on an eager handle.
fn wakes() -> f64 {
    const BURSTS: usize = 20;
    const BURST: usize = 6400;
    let worker = CleanupWorker::builder().build().expect("valid settings");
    for _ in 0..BURSTS {
        for _ in 0..BURST {
            worker.handle().submit(async {}).expect("there is room");
        }
        let flushed = worker.handle().flush_blocking(Duration::from_secs(60));
        flushed.expect("a minute is enough");
    }
    worker.stats().wakes as f64 / (BURSTS * BURST) as f64
}
