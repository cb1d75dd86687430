//! A supervisor is a member of another one: its members end by the outer deadline, and its failure is one.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod support;

use lastout::supervisor::{Cause, Ending, Failure, Phase, Strategy};
use lastout::{Restart, Supervisor};
use std::thread;
use std::time::Duration;
use support::{Book, Does, Fake, Fault, GENEROUS, wait_until};

#[test]
fn the_inner_members_end_at_the_turn_of_their_supervisor() {
    let book = Book::default();
    let inner = Supervisor::builder()
        .member("a", Fake::new("a", &book).counted(3))
        .member("b", Fake::new("b", &book).counted(4))
        .build()
        .unwrap();
    let supervisor = Supervisor::builder()
        .member("first", Fake::new("first", &book))
        .member("inner", inner)
        .member("last", Fake::new("last", &book))
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.exit_code(), 0, "{report}");
    let expected = [
        "drain last",
        "drop last",
        "drain b",
        "drop b",
        "drain a",
        "drop a",
        "drain first",
        "drop first",
    ];
    assert_eq!(book.lines(), expected);
    assert_eq!(report.totals().counts["fake.counted"], 7);
    assert_eq!(report.members[1].drained.ended[0].count, 2);
}

#[test]
fn what_an_inner_member_leaves_behind_is_named_after_both() {
    let book = Book::default();
    let fake = Fake::new("a", &book).drain(Does::Leaves);
    let inner = Supervisor::builder().member("a", fake).build().unwrap();
    let supervisor = Supervisor::builder().member("inner", inner).build().unwrap();
    let report = supervisor.shutdown_blocking();
    let left: Vec<_> = report.left_behind().map(|(name, left)| format!("{name}: {left}")).collect();
    assert_eq!(left, ["inner: a: process 42 (stuck): uninterruptible"]);
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn an_inner_member_that_hangs_is_forced_within_the_outer_deadline() {
    let book = Book::default();
    let fake = Fake::new("a", &book).drain(Does::Hangs);
    let inner = Supervisor::builder().deadline(GENEROUS).member("a", fake).build().unwrap();
    let supervisor = Supervisor::builder()
        .deadline(Duration::from_secs(2))
        .grace(GENEROUS)
        .member("inner", inner)
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.members[0].ending, Ending::Forced, "{report}");
    assert!(report.elapsed < GENEROUS);
    assert_eq!(book.lines(), ["drain a", "force a", "drop a"]);
}

#[test]
fn a_failure_inside_restarts_the_inner_supervisor_whole() {
    let (book, fault) = (Book::default(), Fault::default());
    let start = {
        let (book, fault) = (book.clone(), fault.clone());
        move || {
            let inner = Supervisor::builder()
                .member("a", Fake::new("a", &book))
                .member("b", Fake::new("b", &book).fault(&fault))
                .build();
            async move { Ok::<_, Failure>(inner?) }
        }
    };
    let policy = Restart::on_failure().backoff(Duration::ZERO, Duration::ZERO).limit(1, GENEROUS);
    let supervisor = Supervisor::builder()
        .strategy(Strategy::OneForAll)
        .service("inner", policy, start)
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    fault.strike();
    wait_until(|| handle.stats().members[0].restarts, |restarts| *restarts == 1);
    fault.strike();
    let report = running.join().unwrap();
    assert_eq!(report.cause, Cause::Failed("inner".into()), "{report}");
    assert_eq!(report.members[0].failures, ["b failed: struck", "b failed: struck"]);
    let expected = ["force b", "drop b", "drain a", "drop a"];
    assert_eq!(book.lines(), expected.repeat(2));
    assert!(report.is_clean(), "{report}");
}

#[test]
fn one_whose_members_are_all_done_is_done() {
    let inner = || Supervisor::builder().build().unwrap();
    let supervisor = Supervisor::builder()
        .member("a", inner())
        .service("b", Restart::on_failure(), move || async move { Ok::<_, Failure>(inner()) })
        .build()
        .unwrap();
    let handle = supervisor.handle();
    handle.stop();
    assert_eq!(supervisor.run_blocking().exit_code(), 0);
    assert!(handle.stats().members.iter().all(|member| member.phase != Phase::GaveUp));
}

#[test]
fn one_that_is_dropped_without_a_run_forces_what_it_runs() {
    let book = Book::default();
    let fake = Fake::new("a", &book).drain(Does::Hangs);
    let inner = Supervisor::builder().member("a", fake).build().unwrap();
    drop(Supervisor::builder().member("inner", inner).build().unwrap());
    wait_until(|| book.lines(), |lines| lines.ends_with(&["drop a".to_owned()]));
}
