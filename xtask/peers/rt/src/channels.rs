//! Values and records between two threads: throughput, and the time of one to arrive.
//!
//! In the cases named `try` both threads look again and again and never sleep, as the users of a bare
//! ring do, so what is compared is the path without a wake-up. `awaited.rs` has the cases with one.

use crate::contender::{Contender, Nexus};
use crate::stopwatch::Stopwatch;
use lastout_async_rt::channel::{mpsc, mpsc_bytes, spsc, spsc_bytes};
use lastout_bench_runner::{Bar, Bench, Case, pin_to_core};
use std::thread;
use std::time::Instant;

pub const VALUES: u64 = 50_000;
const TRIPS: u64 = 2_000;
pub const CAPACITY: usize = 1024;
const RECORD: [u8; 64] = [7; 64];

/// Looks until it is so, and lets others run now and then: there may be fewer cores than threads.
fn until(mut done: impl FnMut() -> bool) {
    for look in 1_u32.. {
        if done() {
            return;
        }
        if look % 256 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
    }
}

/// Nanoseconds for each value that some threads push and this one pops.
fn throughput<P: FnMut() -> bool + Send>(pushes: Vec<P>, mut pop: impl FnMut() -> bool) -> f64 {
    let (threads, each) = (pushes.len() as u64, VALUES / pushes.len() as u64);
    thread::scope(|scope| {
        let start = Instant::now();
        for mut push in pushes {
            scope.spawn(move || {
                pin_to_core(1);
                (0..each).for_each(|_| until(&mut push));
            });
        }
        (0..each * threads).for_each(|_| until(&mut pop));
        start.elapsed().as_nanos() as f64 / (each * threads) as f64
    })
}

/// Nanoseconds for the way of one value to another thread, half of there and back.
fn one_way(
    mut push: impl FnMut() -> bool,
    mut pop: impl FnMut() -> bool,
    (mut answer, mut hear): (impl FnMut() -> bool + Send, impl FnMut() -> bool + Send),
) -> f64 {
    thread::scope(|scope| {
        scope.spawn(move || {
            pin_to_core(1);
            for _ in 0..TRIPS {
                until(&mut hear);
                until(&mut answer);
            }
        });
        let start = Instant::now();
        for _ in 0..TRIPS {
            until(&mut push);
            until(&mut pop);
        }
        start.elapsed().as_nanos() as f64 / TRIPS as f64 / 2.0
    })
}

/// Nanoseconds for a value through a channel whose ends are on one thread: the path itself, without
/// a cache line that moves and without contention.
fn alone(mut push: impl FnMut() -> bool, mut pop: impl FnMut() -> bool) -> f64 {
    let watch = Stopwatch::start();
    for _ in 0..VALUES / 64 {
        (0..64).for_each(|_| assert!(push()));
        (0..64).for_each(|_| assert!(pop()));
    }
    watch.elapsed().as_nanos() as f64 / VALUES as f64
}

/// A channel as two closures.
macro_rules! ends {
    ($channel:expr, |$send:ident| $push:expr, |$recv:ident| $pop:expr) => {{
        #[allow(unused_mut, reason = "some ends are shared")]
        let (mut $send, mut $recv) = $channel;
        (move || $push, move || $pop)
    }};
}

/// Both measurements of a channel that has one sender.
macro_rules! single {
    ($throughput:ident, $one_way:ident, $($ends:tt)*) => {
        fn $throughput() -> f64 {
            let (push, pop) = ends!($($ends)*);
            throughput(vec![push], pop)
        }
        fn $one_way() -> f64 {
            let (push, hear) = ends!($($ends)*);
            let (answer, pop) = ends!($($ends)*);
            one_way(push, pop, (answer, hear))
        }
    };
}

single!(ours_spsc, ours_spsc_way, spsc::channel(CAPACITY), |s| s.try_send(1_u64).is_ok(), |r| r
    .try_recv()
    .is_ok());
single!(rtrb, rtrb_way, rtrb::RingBuffer::new(CAPACITY), |s| s.push(1_u64).is_ok(), |r| r
    .pop()
    .is_ok());
single!(ours_mpsc, ours_mpsc_way, mpsc::channel(CAPACITY), |s| s.try_send(1_u64).is_ok(), |r| r
    .try_recv()
    .is_ok());
single!(
    tokio_mpsc,
    tokio_mpsc_way,
    tokio::sync::mpsc::channel(CAPACITY),
    |s| s.try_send(1_u64).is_ok(),
    |r| r.try_recv().is_ok()
);
single!(flume_mpsc, flume_mpsc_way, flume::bounded(CAPACITY), |s| s.try_send(1_u64).is_ok(), |r| r
    .try_recv()
    .is_ok());

single!(
    ours_bytes,
    ours_bytes_way,
    spsc_bytes::channel(CAPACITY * 64),
    |s| s.try_send(&RECORD).is_ok(),
    |r| r.try_recv().is_ok()
);
single!(
    ours_mpsc_bytes,
    ours_mpsc_bytes_way,
    mpsc_bytes::channel(CAPACITY * 64),
    |s| s.try_send(&RECORD).is_ok(),
    |r| r.try_recv().is_ok()
);
single!(
    rtrb_bytes,
    rtrb_bytes_way,
    rtrb::RingBuffer::<u8>::new(CAPACITY * 64),
    |s| s.push_entire_slice(&RECORD).is_ok(),
    |r| {
        let mut record = [0; 64];
        r.pop_entire_slice(&mut record).is_ok() && std::hint::black_box(record)[0] == 7
    }
);
single!(
    tokio_bytes,
    tokio_bytes_way,
    tokio::sync::mpsc::channel(CAPACITY),
    |s| match s.try_reserve() {
        Ok(permit) => {
            permit.send(RECORD.to_vec());
            true
        }
        Err(_) => false,
    },
    |r| r.try_recv().is_ok()
);
single!(
    flume_bytes,
    flume_bytes_way,
    flume::bounded(CAPACITY),
    |s| !s.is_full() && s.try_send(RECORD.to_vec()).is_ok(),
    |r| r.try_recv().is_ok()
);

fn nexus<R: 'static>(work: impl FnOnce() -> R + 'static) -> R {
    Nexus::run(async move { work() })
}

single!(
    nexus_spsc_inside,
    nexus_spsc_way_inside,
    nexus_async_rt::channel::spsc::channel(CAPACITY),
    |s| s.try_send(1_u64).is_ok(),
    |r| r.try_recv().is_ok()
);
single!(
    nexus_mpsc_inside,
    nexus_mpsc_way_inside,
    nexus_async_rt::channel::mpsc::channel(CAPACITY),
    |s| s.try_send(1_u64).is_ok(),
    |r| r.try_recv().is_ok()
);
single!(
    nexus_bytes_inside,
    nexus_bytes_way_inside,
    nexus_async_rt::channel::spsc_bytes::channel(CAPACITY * 64),
    |s| match s.try_claim(64) {
        Ok(mut claim) => {
            claim.copy_from_slice(&RECORD);
            claim.commit();
            true
        }
        Err(_) => false,
    },
    |r| r.try_recv().is_some()
);
single!(
    nexus_mpsc_bytes_inside,
    nexus_mpsc_bytes_way_inside,
    nexus_async_rt::channel::mpsc_bytes::channel(CAPACITY * 64),
    |s| match s.try_claim(64) {
        Ok(mut claim) => {
            claim.copy_from_slice(&RECORD);
            claim.commit();
            true
        }
        Err(_) => false,
    },
    |r| r.try_recv().is_some()
);

/// Two senders.
macro_rules! double {
    ($name:ident, $channel:expr, |$send:ident| $push:expr, |$recv:ident| $pop:expr) => {
        fn $name() -> f64 {
            #[allow(unused_mut, reason = "some ends are shared")]
            let (one, mut $recv) = $channel;
            let pushes = [one.clone(), one].map(|$send| {
                #[allow(unused_mut, reason = "some ends are shared")]
                let mut $send = $send;
                move || $push
            });
            throughput(pushes.into(), move || $pop)
        }
    };
}

double!(ours_two, mpsc::channel(CAPACITY), |s| s.try_send(1_u64).is_ok(), |r| r.try_recv().is_ok());
double!(tokio_two, tokio::sync::mpsc::channel(CAPACITY), |s| s.try_send(1_u64).is_ok(), |r| r
    .try_recv()
    .is_ok());
double!(flume_two, flume::bounded(CAPACITY), |s| s.try_send(1_u64).is_ok(), |r| r
    .try_recv()
    .is_ok());
double!(
    nexus_two_inside,
    nexus_async_rt::channel::mpsc::channel(CAPACITY),
    |s| s.try_send(1_u64).is_ok(),
    |r| r.try_recv().is_ok()
);
double!(ours_two_bytes, mpsc_bytes::channel(CAPACITY * 64), |s| s.try_send(&RECORD).is_ok(), |r| r
    .try_recv()
    .is_ok());
double!(
    tokio_two_bytes,
    tokio::sync::mpsc::channel(CAPACITY),
    |s| match s.try_reserve() {
        Ok(permit) => {
            permit.send(RECORD.to_vec());
            true
        }
        Err(_) => false,
    },
    |r| r.try_recv().is_ok()
);
double!(
    flume_two_bytes,
    flume::bounded(CAPACITY),
    |s| !s.is_full() && s.try_send(RECORD.to_vec()).is_ok(),
    |r| r.try_recv().is_ok()
);
double!(
    nexus_two_bytes_inside,
    nexus_async_rt::channel::mpsc_bytes::channel(CAPACITY * 64),
    |s| match s.try_claim(64) {
        Ok(mut claim) => {
            claim.copy_from_slice(&RECORD);
            claim.commit();
            true
        }
        Err(_) => false,
    },
    |r| r.try_recv().is_some()
);

macro_rules! alone {
    ($($ends:tt)*) => {{
        let (push, pop) = ends!($($ends)*);
        alone(push, pop)
    }};
}

/// The path of each channel, both ends on one thread.
fn paths(bench: Bench<'static>) -> Bench<'static> {
    bench
        .case(
            case("channel spsc, values, both ends on one thread")
                .floor(|| {
                    alone!(rtrb::RingBuffer::new(CAPACITY), |s| s.push(1_u64).is_ok(), |r| r
                        .pop()
                        .is_ok())
                })
                .ours(|| {
                    alone!(spsc::channel(CAPACITY), |s| s.try_send(1_u64).is_ok(), |r| r
                        .try_recv()
                        .is_ok())
                })
                .peer("tokio mpsc", || {
                    alone!(
                        tokio::sync::mpsc::channel(CAPACITY),
                        |s| s.try_send(1_u64).is_ok(),
                        |r| r.try_recv().is_ok()
                    )
                })
                .peer("flume", || {
                    alone!(flume::bounded(CAPACITY), |s| s.try_send(1_u64).is_ok(), |r| r
                        .try_recv()
                        .is_ok())
                })
                .bar(Bar::floor().max(1.3))
                .bar(Bar::best_peer().max(1.0)),
        )
        .case(
            case("channel mpsc, values, both ends on one thread")
                .ours(|| {
                    alone!(mpsc::channel(CAPACITY), |s| s.try_send(1_u64).is_ok(), |r| r
                        .try_recv()
                        .is_ok())
                })
                .peer("tokio", || {
                    alone!(
                        tokio::sync::mpsc::channel(CAPACITY),
                        |s| s.try_send(1_u64).is_ok(),
                        |r| r.try_recv().is_ok()
                    )
                })
                .peer("flume", || {
                    alone!(flume::bounded(CAPACITY), |s| s.try_send(1_u64).is_ok(), |r| r
                        .try_recv()
                        .is_ok())
                })
                .bar(Bar::best_peer().max(1.0)),
        )
        .case(
            case("channel mpsc, 64-byte records, both ends on one thread")
                .ours(|| {
                    alone!(
                        mpsc_bytes::channel(CAPACITY * 64),
                        |s| s.try_send(&RECORD).is_ok(),
                        |r| r.try_recv().is_ok()
                    )
                })
                .peer("tokio", || {
                    alone!(
                        tokio::sync::mpsc::channel(CAPACITY),
                        |s| s.try_send(RECORD.to_vec()).is_ok(),
                        |r| r.try_recv().is_ok()
                    )
                })
                .peer("flume", || {
                    alone!(flume::bounded(CAPACITY), |s| s.try_send(RECORD.to_vec()).is_ok(), |r| r
                        .try_recv()
                        .is_ok())
                })
                .bar(Bar::best_peer().max(1.0)),
        )
}

pub fn case(name: &str) -> Case<'static> {
    Case::lower(name, "ns").rounds(15)
}

/// Every case of channels between threads.
pub fn add_to(bench: Bench<'static>) -> Bench<'static> {
    let ring = || Bar::floor().max(1.3);
    let ahead = || Bar::best_peer().max(1.0);
    paths(bench)
        .case(
            case("channel spsc, values, try, each")
                .floor(rtrb)
                .ours(ours_spsc)
                .peer("nexus", || nexus(nexus_spsc_inside))
                .peer("tokio mpsc", tokio_mpsc)
                .peer("flume", flume_mpsc)
                .bar(ring())
                .bar(ahead()),
        )
        .case(
            case("channel spsc, values, try, one way")
                .floor(rtrb_way)
                .ours(ours_spsc_way)
                .peer("nexus", || nexus(nexus_spsc_way_inside))
                .peer("tokio mpsc", tokio_mpsc_way)
                .peer("flume", flume_mpsc_way)
                .bar(ring())
                .bar(ahead()),
        )
        .case(
            case("channel mpsc, 1 producer, values, try, each")
                .ours(ours_mpsc)
                .peer("nexus", || nexus(nexus_mpsc_inside))
                .peer("tokio", tokio_mpsc)
                .peer("flume", flume_mpsc)
                .bar(ahead()),
        )
        .case(
            case("channel mpsc, values, try, one way")
                .ours(ours_mpsc_way)
                .peer("nexus", || nexus(nexus_mpsc_way_inside))
                .peer("tokio", tokio_mpsc_way)
                .peer("flume", flume_mpsc_way)
                .bar(ahead()),
        )
        .case(
            case("channel mpsc, 2 producers, values, try, each")
                .ours(ours_two)
                .peer("nexus", || nexus(nexus_two_inside))
                .peer("tokio", tokio_two)
                .peer("flume", flume_two)
                .bar(ahead()),
        )
        .case(
            case("channel spsc, 64-byte records, try, each")
                .floor(rtrb_bytes)
                .ours(ours_bytes)
                .peer("nexus", || nexus(nexus_bytes_inside))
                .peer("tokio mpsc", tokio_bytes)
                .peer("flume", flume_bytes)
                .bar(ring())
                .bar(ahead()),
        )
        .case(
            case("channel spsc, 64-byte records, try, one way")
                .floor(rtrb_bytes_way)
                .ours(ours_bytes_way)
                .peer("nexus", || nexus(nexus_bytes_way_inside))
                .peer("tokio mpsc", tokio_bytes_way)
                .peer("flume", flume_bytes_way)
                .bar(ring())
                .bar(ahead()),
        )
        .case(
            case("channel mpsc, 1 producer, 64-byte records, try, each")
                .ours(ours_mpsc_bytes)
                .peer("nexus", || nexus(nexus_mpsc_bytes_inside))
                .peer("tokio", tokio_bytes)
                .peer("flume", flume_bytes)
                .bar(ahead()),
        )
        .case(
            case("channel mpsc, 64-byte records, try, one way")
                .ours(ours_mpsc_bytes_way)
                .peer("nexus", || nexus(nexus_mpsc_bytes_way_inside))
                .peer("tokio", tokio_bytes_way)
                .peer("flume", flume_bytes_way)
                .bar(ahead()),
        )
        .case(
            case("channel mpsc, 2 producers, 64-byte records, try, each")
                .ours(ours_two_bytes)
                .peer("nexus", || nexus(nexus_two_bytes_inside))
                .peer("tokio", tokio_two_bytes)
                .peer("flume", flume_two_bytes)
                .bar(ahead()),
        )
}
