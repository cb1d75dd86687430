//! Cancellation reaches every waiter, and a token that is gone leaves nothing behind.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{on_both_cores, within};
use lastout_async_rt::time::yield_now;
use lastout_async_rt::{CancellationToken, Cancelled, ShutdownSignal, spawn_boxed};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

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

/// Counts its wakes, and panics when it wakes or when it is dropped.
struct Hostile {
    wakes: Arc<AtomicUsize>,
    drops: bool,
}

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        assert!(self.drops, "a waker");
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        assert!(!self.drops, "the destructor of a waker");
    }
}

fn wait_hostile(waiter: &mut Cancelled, wakes: &Arc<AtomicUsize>, drops: bool) {
    let waker = Waker::from(Arc::new(Hostile { wakes: Arc::clone(wakes), drops }));
    assert!(Pin::new(waiter).poll(&mut Context::from_waker(&waker)).is_pending());
    // Dropped here it is not the last one: the token has a clone.
}

#[test]
fn a_waker_that_panics_keeps_nobody_from_being_told() {
    std::panic::set_hook(Box::new(|_| {}));
    let (token, wakes) = (CancellationToken::new(), Arc::default());
    let (child, late) = (token.child(), token.child());
    let mut waiters: Vec<_> =
        (0..4).map(|_| token.cancelled()).chain([child.cancelled(), late.cancelled()]).collect();
    for (nth, waiter) in waiters.iter_mut().enumerate() {
        wait_hostile(waiter, &wakes, nth % 2 == 0);
    }
    token.cancel();
    assert_eq!(wakes.load(Ordering::Relaxed), waiters.len(), "each waiter was woken");
    assert!(child.is_cancelled() && late.is_cancelled() && child.child().is_cancelled());
    // Registered again, and cancelled by nobody: the drop of the waiter drops the waker.
    let other = CancellationToken::new();
    let mut waiter = other.cancelled();
    wait_hostile(&mut waiter, &wakes, true);
    drop(waiter);
}

#[test]
fn a_deep_chain_of_tokens_is_dropped_and_cancelled_without_recursion() {
    let root = CancellationToken::new();
    let mut chain = vec![root.child()];
    for depth in 0..100_000 {
        let child = chain[depth].child();
        chain.push(child);
    }
    let last = chain.pop().unwrap();
    drop(chain);
    assert_eq!(root.children(), 1, "the last one is right below the root");
    root.cancel();
    assert!(last.is_cancelled());
    let mut token = CancellationToken::new();
    let mut chain: Vec<_> = (0..100_000)
        .map(|_| {
            token = token.child();
            token.clone()
        })
        .collect();
    chain[0].cancel();
    assert!(token.is_cancelled());
    chain.reverse();
    drop(chain);
}

#[test]
fn a_loop_that_derives_its_token_keeps_one() {
    let root = CancellationToken::new();
    let mut token = root.child();
    for _ in 0..1_000 {
        token = token.child();
        assert_eq!(root.children(), 1);
    }
    // The ends of parents in every order leave the children where a cancellation finds them.
    let tokens: Vec<Vec<_>> = (0..10)
        .map(|_| {
            let one = root.child();
            (0..10).map(|_| one.child()).collect()
        })
        .collect();
    assert_eq!(root.children(), 101);
    drop(token);
    assert_eq!(root.children(), 100);
    root.cancel();
    assert!(tokens.iter().flatten().all(CancellationToken::is_cancelled));
}
