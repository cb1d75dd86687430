//! Models of the lock-free part, each named after the invariant that it checks.
//!
//! They run the real inbox, gate, state and driver under loom; only the threads, and how a sleeping
//! driver is woken, are the model's own. A lost wake shows as loom's deadlock, a stranded task as a
//! wrong count, a node that is touched too early as a race on its body or its link.

mod close;
mod ending;
mod flush;
mod inbox;
mod wake;

use crate::config::Config;
use crate::driver::{Driver, Turn};
use crate::shared::Shared;
use crate::stats::Stats;
use crate::sync::Arc;
use loom::sync::Notify;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Wake, Waker};
use std::time::Instant;

/// Wakes a model's driver.
struct Bell(Notify);

impl Bell {
    fn new() -> (std::sync::Arc<Self>, Waker) {
        let bell = std::sync::Arc::new(Self(Notify::new()));
        (std::sync::Arc::clone(&bell), Waker::from(bell))
    }
}

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify();
    }
}

/// How often a task ran; not part of the model, so it adds no interleavings.
#[derive(Clone, Default)]
struct Count(std::sync::Arc<AtomicUsize>);

impl Count {
    fn value(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// A task that counts itself.
    fn task(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let count = self.clone();
        async move {
            count.0.fetch_add(1, SeqCst);
        }
    }
}

/// Counts when it is dropped.
struct Held(Count);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, SeqCst);
    }
}

/// Runs a model, and requires that its orders end in each of these ways: a model that explores one order alone
/// proves nothing.
fn model_seeing<T: Ord + std::fmt::Debug + Send + 'static>(
    ways: impl IntoIterator<Item = T>,
    model: impl Fn() -> T + Send + Sync + 'static,
) {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let sees = std::sync::Arc::clone(&seen);
    loom::model(move || {
        let way = model();
        sees.lock().unwrap().insert(way);
    });
    assert_eq!(*seen.lock().unwrap(), ways.into_iter().collect());
}

fn worker() -> Arc<Shared> {
    Shared::for_model(Config::default())
}

/// Gives turns to a driver until it has finished, or until `enough` says so while it would rest.
fn drive(shared: &Arc<Shared>, enough: impl Fn() -> bool) {
    let (bell, waker) = Bell::new();
    let mut driver = Driver::new(Arc::clone(shared), 0);
    loop {
        match driver.turn(&waker) {
            Turn::Finished => break,
            _ if enough() => break,
            Turn::Again => {}
            Turn::Nap | Turn::Stalled(_) => loom::thread::yield_now(),
            Turn::Sleep(_) => bell.0.wait(),
        }
    }
    driver.dismiss();
}

/// The driver that comes back after the end for a producer in the middle of its push, and only then.
fn stay(shared: &Arc<Shared>) {
    if shared.state().is_stalled() {
        let _ = crate::sweep::sweep_late(shared);
    }
}

/// The numbers of the ledger.
fn counts(shared: &Shared) -> Stats {
    shared.state().stats(Instant::now())
}

/// Closes, and leaves the end to the driver.
fn close(shared: &Arc<Shared>) {
    shared.gate().close();
    shared.state().unattended = true;
    shared.side().ready.kick.wake();
}
