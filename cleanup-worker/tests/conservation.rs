//! Every accepted task ends in exactly one counted outcome, whatever happens in between.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_cleanup_worker::{Armed, Blocking, CleanupWorker, Options, RemoveFile, Stats};
use proptest::prelude::*;
use std::time::Duration;
use support::LONG;

#[test]
fn each_outcome_is_counted_once() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    let yes = std::hint::black_box(true);
    handle.submit(async {}).unwrap();
    handle.submit(async { Err::<(), _>("no") }).unwrap();
    handle.submit(async move { assert!(!yes, "on purpose") }).unwrap();
    handle.submit(Blocking(|| {})).unwrap();
    let short = Options::new().timeout(Duration::from_millis(1));
    handle.submit_with(std::future::pending::<()>(), short).unwrap();
    drop(handle.arm(async {}).unwrap());
    handle.flush_blocking(LONG).unwrap();
    let stats = worker.stats();
    assert_eq!(
        (stats.accepted, stats.completed, stats.failed, stats.panicked, stats.timed_out),
        (6, 3, 1, 1, 1),
        "{stats:?}"
    );
    let report = worker.shutdown_blocking(LONG);
    assert!(report.is_clean(), "{report:?}");
    assert!(handle.submit(async {}).is_err());
}

/// What a program may do with a worker, in any order.
#[derive(Debug, Clone)]
enum Step {
    Submit,
    Fail,
    Panic,
    Expire,
    Block,
    Arm(u32),
    DropGuard,
    Disarm,
    Flush,
    Pause,
    Resume,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    prop_oneof![
        4 => Just(Submit),
        1 => Just(Fail),
        1 => Just(Panic),
        1 => Just(Expire),
        1 => Just(Block),
        3 => (1..4u32).prop_map(Arm),
        2 => Just(DropGuard),
        1 => Just(Disarm),
        1 => Just(Flush),
        1 => Just(Pause),
        1 => Just(Resume),
        2 => Just(Look),
    ]
}

/// The obvious model: what must have been accepted and how it must end.
#[derive(Debug, Default)]
struct Expected {
    completed: u64,
    failed: u64,
    panicked: u64,
    timed_out: u64,
    refused: u64,
}

impl Expected {
    fn count(&mut self, ends: fn(&mut Self) -> &mut u64, accepted: bool) {
        *if accepted { ends(self) } else { &mut self.refused } += 1;
    }
}

struct Play {
    worker: CleanupWorker,
    guards: Vec<(Armed<RemoveFile>, u64)>,
    expected: Expected,
}

impl Play {
    fn new() -> Self {
        let worker = CleanupWorker::builder().capacity(20).concurrency(2).build().unwrap();
        let (guards, expected) = (Vec::new(), Expected::default());
        Self { worker, guards, expected }
    }

    fn step(&mut self, step: &Step) {
        let handle = self.worker.handle();
        let yes = std::hint::black_box(true);
        let short = Options::new().timeout(Duration::from_millis(1));
        let expected = &mut self.expected;
        match step {
            Step::Submit => expected.count(|e| &mut e.completed, handle.submit(async {}).is_ok()),
            Step::Fail => {
                let task = async { Err::<(), _>("on purpose") };
                expected.count(|e| &mut e.failed, handle.submit(task).is_ok());
            }
            Step::Panic => {
                let task = async move { assert!(!yes, "on purpose") };
                expected.count(|e| &mut e.panicked, handle.submit(task).is_ok());
            }
            Step::Expire => {
                let accepted = handle.submit_with(std::future::pending::<()>(), short).is_ok();
                expected.count(|e| &mut e.timed_out, accepted);
            }
            Step::Block => {
                expected.count(|e| &mut e.completed, handle.submit(Blocking(|| {})).is_ok());
            }
            Step::Arm(weight) => {
                // Removing a file that is not there is a success.
                let task = RemoveFile::new("/nonexistent/lastout");
                match handle.arm_with(task, Options::new().weight(*weight)) {
                    Ok(guard) => self.guards.push((guard, u64::from(*weight))),
                    Err(_) => expected.refused += 1,
                }
            }
            Step::DropGuard => {
                if self.guards.pop().is_some() {
                    expected.completed += 1;
                }
            }
            Step::Disarm => drop(self.guards.pop().map(|(guard, _)| guard.disarm())),
            Step::Flush => drop(handle.flush(Duration::ZERO)),
            Step::Pause => self.worker.pause(),
            Step::Resume => self.worker.resume(),
            Step::Look => {
                let stats = self.worker.stats();
                assert!(stats.is_balanced(), "{stats:?}");
                let armed: u64 = self.guards.iter().map(|(_, weight)| weight).sum();
                assert_eq!(stats.armed, armed, "{stats:?}");
            }
        }
    }

    fn end(self) -> (Stats, Expected, bool) {
        let Self { worker, guards, mut expected } = self;
        worker.resume();
        expected.completed += guards.len() as u64;
        drop(guards);
        let report = worker.shutdown_blocking(LONG);
        (report.stats(), expected, report.is_clean())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_ends_with_the_expected_sums(steps in prop::collection::vec(step(), 0..60)) {
        let mut play = Play::new();
        steps.iter().for_each(|step| play.step(step));
        let (stats, expected, clean) = play.end();
        prop_assert!(clean && stats.is_balanced(), "{stats:?}");
        prop_assert_eq!(stats.completed, expected.completed);
        prop_assert_eq!(stats.failed, expected.failed);
        prop_assert_eq!(stats.panicked, expected.panicked);
        prop_assert_eq!(stats.timed_out, expected.timed_out);
        prop_assert_eq!(stats.refused, expected.refused);
        prop_assert_eq!((stats.abandoned, stats.used), (0, 0));
    }
}
