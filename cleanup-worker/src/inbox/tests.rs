//! A producer that is stopped between its two stores, with the real worker at the other end.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::Pushed;
use crate::config::Config;
use crate::error::FlushError;
use crate::flush::Flush;
use crate::node::{Meta, Node, Origin, TypedNode};
use crate::report::LeftReason;
use crate::shared::Shared;
use crate::shutdown::Shutdown;
use crate::sync::Arc;
use crate::task::Options;
use crate::wait::Goal;
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
        Shared::ensure_running(&shared);
        let log = Log::default();
        Self { shared, log }
    }

    /// A node with its room, as `submit` makes it.
    fn node(&self, name: &'static str) -> Node {
        self.shared.gate().submit(1).unwrap();
        let log = self.log.clone();
        let meta = Meta {
            options: Options::new().label(name),
            generation: crate::fork::generation(),
            origin: Origin { armed: false, lazy: false },
        };
        let node = TypedNode::new(async move { log.lock().unwrap().push(name) }, meta, None);
        node.unwrap_or_else(|_| unreachable!("memory")).erase()
    }

    fn submit(&self, name: &'static str) {
        let log = self.log.clone();
        let task = async move { log.lock().unwrap().push(name) };
        Shared::submit(&self.shared, task, Options::new(), false).unwrap();
    }

    fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        Flush::new(&self.shared, Goal::Line(None), timeout).block()
    }

    fn shut_down(&self, deadline: Duration) -> Vec<LeftReason> {
        let report = Shutdown::begin(&self.shared, deadline).run_blocking();
        report.left_behind.iter().map(|left| left.reason).collect()
    }

    /// The second store of the stopped producer, and what it has to do then.
    fn go_on(&self, half: super::Half) {
        match self.shared.inbox().link(half) {
            Pushed::Joined => {}
            Pushed::Edge(waker) => waker.wake(),
            Pushed::Late(_) => unreachable!("it was on the stack before the end"),
        }
    }
}

#[test]
fn a_stopped_producer_delays_what_is_around_it_and_loses_nothing() {
    let scene = Scene::new();
    scene.submit("before");
    scene.flush(LONG).unwrap();
    let half = scene.shared.inbox().swap_in(scene.node("stopped"));
    scene.submit("after");
    // Nobody spins for it: a flush ends at its time, and the numbers can be had.
    assert!(matches!(scene.flush(SOON), Err(FlushError::TimedOut { .. })));
    assert!(scene.shared.stats().is_balanced());
    assert_eq!(*scene.log.lock().unwrap(), ["before"]);
    scene.go_on(half);
    scene.flush(LONG).unwrap();
    assert_eq!(*scene.log.lock().unwrap(), ["before", "stopped", "after"]);
    assert_eq!(scene.shut_down(LONG), []);
    assert_eq!(scene.shared.stats().completed, 3);
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
    let stats = scene.shared.stats();
    assert_eq!((stats.accepted, stats.completed, stats.abandoned), (3, 1, 2), "{stats:?}");
    assert_eq!(stats.used, 0);
    assert_eq!(*scene.log.lock().unwrap(), ["before"]);
}
