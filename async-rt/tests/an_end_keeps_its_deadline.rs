//! A runtime ends by its deadline, whatever its tasks, threads and callbacks do, and its report names
//! what is left.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that starts processes")]

mod common;

use common::{Core, DEADLINE, Drops, on_both_cores, until};
use lastout_async_rt::time::{sleep, yield_now};
use lastout_async_rt::{Handle, Idle, Runtime, ShutdownSignal, spawn_blocking, spawn_boxed};
use std::cell::RefCell;
use std::future::pending;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Long enough that only a wait that ignores its deadline reaches it.
const AGES: Duration = Duration::from_secs(3600);

/// Always ready.
async fn busy() {
    loop {
        yield_now().await;
    }
}

on_both_cores! {
    fn tasks_that_listen_finish_and_the_others_are_dropped(core) {
        let runtime = core.runtime();
        let (shutdown, handle, drops) = (runtime.shutdown_handle(), runtime.handle(), Drops::default());
        runtime.block_on(async {
            for _ in 0..3 {
                spawn_boxed(async { ShutdownSignal::current().await; yield_now().await }).detach();
            }
            let guard = drops.guard();
            spawn_boxed(async move { let _guard = guard; pending::<()>().await }).detach();
            yield_now().await;
        });
        assert_eq!(shutdown.report(), None);
        let report = runtime.shutdown_blocking(Duration::from_millis(20));
        assert_eq!((report.finished(), report.forced(), drops.count()), (3, 1, 1));
        assert!(report.is_clean(), "{report:?}");
        let stats = handle.stats();
        assert_eq!((stats.spawned, stats.live, stats.completed, stats.cancelled), (4, 0, 3, 1));
        assert_eq!(core.runtime().block_on(shutdown.ended()), report);
    }

    fn a_spinning_idle_and_a_busy_task_keep_the_deadline(core) {
        for idle in [Idle::SpinThenPark(AGES), Idle::SpinThenPark(Duration::MAX), Idle::Busy] {
            let runtime = core.builder().idle(idle).build().unwrap();
            let stuck = runtime.handle().spawn_boxed(pending::<()>());
            assert_eq!(runtime.shutdown_quiesce(Duration::from_millis(5)).unwrap_err().remaining_tasks, 1);
            runtime.handle().spawn_boxed(busy()).detach();
            assert_eq!(runtime.shutdown_blocking(Duration::from_millis(5)).forced(), 2);
            drop(stuck);
        }
        let runtime = core.runtime();
        runtime.handle().spawn_boxed(async {}).detach();
        assert_eq!(runtime.shutdown_blocking(Duration::MAX).finished(), 1);
        assert!(core.runtime().shutdown_blocking(Duration::ZERO).is_clean());
    }

    fn a_busy_task_in_a_cycle_of_any_length_keeps_the_deadline(core) {
        let builder = || core.builder().tasks_per_cycle(usize::MAX).event_interval(usize::MAX);
        let runtime = builder().build().unwrap();
        runtime.handle().spawn_boxed(busy()).detach();
        // The future of `block_on` and the quiesce have their turn too.
        let mut turns = 0;
        runtime.block_on(async { while turns < 3 { turns += 1; yield_now().await } });
        assert_eq!(runtime.shutdown_quiesce(Duration::from_millis(5)).unwrap_err().remaining_tasks, 1);
        assert_eq!(runtime.shutdown_blocking(Duration::from_millis(5)).forced(), 1);
        // Sockets and timers are looked at by their own number.
        let runtime = core.builder().tasks_per_cycle(usize::MAX).event_interval(16).build().unwrap();
        runtime.handle().spawn_boxed(busy()).detach();
        runtime.block_on(async { sleep(Duration::from_millis(1)).await });
    }

    fn what_destructors_spawn_at_the_deadline_is_dropped(core) {
        /// Spawns as many more, one in the destructor of the other.
        struct Spawns(usize, Drops);
        impl Drop for Spawns {
            fn drop(&mut self) {
                let (guard, next) = (self.1.guard(), self.0.checked_sub(1).map(|left| Self(left, self.1.clone())));
                spawn_boxed(async move { let _held = (guard, next); pending::<()>().await }).detach();
            }
        }
        let (runtime, drops) = (core.runtime(), Drops::default());
        let (handle, shutdown) = (runtime.handle(), runtime.shutdown_handle());
        for _ in 0..2000 {
            let spawns = Spawns(2, drops.clone());
            runtime.handle().spawn_boxed(async move { let _spawns = spawns; pending::<()>().await }).detach();
        }
        runtime.run_until_stalled();
        let report = runtime.shutdown_blocking(Duration::ZERO);
        assert!(report.is_clean(), "{} left", report.left_behind().len());
        assert_eq!((report.forced(), drops.count()), (8000, 6000));
        assert_eq!(handle.stats().cancelled, 8000);
        assert!(shutdown.report().unwrap().is_clean());
    }

    fn destructors_that_spawn_for_ever_are_named(core) {
        struct Again;
        impl Drop for Again {
            fn drop(&mut self) {
                let again = Self;
                spawn_boxed(async move { let _again = again; pending::<()>().await }).detach();
            }
        }
        let runtime = core.runtime();
        runtime.handle().spawn_boxed(async { let _again = Again; pending::<()>().await }).detach();
        runtime.run_until_stalled();
        let handle = runtime.handle();
        let report = runtime.shutdown_blocking(Duration::from_millis(20));
        assert!(!report.is_clean());
        assert_eq!(report.left_behind()[0].what(), "task");
        let stats = handle.stats();
        assert_eq!(stats.spawned, stats.live + stats.cancelled, "{stats:?}");
    }

    fn destructors_that_spawn_after_the_end_are_followed_so_far(core) {
        struct Again(Handle);
        impl Drop for Again {
            fn drop(&mut self) {
                let again = Self(self.0.clone());
                self.0.spawn_boxed(async move { let _again = again; pending::<()>().await }).detach();
            }
        }
        let handle = core.runtime().handle();
        let again = Again(handle.clone());
        let task = handle.spawn_boxed(async move { let _again = again; pending::<()>().await });
        assert!(core.runtime().block_on(task).unwrap_err().is_cancelled());
        let stats = handle.stats();
        assert_eq!((stats.spawned, stats.live), (stats.live + stats.cancelled, 1), "{stats:?}");
    }

    fn a_blocking_closure_that_goes_on_is_named(core) {
        let runtime = core.runtime();
        let (hold, held) = mpsc::channel::<()>();
        runtime.block_on(async {
            spawn_blocking(move || held.recv()).unwrap().detach();
            sleep(Duration::from_millis(1)).await;
        });
        let report = runtime.shutdown_blocking(Duration::from_millis(20));
        assert_eq!(report.left_behind()[0].what(), "blocking closure", "{report:?}");
        assert!(report.left_behind()[0].name().unwrap().contains("an_end_keeps_its_deadline"));
        drop(hold);
        let quick = core.runtime();
        quick.block_on(async { spawn_blocking(|| 3).unwrap().await.unwrap() });
        assert!(quick.shutdown_blocking(DEADLINE).is_clean());
    }

    #[cfg(feature = "insight")]
    fn a_stall_callback_that_sleeps_holds_nobody_up(core) {
        let (called, calls) = mpsc::channel();
        let (hold, held) = mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        let builder = core.builder().on_stall(Duration::from_millis(1), move |_| {
            called.send(()).unwrap();
            let _ = held.lock().unwrap().recv();
        });
        let runtime = builder.build().unwrap();
        runtime.block_on(async move {
            spawn_boxed(async move { until("the callback", || calls.try_recv().is_ok()) }).await.unwrap();
        });
        let report = runtime.shutdown_blocking(Duration::from_millis(20));
        assert_eq!(report.left_behind()[0].what(), "stall watchdog", "{report:?}");
        drop(hold);
    }
}

thread_local! { static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) }; }

/// The child of the test below: a task ends the process while a thread local has its runtime.
fn exit_inside_a_task(core: Core) {
    struct Exits;
    impl Drop for Exits {
        fn drop(&mut self) {
            std::process::exit(7);
        }
    }
    let in_destructor = std::env::var("EXIT").unwrap() == "destructor";
    RUNTIME.with(|place| *place.borrow_mut() = Some(core.runtime()));
    RUNTIME
        .with(|place| {
            let place = place.borrow();
            place.as_ref().unwrap().block_on(async {
                spawn_boxed(pending::<()>()).detach();
                spawn_boxed(async move {
                    let guard = Exits;
                    if in_destructor {
                        drop(guard);
                    }
                    std::process::exit(7);
                })
                .await
            })
        })
        .unwrap();
}

/// `exit` runs the destructors of this thread's locals, of the runtime that runs too.
fn exits(core: &str) {
    if std::env::var("EXIT").is_ok() {
        let core = if core == "intrusive" { Core::Intrusive } else { Core::Reference };
        return exit_inside_a_task(core);
    }
    for place in ["poll", "destructor"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("a_process_may_exit_inside_a_task_{core}")])
            .env("EXIT", place)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() > end {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::yield_now();
        };
        assert_eq!(status.expect("the child ends").code(), Some(7), "in a {place}");
    }
}

#[test]
fn a_process_may_exit_inside_a_task_intrusive() {
    exits("intrusive");
}

#[test]
fn a_process_may_exit_inside_a_task_reference() {
    exits("reference");
}
