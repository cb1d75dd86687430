//! Services are started in their order, started again by their policy, and given up by it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod support;

use lastout::supervisor::{Cause, Ending, Failure, Phase, Thread};
use lastout::{Report, Restart, Supervisor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;
use support::{Book, Fake, Fault, GENEROUS, wait_until};

fn quick(restarts: u32) -> Restart {
    Restart::on_failure()
        .backoff(Duration::from_millis(1), Duration::from_millis(2))
        .limit(restarts, GENEROUS)
}

/// Runs it on a thread of its own.
fn run(supervisor: Supervisor) -> thread::JoinHandle<Report> {
    thread::spawn(move || supervisor.run_blocking())
}

#[test]
fn services_start_one_after_the_other_and_end_in_reverse() {
    let book = Book::default();
    let service = |name: &'static str| {
        let book = book.clone();
        move || {
            book.write(format!("start {name}"));
            let fake = Fake::new(name, &book);
            async move { Ok::<_, Failure>(fake) }
        }
    };
    let supervisor = Supervisor::builder()
        .service("a", Restart::never(), service("a"))
        .member("b", Fake::new("b", &book))
        .service("c", Restart::never(), service("c"))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = run(supervisor);
    wait_until(|| book.lines(), |lines| lines.len() == 2);
    handle.stop();
    let report = running.join().unwrap();
    assert!(report.is_clean());
    let expected =
        ["start a", "start c", "drain c", "drop c", "drain b", "drop b", "drain a", "drop a"];
    assert_eq!(book.lines(), expected);
}

#[test]
fn a_later_service_waits_until_the_earlier_one_has_started() {
    let tries = Arc::new(AtomicU32::new(0));
    let book = Book::default();
    let slow = {
        let (tries, book) = (Arc::clone(&tries), book.clone());
        move || {
            let (tries, book) = (Arc::clone(&tries), book.clone());
            async move {
                match tries.fetch_add(1, Ordering::Relaxed) {
                    0 | 1 => Err("not yet".into()),
                    _ => Ok(Fake::new("slow", &book)),
                }
            }
        }
    };
    let late = {
        let (tries, book) = (Arc::clone(&tries), book.clone());
        move || {
            book.write(format!("late after {}", tries.load(Ordering::Relaxed)));
            let fake = Fake::new("late", &book);
            async move { Ok::<_, Failure>(fake) }
        }
    };
    let supervisor = Supervisor::builder()
        .service("slow", quick(5), slow)
        .service("late", quick(5), late)
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = run(supervisor);
    wait_until(|| book.lines(), |lines| !lines.is_empty());
    handle.stop();
    let report = running.join().unwrap();
    assert_eq!(book.lines()[0], "late after 3");
    assert_eq!(report.members[1].failures, ["start: not yet", "start: not yet"]);
    // It never ran before: a start that is tried again is not a restart.
    assert_eq!(report.members[1].restarts, 0);
}

#[test]
fn a_service_that_fails_is_ended_and_started_again_and_its_counts_add_up() {
    let (book, fault) = (Book::default(), Fault::default());
    let start = {
        let (book, fault) = (book.clone(), fault.clone());
        move || {
            book.write("start");
            let fake = Fake::new("it", &book).counted(7).fault(&fault);
            async move { Ok::<_, Failure>(fake) }
        }
    };
    let supervisor = Supervisor::builder().service("it", quick(5), start).build().unwrap();
    let handle = supervisor.handle();
    let running = run(supervisor);
    for round in 1..=3 {
        let started =
            |lines: &Vec<String>| lines.iter().filter(|line| *line == "start").count() == round;
        wait_until(|| book.lines(), started);
        if round < 3 {
            fault.strike();
        }
    }
    wait_until(|| handle.stats().members[0].phase, |phase| *phase == Phase::Running);
    assert_eq!(handle.stats().members[0].restarts, 2);
    assert_eq!(handle.stats().total("fake.counted"), 21);
    handle.stop();
    let report = running.join().unwrap();
    assert_eq!(report.members[0].failures, ["struck", "struck"]);
    assert_eq!(report.totals().counts["fake.counted"], 21);
    assert_eq!(report.members[0].drained.ended[0].count, 21);
    let mut expected = ["start", "force it", "drop it"].repeat(2);
    expected.extend(["start", "drain it", "drop it"]);
    assert_eq!(book.lines(), expected);
}

#[test]
fn one_that_fails_too_often_ends_everything() {
    let (book, fault) = (Book::default(), Fault::default());
    for _ in 0..3 {
        fault.strike();
    }
    let start = {
        let book = book.clone();
        move || {
            let fake = Fake::new("weak", &book).fault(&fault);
            async move { Ok::<_, Failure>(fake) }
        }
    };
    let supervisor = Supervisor::builder()
        .member("other", Fake::new("other", &book))
        .service("weak", quick(2), start)
        .build()
        .unwrap();
    let report = supervisor.run_blocking();
    assert_eq!(report.cause, Cause::Failed("weak".into()));
    assert_eq!(report.members[0].restarts, 2);
    assert_eq!(report.members[0].ending, Ending::Absent);
    assert_eq!(report.members[1].ending, Ending::Drained);
    assert!(report.is_clean());
    assert_eq!(report.exit_code(), 2);
}

#[test]
fn a_start_that_panics_is_a_failure() {
    let start = || -> std::future::Ready<Result<Fake, Failure>> { panic!("no such port") };
    let supervisor =
        Supervisor::builder().service("broken", Restart::never(), start).build().unwrap();
    let report = supervisor.run_blocking();
    assert_eq!(report.members[0].failures, ["start: it panicked: no such port"]);
    assert_eq!(report.exit_code(), 2);
}

#[test]
fn a_member_that_fails_ends_everything() {
    let (book, fault) = (Book::default(), Fault::default());
    fault.strike();
    let supervisor = Supervisor::builder()
        .member("other", Fake::new("other", &book))
        .member("it", Fake::new("it", &book).fault(&fault))
        .build()
        .unwrap();
    let report = supervisor.run_blocking();
    assert_eq!(report.cause, Cause::Failed("it".into()));
    assert_eq!(book.lines(), ["force it", "drop it", "drain other", "drop other"]);
}

#[test]
fn a_stop_does_not_wait_for_a_start_or_a_pause() {
    let starts = std::future::pending::<Result<Fake, Failure>>;
    let fails = || std::future::ready(Err::<Fake, Failure>("no".into()));
    let pause = Restart::on_failure().backoff(GENEROUS * 60, GENEROUS * 60);
    for supervisor in [
        Supervisor::builder().service("starts", Restart::never(), starts).build().unwrap(),
        Supervisor::builder().service("pauses", pause, fails).build().unwrap(),
    ] {
        let handle = supervisor.handle();
        let running = run(supervisor);
        let waits = |phase: &Phase| matches!(phase, Phase::Starting | Phase::BackingOff);
        wait_until(|| handle.stats().members[0].phase, waits);
        handle.stop();
        assert!(running.join().unwrap().is_clean());
    }
}

/// Runs one service of this policy whose body gives this, beside a member that runs.
fn ends(policy: Restart, body: fn() -> Result<(), Failure>) -> Report {
    let book = Book::default();
    let start = move || async move { Ok(Thread::spawn("it", move |_| body())?) };
    let supervisor = Supervisor::builder()
        .last("other", Fake::new("other", &book))
        .service("it", policy, start)
        .build()
        .unwrap();
    supervisor.run_blocking()
}

#[test]
fn one_that_ends_without_a_failure_is_done_and_all_done_is_the_end() {
    for policy in [quick(2), Restart::once(), Restart::never()] {
        let report = ends(policy, || Ok(()));
        assert_eq!(report.cause, Cause::Done);
        assert_eq!((report.members[0].restarts, report.exit_code()), (0, 0));
        assert!(report.members[0].failures.is_empty());
        assert_eq!(report.members[1].ending, Ending::Drained);
    }
}

#[test]
fn one_that_runs_always_is_started_again_also_after_an_end() {
    let always = Restart::always().backoff(Duration::from_millis(1), Duration::from_millis(2));
    let report = ends(always.limit(3, GENEROUS), || Ok(()));
    assert_eq!(report.cause, Cause::Failed("it".into()));
    assert_eq!(report.members[0].restarts, 3);
}

#[test]
fn one_that_runs_once_fails_alone_and_the_report_says_so() {
    let report = ends(Restart::once(), || Err("no".into()));
    assert_eq!(report.cause, Cause::Done);
    assert!(report.members[0].failed_for_good);
    assert_eq!((report.members[0].failures.len(), report.exit_code()), (1, 2));
}
