//! Spawning into a slab, waking, polling, and waiting for a cancellation allocate nothing.
#![allow(clippy::unwrap_used, unsafe_code, reason = "a test with an allocator that counts")]

use lastout_async_rt::time::yield_now;
use lastout_async_rt::{CancellationToken, Runtime, spawn_slab};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Waker};

struct Counting;

thread_local! { static COUNT: Cell<usize> = const { Cell::new(0) }; }

// SAFETY: everything is passed on to `System`; the count is of this thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is `System`'s.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is `System`'s.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

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
