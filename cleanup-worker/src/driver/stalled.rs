//! A producer that is stopped between its two stores, with the real worker at the other end.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::config::Config;
use crate::config::Options;
use crate::driver::ensure_running;
use crate::error::FlushError;
use crate::handle::{Task, after, arm, submit};
use crate::inbox::Half;
use crate::node::{Meta, Origin, TypedNode};
use crate::report::LeftReason;
use crate::shared::Shared;
use crate::shutdown::{Patience, Shutdown};
use crate::sync::Arc;
use crate::task::Cleanup;
use crate::waiting::Flush;
use crate::waiting::Goal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(20);

type Log = Arc<Mutex<Vec<&'static str>>>;

struct Scene {
    shared: Arc<Shared>,
    log: Log,
}

impl Scene {
    fn new() -> Self {
        let shared = Shared::new(Config::default());
        ensure_running(&shared);
        let log = Log::default();
        Self { shared, log }
    }

    /// A node with its room, as `submit` makes it.
    fn node(&self, name: &'static str) -> Task {
        self.shared.gate().submit(1).unwrap();
        let log = self.log.clone();
        let meta = Meta {
            options: Options::new().label(name),
            generation: crate::fork::generation(),
            origin: Origin { armed: false, lazy: false },
        };
        let task = async move { log.lock().unwrap().push(name) };
        let node = TypedNode::new(task, Cleanup::run, meta, None);
        node.unwrap_or_else(|_| unreachable!("memory")).erase()
    }

    fn submit(&self, name: &'static str) {
        let log = self.log.clone();
        let task = async move { log.lock().unwrap().push(name) };
        submit(&self.shared, task, Options::new(), false).unwrap();
    }

    fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        Flush::new(&self.shared, Goal::Unlined, timeout).block()
    }

    fn shut_down(&self, deadline: Duration) -> Vec<LeftReason> {
        let report = Shutdown::begin(&self.shared, Patience::Drain, deadline).run_blocking();
        report.left_behind.iter().map(|left| left.reason).collect()
    }

    /// The second store of the stopped producer, and what it has to do then.
    fn go_on(&self, half: Half<Arc<Shared>>) {
        after(self.shared.inbox().link(half), Some(&self.shared));
    }
}

#[test]
fn a_stopped_producer_delays_what_is_around_it_and_loses_nothing() {
    let scene = Scene::new();
    scene.submit("before");
    scene.flush(LONG).unwrap();
    let half = scene.shared.inbox().swap_in(scene.node("stopped"));
    scene.submit("after");
    // A flush ends at its time, and the numbers are available.
    assert!(matches!(scene.flush(SOON), Err(FlushError::TimedOut { .. })));
    assert!(crate::sweep::stats(&scene.shared).is_balanced());
    assert_eq!(*scene.log.lock().unwrap(), ["before"]);
    scene.go_on(half);
    scene.flush(LONG).unwrap();
    assert_eq!(*scene.log.lock().unwrap(), ["before", "stopped", "after"]);
    assert_eq!(scene.shut_down(LONG), []);
    assert_eq!(crate::sweep::stats(&scene.shared).completed, 3);
}

#[test]
fn a_shutdown_does_not_wait_for_a_stopped_producer_and_its_task_is_counted() {
    let scene = Scene::new();
    scene.submit("before");
    scene.flush(LONG).unwrap();
    let half = scene.shared.inbox().swap_in(scene.node("stopped"));
    scene.submit("after");
    assert_eq!(scene.shut_down(SOON), [LeftReason::StalledProducer]);
    assert!(scene.shared.is_running(), "the worker stays for it");
    scene.go_on(half);
    let deadline = Instant::now() + LONG;
    while scene.shared.is_running() {
        assert!(Instant::now() < deadline, "the worker did not end");
        std::thread::yield_now();
    }
    let stats = crate::sweep::stats(&scene.shared);
    assert_eq!((stats.accepted, stats.completed, stats.abandoned), (3, 1, 2), "{stats:?}");
    assert_eq!(stats.used, 0);
    assert_eq!(*scene.log.lock().unwrap(), ["before"]);
}

/// The weight of a guard shows as submitted only once it is taken, so here the gate looks drained.
#[test]
fn a_shutdown_does_not_wait_for_a_guard_that_stopped_in_its_drop() {
    let scene = Scene::new();
    let guard = arm(&scene.shared, async {}, Options::new(), false).unwrap().erase();
    let half = scene.shared.inbox().swap_in(guard);
    assert_eq!(scene.shut_down(SOON)[0], LeftReason::StalledProducer);
    scene.go_on(half);
    let deadline = Instant::now() + LONG;
    while scene.shared.is_running() {
        assert!(Instant::now() < deadline, "the worker did not end");
        std::thread::yield_now();
    }
    let stats = crate::sweep::stats(&scene.shared);
    assert_eq!((stats.accepted, stats.abandoned, stats.used), (1, 1, 0), "{stats:?}");
}

/// After the end one late guard finds another between its two stores: a driver comes back for that one.
#[test]
fn a_producer_that_stops_after_the_end_strands_nothing() {
    let scene = Scene::new();
    scene.submit("before");
    scene.flush(LONG).unwrap();
    let guards = ["stopped", "late"].map(|name| {
        let log = scene.log.clone();
        struct Dropped(Log, &'static str);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.lock().unwrap().push(self.1);
            }
        }
        let held = Dropped(log, name);
        arm(&scene.shared, async move { drop(held) }, Options::new(), false).unwrap().erase()
    });
    assert_eq!(scene.shut_down(LONG), [LeftReason::Armed { weight: 2 }]);
    let [stopped, late] = guards;
    let half = scene.shared.inbox().swap_in(stopped);
    crate::armed::push(late);
    // The second joins the first, so nothing has looked yet; the first one looks when it goes on.
    assert_eq!(*scene.log.lock().unwrap(), ["before"]);
    scene.go_on(half);
    assert_eq!(*scene.log.lock().unwrap(), ["before", "stopped", "late"]);

    // The other way round: the one that looks goes on first.
    let scene = Scene::new();
    let guard = || arm(&scene.shared, async {}, Options::new(), false).unwrap().erase();
    let (first, second) = (guard(), guard());
    let _ = scene.shut_down(LONG);
    let first = scene.shared.inbox().swap_in(first);
    let second = scene.shared.inbox().swap_in(second);
    scene.go_on(first);
    assert_eq!(crate::sweep::stats(&scene.shared).abandoned, 0, "the second one stands in the way");
    scene.go_on(second);
    let deadline = Instant::now() + LONG;
    while scene.shared.is_running() {
        assert!(Instant::now() < deadline, "the worker did not end");
        std::thread::yield_now();
    }
    let numbers = scene.shared.state().stats(Instant::now());
    assert_eq!((numbers.accepted, numbers.abandoned), (2, 2), "{numbers:?}");
}
