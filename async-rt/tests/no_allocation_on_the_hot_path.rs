//! Spawning into a slab, waking, polling, and waiting for a cancellation allocate nothing.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/heap.rs"]
mod heap;

use heap::allocations;
use lastout_async_rt::time::yield_now;
use lastout_async_rt::{CancellationToken, Runtime, spawn_slab};
use std::pin::Pin;
use std::task::{Context, Waker};

#[test]
fn slab_tasks_and_cancellation_polls_do_not_allocate() {
    let runtime = Runtime::builder().slab_bounded(4, 512).build().unwrap();
    let round = || {
        runtime.block_on(async {
            for _ in 0..1000 {
                spawn_slab(async { yield_now().await }).await.unwrap();
            }
        });
    };
    round();
    assert_eq!(allocations(round), 0);
    let token = CancellationToken::new();
    let mut cancelled = token.cancelled();
    let wakers = [
        Waker::noop().clone(),
        runtime.block_on(async {
            std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())).await
        }),
    ];
    let mut poll = |n: usize| {
        let mut cx = Context::from_waker(&wakers[n % 2]);
        assert!(Pin::new(&mut cancelled).poll(&mut cx).is_pending());
    };
    poll(0);
    assert_eq!(allocations(|| (0..100).for_each(&mut poll)), 0, "also when the waker changes");
}
