//! Cancellation reaches every waiter, and a token that is gone leaves nothing behind.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{on_both_cores, within};
use lastout_async_rt::time::yield_now;
use lastout_async_rt::{CancellationToken, ShutdownSignal, spawn_boxed};
use std::future::pending;

on_both_cores! {
    fn children_unlink_themselves(core) {
        let parent = CancellationToken::new();
        let kept = parent.child();
        for _ in 0..1000 {
            let child = parent.child();
            let grandchild = child.child();
            drop(child);
            assert_eq!(parent.children(), 2, "a grandchild keeps its parent linked");
            drop(grandchild);
        }
        assert_eq!(parent.children(), 1);
        core.runtime().block_on(async {
            let grandchild = kept.child();
            drop(kept);
            let waiter = spawn_boxed(grandchild.cancelled());
            yield_now().await;
            parent.cancel();
            within("a grandchild whose parent has no handle left", waiter).await.unwrap();
        });
        assert!(parent.child().is_cancelled());
    }

    fn guards_scopes_and_branches(core) {
        core.runtime().block_on(async {
            let token = CancellationToken::new();
            let sibling = token.child();
            let branch = token.child();
            drop(branch.clone().drop_guard());
            assert!(branch.is_cancelled() && !token.is_cancelled() && !sibling.is_cancelled());
            assert!(!sibling.clone().drop_guard().disarm().is_cancelled());
            assert_eq!(token.run_until_cancelled(async { 1 }).await, Some(1));
            let task = spawn_boxed({ let token = token.clone(); async move { token.run_until_cancelled(pending::<()>()).await } });
            let waiters: Vec<_> = (0..100).map(|_| spawn_boxed(sibling.cancelled())).collect();
            yield_now().await;
            std::thread::spawn({ let token = token.clone(); move || token.cancel() }).join().unwrap();
            assert_eq!(within("a cancelled scope", task).await.unwrap(), None);
            for waiter in waiters { within("a waiter", waiter).await.unwrap(); }
        });
    }

    fn any_number_of_tasks_hear_of_shutdown(core) {
        let runtime = core.runtime();
        let shutdown = runtime.shutdown_handle();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..3).map(|_| spawn_boxed(async { ShutdownSignal::current().await })).collect();
            yield_now().await;
            let thread = std::thread::spawn({ let shutdown = shutdown.clone(); move || shutdown.trigger() });
            for task in tasks { within("a listener", task).await.unwrap(); }
            thread.join().unwrap();
        });
        assert!(shutdown.is_shutdown());
    }
}
