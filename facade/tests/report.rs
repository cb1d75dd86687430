//! The report: a table for people, numbers for programs, an exit code for init systems.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use lastout::supervisor::{BuildReason, Counters, DrainFuture, Drained, Until};
use lastout::{Drain, Report, Supervisor};
use support::{Book, Fake};

/// A member whose numbers do not add up.
struct Leaky;

impl Drain for Leaky {
    fn drain(&self, _until: Until) -> DrainFuture<'_> {
        Box::pin(async { Drained::new().ended("jobs", 2).forced("browsers", 1) })
    }

    fn stats(&self) -> Counters {
        Counters::new().count("leaky.jobs", 3).sum("accepted = ended", 3, 2)
    }
}

fn report() -> Report {
    let book = Book::default();
    Supervisor::builder()
        .member("fine", Fake::new("fine", &book).counted(5))
        .member("leaky", Leaky)
        .build()
        .unwrap()
        .shutdown_blocking()
}

#[test]
fn a_sum_that_is_off_is_not_clean() {
    let report = report();
    assert!(report.left_behind().next().is_none());
    let off: Vec<_> = report.sums_off().map(|(name, sum)| (name, sum.left, sum.right)).collect();
    assert_eq!(off, [("leaky", 3, 2)]);
    assert!(!report.is_clean());
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn the_table_has_a_line_for_each_member() {
    let text = report().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("member  end      ended     forced      left behind  time"));
    assert!(lines[1].starts_with("leaky   forced   2 jobs    1 browsers  -            "));
    assert!(lines[2].starts_with("fine    drained  5 things  -           -            "));
    assert_eq!(lines[3], "sum off: leaky: accepted = ended: 3 ≠ 2");
    assert_eq!(lines[4], "left behind: nothing");
    assert!(lines[5].ends_with("the program asked for it"));
    assert_eq!(lines.len(), 6);
}

/// Ends with these words.
struct Says(Drained);

impl Drain for Says {
    fn drain(&self, _until: Until) -> DrainFuture<'_> {
        Box::pin(async { self.0.clone() })
    }
}

#[test]
fn no_text_of_a_member_adds_a_line() {
    let leaves = |name: &str| {
        let hostile = "x\nleft behind: nothing\u{1b}[2J";
        let left = Drained::new().left(hostile, hostile).ended(hostile, 1);
        Supervisor::builder().member(name, Says(left)).build().unwrap().shutdown_blocking()
    };
    let (one, other) = (leaves("it").to_string(), leaves("it\nleft behind: nothing").to_string());
    assert_eq!(one.lines().count(), other.lines().count());
    for text in [one, other] {
        assert!(!text.lines().any(|line| line == "left behind: nothing"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn what_is_written_is_read_back() {
    let report = report();
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["members"][1]["counters"]["counts"]["fake.counted"], 5);
}

#[test]
fn the_stats_of_the_supervisor_are_the_sum_of_its_parts() {
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .member("a", Fake::new("a", &book).counted(5))
        .member("b", Fake::new("b", &book).counted(6))
        .last("c", Fake::new("c", &book).counted(7))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    assert_eq!(supervisor.stats().total("fake.counted"), 18);
    let sums = supervisor.stats().totals().sums;
    assert_eq!((sums.len(), sums[0].left, sums[0].right), (1, 18, 18));
    let report = supervisor.shutdown_blocking();
    assert_eq!(report.totals().counts["fake.counted"], 18);
    assert_eq!(handle.stats().total("fake.counted"), 18, "the last counts stay");
}

#[test]
fn a_name_is_needed_and_used_once_and_the_members_come_back() {
    let book = Book::default();
    let builder = Supervisor::builder().member("it", Fake::new("a", &book));
    let error = builder.member("it", Fake::new("b", &book)).build().unwrap_err();
    assert_eq!(*error.reason(), BuildReason::SameName("it".into()));
    assert!(book.lines().is_empty(), "nothing was dropped");
    drop(error.into_builder());
    assert_eq!(book.lines().len(), 2);
    let error = Supervisor::builder().member("", Fake::new("a", &book)).build().unwrap_err();
    assert_eq!(*error.reason(), BuildReason::EmptyName);
}
