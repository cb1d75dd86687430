//! Runtimes under foreign wakers, panics, aborts and sudden ends, for minutes; ends with the sums.
//!
//! `soak --minutes N --seed S`. Each round builds a runtime, fills it with tasks of every kind, lets
//! threads wake, clone, abort and send to it, and drops it at a random moment. The sums must hold
//! after each round: each spawned task ended once, each future was dropped once, each output too.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a soak"
)]

use lastout_async_rt::channel::mpsc;
use lastout_async_rt::time::{sleep, timeout, yield_now};
use lastout_async_rt::{AbortHandle, CancellationToken, Handle, Idle, Runtime};
use std::future::poll_fn;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

static MADE: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// A live value of a future or an output.
struct Counted;

impl Counted {
    fn new() -> Self {
        MADE.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What threads do things to.
#[derive(Default)]
struct Targets {
    wakers: Mutex<Vec<Waker>>,
    aborts: Mutex<Vec<AbortHandle>>,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (mut minutes, mut seed) = (1.0, 0x5eed_u64);
    while let (Some(flag), Some(value)) = (words.next(), words.next()) {
        match flag.as_str() {
            "--minutes" => minutes = value.parse().unwrap(),
            "--seed" => seed = value.parse().unwrap(),
            other => panic!("soak: {other} is no flag; there are --minutes N and --seed S"),
        }
    }
    std::panic::set_hook(Box::new(|info| {
        if info.payload_as_str() != Some("on purpose") {
            eprintln!("{info}");
        }
    }));
    println!("soak rt: {minutes} minutes, seed {seed}");
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let (mut random, mut rounds, mut tasks) = (Random(seed | 1), 0_u64, 0_u64);
    while Instant::now() < end {
        tasks += round(&mut random);
        rounds += 1;
        let (made, dropped) = (MADE.load(Ordering::Relaxed), DROPPED.load(Ordering::Relaxed));
        if made != dropped {
            println!("FAILED after round {rounds}: {made} values made, {dropped} dropped");
            return ExitCode::FAILURE;
        }
    }
    let made = MADE.load(Ordering::Relaxed);
    println!("{rounds} runtimes, {tasks} tasks spawned = completed + panicked + cancelled");
    println!("{made} values made = {made} dropped, each by its owner's thread or its receiver");
    ExitCode::SUCCESS
}

/// One runtime, from its start to its end.
fn round(random: &mut Random) -> u64 {
    let idle = match random.below(3) {
        0 => Idle::Park,
        1 => Idle::SpinThenPark(Duration::from_micros(20)),
        _ => Idle::Busy,
    };
    let runtime = Runtime::builder().idle(idle).slab_bounded(32, 1024).build().unwrap();
    let (targets, token) = (Arc::new(Targets::default()), CancellationToken::new());
    let (send, recv) = mpsc::channel::<Counted>(4);
    let handle = runtime.handle();
    let reader = handle.spawn_boxed(async move {
        let mut recv = recv;
        while recv.recv().await.is_some() {}
    });
    drop(reader);
    for _ in 0..100 {
        spawn_one(&handle, random, &targets, &token);
    }
    let threads: Vec<_> = (0..3)
        .map(|n| {
            let random = Random(random.below(u64::MAX) | 1);
            let (targets, token, send) = (Arc::clone(&targets), token.clone(), send.clone());
            thread::spawn(move || torment(random, &targets, (n == 0).then_some(&token), &send))
        })
        .collect();
    drop(send);
    let nap = Duration::from_micros(random.below(1500));
    runtime.block_on(async {
        let _ = timeout(nap, std::future::pending::<()>()).await;
    });
    let stats = runtime.stats();
    assert_eq!(stats.spawned, stats.live + stats.completed + stats.panicked + stats.cancelled);
    let end = runtime.shutdown_stats();
    drop(runtime);
    let after = end.snapshot();
    assert!(after.ended && after.leaked_box_tasks == 0);
    assert!(after.tasks_cancelled >= stats.live, "each live task was cancelled");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    stats.spawned
}

fn spawn_one(
    handle: &Handle,
    random: &mut Random,
    targets: &Arc<Targets>,
    token: &CancellationToken,
) {
    let (value, kind, naps) = (Counted::new(), random.below(6), random.below(400));
    let (theirs, token, own) = (Arc::clone(targets), token.child(), handle.clone());
    let body = async move {
        let _value = value;
        let mut polls = 0;
        match kind {
            0 => sleep(Duration::from_micros(naps)).await,
            1 => panic!("on purpose"),
            2 => token.cancelled().await,
            3 => {
                let late = AtExit(own);
                for _ in 0..naps {
                    yield_now().await;
                }
                drop(late);
            }
            _ => {
                poll_fn(|cx| {
                    theirs.wakers.lock().unwrap().push(cx.waker().clone());
                    polls += 1;
                    if polls > 20 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
        }
        Counted::new()
    };
    let join = match handle.try_spawn_slab(body) {
        Ok(join) => join,
        Err(refused) => handle.spawn_boxed(refused.future),
    };
    if random.below(3) == 0 {
        targets.aborts.lock().unwrap().extend(join.abort_handle());
    }
}

/// Spawns when it is dropped, also while its runtime ends.
struct AtExit(Handle);

impl Drop for AtExit {
    fn drop(&mut self) {
        let value = Counted::new();
        self.0.spawn_boxed(async move { drop(value) }).detach();
    }
}

/// A thread that has everything except the runtime.
fn torment(
    mut random: Random,
    targets: &Targets,
    cancel: Option<&CancellationToken>,
    send: &mpsc::Sender<Counted>,
) {
    for _ in 0..400 {
        match random.below(5) {
            0 => {
                let waker = targets.wakers.lock().unwrap().pop();
                waker.into_iter().for_each(Waker::wake);
            }
            1 => {
                let waker = targets.wakers.lock().unwrap().last().cloned();
                waker.iter().for_each(Waker::wake_by_ref);
            }
            2 => {
                let abort = targets.aborts.lock().unwrap().pop();
                abort.iter().for_each(AbortHandle::abort);
            }
            3 => drop(send.try_send(Counted::new())),
            _ => thread::yield_now(),
        }
    }
    if let Some(token) = cancel {
        token.cancel();
    }
}
