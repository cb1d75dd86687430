//! Members end one after the other, the last one first, whatever each of them does.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod support;

use lastout::Supervisor;
use lastout::supervisor::{Cause, Ending};
use std::time::Duration;
use support::{Book, Does, Fake, GENEROUS, wait_until};

#[test]
fn the_last_one_ends_first_and_those_that_are_last_end_last() {
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .last("worker", Fake::new("worker", &book))
        .member("first", Fake::new("first", &book))
        .last("second worker", Fake::new("second worker", &book))
        .member("second", Fake::new("second", &book))
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    let order = ["second", "first", "second worker", "worker"];
    let expected: Vec<_> =
        order.iter().flat_map(|name| [format!("drain {name}"), format!("drop {name}")]).collect();
    assert_eq!(book.lines(), expected);
    let names: Vec<_> = report.members.iter().map(|member| &*member.name).collect();
    assert_eq!(names, order);
    assert!(report.is_clean());
    assert_eq!(report.cause, Cause::Asked);
}

#[test]
fn one_that_hangs_is_forced_after_its_deadline_and_holds_up_nobody_longer() {
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .grace(Duration::from_secs(3))
        .member("first", Fake::new("first", &book))
        .deadline(Duration::from_millis(20))
        .member("hangs", Fake::new("hangs", &book).drain(Does::Hangs))
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    let expected = ["drain hangs", "force hangs", "drop hangs", "drain first", "drop first"];
    assert_eq!(book.lines(), expected);
    assert_eq!(report.members[0].ending, Ending::Forced);
    assert_eq!(report.members[0].failures, ["drain: it overran its deadline"]);
    assert_eq!(report.members[1].ending, Ending::Drained);
    assert!(report.is_clean());
}

#[test]
fn one_that_hangs_even_when_forced_is_left_behind_by_name() {
    let book = Book::default();
    let hangs = Fake::new("hangs", &book).drain(Does::Hangs).force(Does::Hangs);
    let supervisor = Supervisor::builder()
        .grace(Duration::from_millis(20))
        .deadline(Duration::from_millis(20))
        .member("first", Fake::new("first", &book))
        .member("hangs", hangs)
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert_eq!(report.members[0].ending, Ending::Stuck);
    assert_eq!(report.members[1].ending, Ending::Drained);
    let left: Vec<_> = report.left_behind().map(|(name, _)| name).collect();
    assert_eq!(left, ["hangs"]);
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn a_panic_ends_where_it_happened() {
    let book = Book::default();
    let twice = Fake::new("twice", &book).drain(Does::Panics).force(Does::Panics);
    let supervisor = Supervisor::builder()
        .member("first", Fake::new("first", &book))
        .member("once", Fake::new("once", &book).drain(Does::Panics))
        .member("twice", twice)
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    let endings: Vec<_> = report.members.iter().map(|member| member.ending).collect();
    assert_eq!(endings, [Ending::Stuck, Ending::Forced, Ending::Drained]);
    let failure = &report.members[1].failures[0];
    assert_eq!(failure, "drain: it panicked: the drain of once is broken");
    assert_eq!(report.left_behind().count(), 1);
}

#[test]
fn all_deadlines_together_are_bounded() {
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .grace(Duration::from_millis(20))
        .total(Duration::from_millis(50))
        .deadline(GENEROUS)
        .member("third to end", Fake::new("c", &book))
        .member("second to end", Fake::new("b", &book))
        .member("first to end", Fake::new("a", &book).drain(Does::Hangs))
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    // The first one used up the time of all: the others are forced without being asked.
    let count = |lines: &[String], verb| lines.iter().filter(|l| l.starts_with(verb)).count();
    wait_until(|| book.lines(), |lines| count(lines, "force") == 3);
    assert_eq!(count(&book.lines(), "drain"), 1, "{:?}", book.lines());
    assert!(report.elapsed < GENEROUS);
    assert_ne!(report.exit_code(), 0);
}

#[test]
fn what_is_left_behind_is_in_the_report() {
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .member("tree", Fake::new("tree", &book).drain(Does::Leaves))
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert!(!report.is_clean());
    assert!(report.to_string().contains("left behind: tree: process 42 (stuck): uninterruptible"));
}

#[test]
fn one_that_is_dropped_without_a_run_drops_its_members_in_the_same_order() {
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .last("worker", Fake::new("worker", &book))
        .member("first", Fake::new("first", &book))
        .member("second", Fake::new("second", &book))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    drop(supervisor);
    assert_eq!(book.lines(), ["drop second", "drop first", "drop worker"]);
    assert!(handle.is_stopping());
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn the_form_on_tokio_ends_in_the_same_order() {
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .grace(Duration::from_secs(3))
        .member("first", Fake::new("first", &book))
        .deadline(Duration::from_millis(20))
        .member("hangs", Fake::new("hangs", &book).drain(Does::Hangs))
        .build()
        .unwrap();
    let report = supervisor.shutdown().await;
    let expected = ["drain hangs", "force hangs", "drop hangs", "drain first", "drop first"];
    assert_eq!(book.lines(), expected);
    assert!(report.is_clean());
}
