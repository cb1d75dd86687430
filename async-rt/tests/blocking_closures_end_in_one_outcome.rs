//! The blocking pool: bounded, first in first out, each closure with one counted end, and a runtime's
//! end that waits for none of them.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{on_both_cores, until, within};
use lastout_async_rt::time::{sleep, yield_now};
use lastout_async_rt::{
    BlockingRefusedKind, BlockingStats, Handle, Runtime, spawn_blocking, spawn_boxed,
};
use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A closure that says that it runs, and then blocks until the sender is gone.
fn blocker() -> (impl FnOnce() + Send, Receiver<()>, Sender<()>) {
    let (begun, runs) = channel();
    let (release, blocks) = channel();
    let work = move || {
        begun.send(()).unwrap();
        let _ = blocks.recv();
    };
    (work, runs, release)
}

fn assert_balanced(stats: BlockingStats) {
    let ended = stats.completed + stats.panicked + stats.cancelled;
    assert_eq!(stats.accepted, stats.waiting + stats.running + ended, "{stats:?}");
}

/// Counts its drops, and panics in each with itself.
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic_any(Self(Arc::clone(&self.0)));
    }
}

on_both_cores! {
    fn a_closure_blocks_a_thread_and_not_the_runtime(core) {
        let runtime = core.runtime();
        runtime.block_on(async {
            let here = std::thread::current().id();
            let (release, blocks) = channel::<()>();
            let there = spawn_blocking(move || { let _ = blocks.recv(); std::thread::current().id() }).unwrap();
            let other = spawn_boxed(async { for _ in 0..100 { yield_now().await } });
            within("a task beside a blocked closure", other).await.unwrap();
            drop(release);
            assert_ne!(within("the closure", there).await.unwrap(), here);
            let panicked = spawn_blocking(|| -> () { panic!("as told") }).unwrap();
            let error = within("the panic", panicked).await.unwrap_err();
            assert!(error.is_panic() && error.to_string().contains("as told"), "{error}");
        });
        let stats = runtime.blocking_stats();
        assert_eq!((stats.accepted, stats.completed, stats.panicked, stats.running), (2, 1, 1, 0));
    }

    fn at_most_so_many_closures_run_and_wait(core) {
        let runtime = core.builder().blocking_threads(3).blocking_queue(5).build().unwrap();
        runtime.block_on(async {
            let mut blocked = Vec::new();
            for _ in 0..3 {
                let (work, runs, release) = blocker();
                let task = spawn_blocking(work).unwrap();
                runs.recv().unwrap();
                blocked.push((task, release));
            }
            let order = Arc::new(Mutex::new(Vec::new()));
            let waiting: Vec<_> = (0..5).map(|n| {
                let order = Arc::clone(&order);
                spawn_blocking(move || order.lock().unwrap().push(n)).unwrap()
            }).collect();
            let refused = spawn_blocking(|| 42).unwrap_err();
            assert!(matches!(refused.kind, BlockingRefusedKind::Full { waiting: 5 }), "{refused:?}");
            assert_eq!((refused.work)(), 42, "the closure comes back");
            let stats = Handle::current().blocking_stats();
            assert_eq!((stats.threads, stats.running, stats.waiting, stats.accepted), (3, 3, 5, 8));
            let (first, release) = blocked.remove(0);
            drop(release);
            within("the first", first).await.unwrap();
            for task in waiting { within("one that waited", task).await.unwrap(); }
            assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4], "one thread took them in turn");
        });
        assert_balanced(runtime.blocking_stats());
    }

    fn an_aborted_closure_that_waits_never_runs(core) {
        let runtime = core.builder().blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (work, runs, release) = blocker();
            let running = spawn_blocking(work).unwrap();
            runs.recv().unwrap();
            let held = Arc::new(());
            let (kept, ran) = (Arc::clone(&held), Arc::new(AtomicUsize::new(0)));
            let told = Arc::clone(&ran);
            let waiting = spawn_blocking(move || { told.fetch_add(1, Ordering::SeqCst); drop(kept) }).unwrap();
            waiting.abort();
            assert_eq!(Arc::strong_count(&held), 1, "it is dropped at once");
            assert!(within("the aborted one", waiting).await.unwrap_err().is_cancelled());
            running.abort();
            drop(release);
            within("the one that ran", running).await.unwrap();
            assert_eq!(ran.load(Ordering::SeqCst), 0);
        });
        let stats = runtime.blocking_stats();
        assert_eq!((stats.cancelled, stats.completed), (1, 1));
    }

    /// The end cancels what waits, names what runs, and waits for neither.
    fn the_end_of_a_runtime_waits_for_no_closure(core) {
        let runtime = core.builder().blocking_threads(1).build().unwrap();
        let handle = runtime.handle();
        let (work, runs, release) = blocker();
        let line = line!() + 1;
        let running = handle.spawn_blocking(work).unwrap();
        runs.recv().unwrap();
        let dropped = Arc::new(AtomicUsize::new(0));
        let bomb = Bomb(Arc::clone(&dropped));
        let waiting = handle.spawn_blocking(move || drop(bomb)).unwrap();
        drop(runtime);
        assert_eq!(dropped.load(Ordering::SeqCst), 2, "the bomb, and the payload of its panic");
        let left = handle.blocking_running();
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].spawned_at.line(), left[0].spawned_at.file()), (line, file!()));
        let refused = handle.spawn_blocking(|| ()).unwrap_err();
        assert!(matches!(refused.kind, BlockingRefusedKind::Ended));
        let elsewhere = Runtime::new().unwrap();
        assert!(elsewhere.block_on(waiting).unwrap_err().is_cancelled());
        drop(release);
        elsewhere.block_on(async { within("its output outlives the runtime", running).await.unwrap() });
        until("the thread ends", || handle.blocking_stats().threads == 0);
        let stats = handle.blocking_stats();
        assert_eq!((stats.completed, stats.cancelled), (1, 1));
        assert_balanced(stats);
    }

    /// Closures have until the deadline, also those that still wait for a thread and have no reader.
    fn a_shutdown_gives_closures_their_time(core) {
        let runtime = core.builder().blocking_threads(1).build().unwrap();
        let (ran, drops) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for n in 0..20 {
            let ran = Arc::clone(&ran);
            runtime.handle().spawn_blocking(move || { ran.fetch_add(1, Ordering::SeqCst); assert!(n != 7, "as told"); }).unwrap().detach();
        }
        let report = runtime.shutdown_blocking(common::DEADLINE);
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((ran.load(Ordering::SeqCst), report.forced()), (20, 0));

        let runtime = core.builder().blocking_threads(1).build().unwrap();
        let (work, runs, release) = blocker();
        runtime.handle().spawn_blocking(work).unwrap().detach();
        runs.recv().unwrap();
        let bomb = Bomb(Arc::clone(&drops));
        runtime.handle().spawn_blocking(move || drop(bomb)).unwrap().detach();
        let report = runtime.shutdown_blocking(Duration::from_millis(20));
        assert_eq!((report.finished(), report.forced(), report.left_behind().len()), (0, 1, 1));
        let left = &report.left_behind()[0];
        assert!(left.name().unwrap().starts_with(file!()), "{left}");
        assert_eq!(drops.load(Ordering::SeqCst), 2, "the one that waited is dropped, with its payload");
        drop(release);
    }

    /// A closure that needs the runtime is served while the runtime waits for it.
    fn a_closure_may_ask_the_runtime_until_the_end(core) {
        let runtime = core.runtime();
        let (remote, here) = (runtime.remote_handle(), std::thread::current().id());
        runtime.handle().spawn_blocking(move || {
            let other = Runtime::new().unwrap();
            let asked = other.block_on(remote.run(move || std::thread::current().id() == here));
            assert!(asked.unwrap());
        }).unwrap().detach();
        let report = runtime.shutdown_blocking(common::DEADLINE);
        assert!(report.is_clean() && report.elapsed() < common::DEADLINE, "{report:?}");
    }

    /// Destructors of outputs and payloads, and closures that spawn, run outside the pool's lock.
    fn hostile_closures_do_not_hurt_the_pool(core) {
        let runtime = core.runtime();
        let dropped = Arc::new(AtomicUsize::new(0));
        runtime.block_on(async {
            let (one, two) = (Bomb(Arc::clone(&dropped)), Bomb(Arc::clone(&dropped)));
            spawn_blocking(move || one).unwrap().detach();
            spawn_blocking(move || -> () { panic_any(two) }).unwrap().detach();
        });
        until("both are over", || runtime.blocking_stats().running + runtime.blocking_stats().waiting == 0);
        until("their bombs are dropped", || dropped.load(Ordering::SeqCst) >= 4);
        let stats = runtime.blocking_stats();
        assert_eq!((stats.completed, stats.panicked), (1, 1));
        assert_eq!(runtime.block_on(spawn_after(&runtime)), 7);
    }

    /// Time stands still while a closure may still do something.
    fn a_virtual_clock_waits_for_closures(core) {
        let runtime = core.builder().virtual_clock().build().unwrap();
        runtime.block_on(async {
            let (work, runs, release) = blocker();
            let task = spawn_blocking(work).unwrap();
            runs.recv().unwrap();
            let order = Arc::new(Mutex::new(Vec::new()));
            let (ours, theirs) = (Arc::clone(&order), Arc::clone(&order));
            let timer = spawn_boxed(async move { sleep(Duration::from_secs(30)).await; ours.lock().unwrap().push("timer") });
            let closure = spawn_boxed(async move { task.await.unwrap(); theirs.lock().unwrap().push("closure") });
            let thread = std::thread::spawn(move || drop(release));
            within("the timer", timer).await.unwrap();
            within("the closure", closure).await.unwrap();
            thread.join().unwrap();
            assert_eq!(*order.lock().unwrap(), ["closure", "timer"]);
        });
    }
}

async fn spawn_after(runtime: &Runtime) -> i32 {
    within("one more", runtime.handle().spawn_blocking(|| 7).unwrap()).await.unwrap()
}

#[test]
fn a_pool_without_threads_or_room_is_refused() {
    assert!(Runtime::builder().blocking_threads(0).build().is_err());
    assert!(Runtime::builder().blocking_queue(0).build().is_err());
    let largest = Runtime::builder().blocking_threads(usize::MAX).blocking_queue(usize::MAX);
    let runtime = largest.build().unwrap();
    assert_eq!(runtime.block_on(async { spawn_blocking(|| 1).unwrap().await.unwrap() }), 1);
}
