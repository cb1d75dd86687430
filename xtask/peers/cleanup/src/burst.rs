//! Bursts of hand-overs by one or two producers.

use crate::ways::Way;
use lastout_bench_runner::{pin_to_core, unpin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

const BURSTS: usize = 31;
const ONE: usize = 1_000;
const TWO: usize = 3_000;
/// Two bursts count only when this part of the shorter one ran beside the other.
const OVERLAP: f64 = 0.8;
/// Pairs that are tried at most; a busy machine spoils many.
const PAIRS: usize = 60;

/// Nanoseconds for one hand-over, the median of the bursts.
pub fn one_producer(way: &impl Way) -> f64 {
    pin_to_core(0);
    let times = (0..BURSTS).map(|_| {
        let items = way.prepare(ONE);
        let start = Instant::now();
        way.hand_all(items);
        let time = start.elapsed().as_nanos() as f64 / ONE as f64;
        drain(way);
        time
    });
    let median = median(times.collect());
    unpin();
    median
}

/// The same on two cores at once; NaN when the machine never let the two run side by side.
pub fn two_producers(way: &impl Way) -> f64 {
    let mut times = Vec::new();
    for _ in 0..PAIRS {
        if times.len() == BURSTS {
            break;
        }
        let (a, b) = pair(way);
        drain(way);
        let beside = a.1.min(b.1).saturating_duration_since(a.0.max(b.0)).as_secs_f64();
        let (long_a, long_b) = ((a.1 - a.0).as_secs_f64(), (b.1 - b.0).as_secs_f64());
        if beside >= OVERLAP * long_a.min(long_b) {
            times.push((long_a + long_b) / 2.0 * 1e9 / TWO as f64);
        }
    }
    median(times)
}

type Span = (Instant, Instant);

fn pair(way: &impl Way) -> (Span, Span) {
    let waiting = AtomicUsize::new(2);
    let produce = |core| {
        pin_to_core(core);
        let items = way.prepare(TWO);
        waiting.fetch_sub(1, SeqCst);
        while waiting.load(SeqCst) > 0 {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        way.hand_all(items);
        (start, Instant::now())
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| produce(0));
        let second = scope.spawn(|| produce(1));
        let join = |thread: std::thread::ScopedJoinHandle<'_, Span>| {
            thread.join().expect("producers do not panic")
        };
        (join(first), join(second))
    })
}

/// On another thread, as in life: what a producer allocates, a consumer frees.
fn drain(way: &impl Way) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unpin();
            way.drain();
        });
    });
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
