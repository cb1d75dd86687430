//! Values that plain threads send and a runtime awaits: sleeps and wake-ups are part of each.
//!
//! Left out: `nexus-async-rt`, whose channels between threads hang now and then where a side sleeps.

use crate::channels::{CAPACITY, VALUES, case};
use crate::contender::{Contender, OursSpinning, TokioLocalSet};
use lastout_async_rt::channel::{mpsc, spsc};
use lastout_bench_runner::{Bar, Bench, pin_to_core};
use std::thread;
use std::time::Instant;

/// Plain threads send, and a runtime awaits until they are gone.
fn awaited<C: Contender, S: Send + 'static>(
    senders: Vec<S>,
    send: fn(&mut S),
    receive: impl Future<Output = ()> + 'static,
) -> f64 {
    let each = VALUES / 4 / senders.len() as u64;
    let total = each * senders.len() as u64;
    let start = Instant::now();
    let threads: Vec<_> = senders
        .into_iter()
        .map(|mut sender| {
            thread::spawn(move || {
                pin_to_core(1);
                (0..each).for_each(|_| send(&mut sender));
            })
        })
        .collect();
    C::run(receive);
    let each_ns = start.elapsed().as_nanos() as f64 / total as f64;
    threads.into_iter().for_each(|thread| thread.join().expect("a sender"));
    each_ns
}

fn ours_awaited(senders: usize) -> f64 {
    let (send, mut recv) = mpsc::channel(CAPACITY);
    let senders = vec![send; senders];
    awaited::<OursSpinning, _>(
        senders,
        |send| send.send_blocking(1_u64).expect("a receiver"),
        async move { while recv.recv().await.is_some() {} },
    )
}

fn ours_spsc_awaited() -> f64 {
    let (send, mut recv) = spsc::channel(CAPACITY);
    awaited::<OursSpinning, _>(
        vec![send],
        |send| send.send_blocking(1_u64).expect("a receiver"),
        async move { while recv.recv().await.is_some() {} },
    )
}

fn tokio_awaited(senders: usize) -> f64 {
    let (send, mut recv) = tokio::sync::mpsc::channel(CAPACITY);
    let senders = vec![send; senders];
    awaited::<TokioLocalSet, _>(
        senders,
        |send| send.blocking_send(1_u64).expect("a receiver"),
        async move { while recv.recv().await.is_some() {} },
    )
}

fn flume_awaited(senders: usize) -> f64 {
    let (send, recv) = flume::bounded(CAPACITY);
    let senders = vec![send; senders];
    awaited::<TokioLocalSet, _>(senders, |send| send.send(1_u64).expect("a receiver"), async move {
        while recv.recv_async().await.is_ok() {}
    })
}

/// Every case of channels that a runtime awaits.
pub fn add_to(bench: Bench<'static>) -> Bench<'static> {
    let ahead = || Bar::best_peer().max(1.0);
    bench
        .case(
            case("channel spsc, values, awaited, each")
                .ours(ours_spsc_awaited)
                .peer("tokio mpsc", || tokio_awaited(1))
                .peer("flume", || flume_awaited(1))
                .bar(ahead()),
        )
        .case(
            case("channel mpsc, 1 producer, values, awaited, each")
                .ours(|| ours_awaited(1))
                .peer("tokio", || tokio_awaited(1))
                .peer("flume", || flume_awaited(1))
                .bar(ahead()),
        )
        .case(
            case("channel mpsc, 2 producers, values, awaited, each")
                .ours(|| ours_awaited(2))
                .peer("tokio", || tokio_awaited(2))
                .peer("flume", || flume_awaited(2))
                .bar(ahead()),
        )
}
