//! A service that fails takes along the services that its supervisor's strategy names, and no other.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod support;

use lastout::supervisor::{Cause, Drained, Failure, Phase, Strategy};
use lastout::{Restart, Supervisor};
use std::thread;
use std::time::Duration;
use support::{Book, Does, Fake, Fault, GENEROUS, wait_until};

fn quick(restarts: u32) -> Restart {
    Restart::on_failure()
        .backoff(Duration::from_millis(1), Duration::from_millis(2))
        .limit(restarts, GENEROUS)
}

type Started = std::future::Ready<Result<Fake, Failure>>;

fn service(name: &'static str, book: &Book, fault: &Fault) -> impl Fn() -> Started + use<> {
    let (book, fault) = (book.clone(), fault.clone());
    move || {
        book.write(format!("start {name}"));
        std::future::ready(Ok(Fake::new(name, &book).fault(&fault)))
    }
}

/// Strikes the middle one of three services, between a member and one that is started once; what happened
/// until all ran again.
fn struck(strategy: Strategy) -> Vec<String> {
    let (book, fault, none) = (Book::default(), Fault::default(), Fault::default());
    let supervisor = Supervisor::builder()
        .strategy(strategy)
        .member("member", Fake::new("member", &book))
        .service("a", quick(5), service("a", &book, &none))
        .service("b", quick(5), service("b", &book, &fault))
        .service("c", quick(5), service("c", &book, &none))
        .service("once", Restart::once(), service("once", &book, &none))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    let all_run = |restarts: u32| {
        let seen = || handle.stats().members;
        wait_until(seen, |members| {
            members.iter().all(|member| member.phase == Phase::Running)
                && members[2].restarts == restarts
        });
    };
    all_run(0);
    let before = book.lines().len();
    fault.strike();
    all_run(1);
    let lines = book.lines()[before..].to_vec();
    handle.stop();
    let report = running.join().unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.exit_code(), 0, "{report}");
    let failed = report.members.iter().filter(|member| !member.failures.is_empty());
    assert_eq!(failed.map(|member| &*member.name).collect::<Vec<_>>(), ["b"]);
    lines
}

#[test]
fn one_for_one_starts_again_the_one_that_failed() {
    assert_eq!(struck(Strategy::OneForOne), ["force b", "drop b", "start b"]);
}

#[test]
fn rest_for_one_starts_again_the_later_ones_too() {
    let expected = ["force b", "drop b", "drain c", "drop c", "start b", "start c"];
    assert_eq!(struck(Strategy::RestForOne), expected);
}

#[test]
fn one_for_all_ends_all_in_reverse_and_starts_all_in_order() {
    let expected = [
        "force b", "drop b", "drain c", "drop c", "drain a", "drop a", "start a", "start b",
        "start c",
    ];
    assert_eq!(struck(Strategy::OneForAll), expected);
}

#[test]
fn many_failures_at_once_start_all_again_and_lose_none() {
    for strategy in [Strategy::RestForOne, Strategy::OneForAll] {
        let (book, faults) = (Book::default(), [(); 4].map(|()| Fault::default()));
        let mut builder = Supervisor::builder().strategy(strategy);
        for (name, fault) in ["a", "b", "c", "d"].into_iter().zip(&faults) {
            let policy = quick(1_000).unlimited();
            builder = builder.service(name, policy, service(name, &book, fault));
        }
        let supervisor = builder.build().unwrap();
        let handle = supervisor.handle();
        let running = thread::spawn(move || supervisor.run_blocking());
        for _ in 0..20 {
            faults.iter().rev().for_each(Fault::strike);
        }
        let struck = || faults.iter().map(Fault::left).sum::<u32>();
        wait_until(struck, |left| *left == 0);
        wait_until(
            || handle.stats().members,
            |members| members.iter().all(|member| member.phase == Phase::Running),
        );
        handle.stop();
        let report = running.join().unwrap();
        assert!(report.is_clean(), "{report}");
        let lines = book.lines();
        let count = |verb: &str| lines.iter().filter(|line| line.starts_with(verb)).count();
        assert_eq!(count("start"), count("drop"), "{lines:?}");
        assert_eq!(report.cause, Cause::Asked);
    }
}

#[test]
fn a_start_under_way_is_cancelled_when_another_one_takes_it_along() {
    let (book, fault) = (Book::default(), Fault::default());
    let slow = {
        let book = book.clone();
        move || {
            let first = !book.lines().contains(&"start slow".to_owned());
            book.write("start slow");
            let fake = Fake::new("slow", &book);
            async move {
                if first {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Failure>(fake)
            }
        }
    };
    let supervisor = Supervisor::builder()
        .strategy(Strategy::RestForOne)
        .service("a", quick(5), service("a", &book, &fault))
        .service("slow", quick(5), slow)
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    wait_until(|| book.lines(), |lines| lines.contains(&"start slow".to_owned()));
    fault.strike();
    wait_until(|| handle.stats().members[1].phase, |phase| *phase == Phase::Running);
    handle.stop();
    let report = running.join().unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(report.members[0].failures.is_empty(), "{report}");
}

#[test]
fn one_that_is_taken_along_and_hangs_is_forced_at_its_deadline() {
    let (book, fault) = (Book::default(), Fault::default());
    let hangs = {
        let book = book.clone();
        move || {
            let fake = Fake::new("hangs", &book).drain(Does::Hangs);
            std::future::ready(Ok::<_, Failure>(fake))
        }
    };
    let supervisor = Supervisor::builder()
        .strategy(Strategy::OneForAll)
        .grace(Duration::from_millis(20))
        .deadline(Duration::from_millis(20))
        .service("hangs", quick(5), hangs)
        .service("b", quick(5), service("b", &book, &fault))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    wait_until(|| handle.stats().members[1].phase, |phase| *phase == Phase::Running);
    fault.strike();
    let both = |members: &Vec<lastout::supervisor::MemberStats>| {
        members.iter().all(|member| member.restarts == 1 && member.phase == Phase::Running)
    };
    wait_until(|| handle.stats().members, both);
    handle.force();
    let report = running.join().unwrap();
    assert_eq!(report.left_behind().count(), 0, "{report}");
    assert_eq!(report.members[1].drained, Drained::new(), "{report}");
}

#[test]
fn one_that_gives_up_ends_everything_whatever_the_strategy() {
    for strategy in [Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll] {
        let (book, fault, none) = (Book::default(), Fault::default(), Fault::default());
        (0..3).for_each(|_| fault.strike());
        let supervisor = Supervisor::builder()
            .strategy(strategy)
            .service("a", quick(9), service("a", &book, &none))
            .service("b", quick(2), service("b", &book, &fault))
            .build()
            .unwrap();
        let report = supervisor.run_blocking();
        assert_eq!(report.cause, Cause::Failed("b".into()), "{report}");
        assert_eq!(report.exit_code(), 2);
    }
}
