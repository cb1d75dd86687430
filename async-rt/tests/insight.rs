//! What tests and people who look can see and decide.
#![cfg(all(feature = "testing", feature = "insight"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;
use common::{on_both_cores, until};
use lastout_async_rt::insight::TaskState;
use lastout_async_rt::time::yield_now;
use lastout_async_rt::{Handle, spawn_boxed};
use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

on_both_cores! {
    fn a_dump_names_every_live_task(core) {
        let runtime = core.builder().poll_histogram().build().unwrap();
        runtime.handle().spawn_named("waits", pending::<()>()).detach();
        runtime.run_until_stalled();
        runtime.handle().spawn_boxed(async {}).detach();
        let dump = runtime.dump();
        let waits = dump.iter().find(|task| task.name.as_deref() == Some("waits")).unwrap();
        assert_eq!((waits.state, waits.polls), (TaskState::Waiting, 1));
        assert!(waits.location.file().ends_with("insight.rs"), "{}", waits.location);
        assert!(dump.iter().any(|task| task.state == TaskState::Ready));
        runtime.block_on(async {
            let running = spawn_boxed(async { Handle::current().dump().iter().filter(|t| t.state == TaskState::Running).count() });
            assert_eq!(running.await.unwrap(), 1);
        });
        let times = runtime.poll_times();
        assert!(times.count() >= 4 && times.quantile(1.0) >= times.quantile(0.5));
        assert_eq!(core.runtime().poll_times().count(), 0);
    }

    fn a_stalled_poll_is_told_while_it_lasts(core) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&told);
        let callback = move |stall| theirs.lock().unwrap().push(stall);
        let runtime = core.builder().on_stall(Duration::from_millis(20), callback).build().unwrap();
        runtime.block_on(async {
            let handle = Handle::current();
            let inside = Arc::clone(&told);
            handle.spawn_named("hog", async move {
                until("the callback, while the poll lasts", || !inside.lock().unwrap().is_empty());
            }).await.unwrap();
        });
        drop(runtime);
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1, "once per poll");
        assert_eq!(told[0].name.as_deref(), Some("hog"));
        assert!(told[0].elapsed > Duration::from_millis(20));
    }

    fn a_seed_decides_the_order(core) {
        let order = |seed| {
            let order = Rc::new(RefCell::new(Vec::new()));
            let runtime = core.builder().seeded_order(seed).build().unwrap();
            for id in 0..20 {
                let order = Rc::clone(&order);
                runtime.handle().spawn_boxed(async move {
                    yield_now().await;
                    order.borrow_mut().push(id);
                }).detach();
            }
            runtime.run_until_stalled();
            order.take()
        };
        assert_eq!(order(6), order(6));
        assert_ne!(order(6), order(8));
        assert_eq!(order(6).len(), 20);
    }
}
