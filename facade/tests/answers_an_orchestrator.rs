//! Started, ready, live; a reload that harms nobody; a pause before the end.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod support;

use lastout::supervisor::{DrainFuture, Drained, EndedFuture, Failure, Phase, Until};
use lastout::{Drain, Restart, Supervisor};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;
use support::{Book, Fake, GENEROUS, wait_until};

/// What its answers are.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    Yes,
    No,
    Panics,
    Hangs,
    Blocks,
}

struct Speaker {
    name: &'static str,
    book: Book,
    says: Says,
}

impl Drain for Speaker {
    fn drain(&self, _until: Until) -> DrainFuture<'_> {
        Box::pin(async { Drained::new() })
    }

    fn is_live(&self) -> bool {
        match self.says {
            Says::Panics => panic!("no life"),
            says => says != Says::No,
        }
    }

    fn reload(&self) -> EndedFuture<'_> {
        self.book.write(format!("reload {}", self.name));
        Box::pin(async {
            match self.says {
                Says::Yes => Ok(()),
                Says::No => Err("no such file".into()),
                Says::Panics => panic!("broken"),
                Says::Hangs => pending().await,
                Says::Blocks => {
                    self.book.wait_until_open();
                    Ok(())
                }
            }
        })
    }
}

fn speaker(name: &'static str, book: &Book, says: Says) -> Speaker {
    Speaker { name, book: book.clone(), says }
}

#[test]
fn it_has_started_when_every_service_has_and_is_ready_until_the_stop() {
    let (book, gate) = (Book::default(), Book::default());
    let slow = {
        let (book, gate) = (book.clone(), gate.clone());
        move || {
            gate.wait_until_open();
            let fake = Fake::new("slow", &book);
            async move { Ok::<_, Failure>(fake) }
        }
    };
    let supervisor = Supervisor::builder()
        .member("a", Fake::new("a", &book))
        .service("slow", Restart::on_failure(), slow)
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    wait_until(|| handle.stats().members[1].phase, |phase| *phase == Phase::Starting);
    let health = handle.health();
    assert!(!health.started && !health.ready && health.live);
    gate.open();
    wait_until(|| handle.health(), |health| health.started && health.ready && health.live);
    handle.stop();
    assert!(!handle.health().ready);
    assert!(running.join().unwrap().is_clean());
    let health = handle.health();
    assert!(health.started && !health.ready && health.live);
}

#[test]
fn one_member_without_life_is_the_answer_for_all() {
    let book = Book::default();
    for (says, live) in [(Says::Yes, true), (Says::No, false), (Says::Panics, false)] {
        let supervisor = Supervisor::builder()
            .member("a", Fake::new("a", &book))
            .member("b", speaker("b", &book, says))
            .build()
            .unwrap();
        assert_eq!(supervisor.handle().health().live, live);
        assert!(supervisor.shutdown_blocking().is_clean());
    }
}

#[test]
fn a_reload_asks_all_in_order_and_a_bad_one_is_noted_and_runs_on() {
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .deadline(GENEROUS)
        .member("no", speaker("no", &book, Says::No))
        .member("panics", speaker("panics", &book, Says::Panics))
        .deadline(Duration::from_millis(50))
        .member("hangs", speaker("hangs", &book, Says::Hangs))
        .member("blocks", speaker("blocks", &book, Says::Blocks))
        .deadline(GENEROUS)
        .member("yes", speaker("yes", &book, Says::Yes))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    handle.reload();
    let running = thread::spawn(move || supervisor.run_blocking());
    wait_until(|| book.lines(), |lines| lines.len() == 5);
    assert!(handle.stats().members.iter().all(|member| member.phase == Phase::Running));
    book.open();
    handle.stop();
    let report = running.join().unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.exit_code(), 0);
    let names = ["no", "panics", "hangs", "blocks", "yes"];
    assert_eq!(book.lines(), names.map(|name| format!("reload {name}")));
    let failures: Vec<_> =
        report.members.iter().rev().map(|member| member.failures.join(", ")).collect();
    let late = "reload: deadline of 50ms passed";
    let expected = ["reload: no such file", "reload: it panicked: broken", late, late, ""];
    assert_eq!(failures, expected);
}

#[test]
fn reloads_that_come_during_one_are_one_more() {
    let (book, count) = (Book::default(), Arc::new(AtomicU8::new(0)));
    struct Counts(Book, Arc<AtomicU8>);
    impl Drain for Counts {
        fn drain(&self, _until: Until) -> DrainFuture<'_> {
            Box::pin(async { Drained::new() })
        }
        fn reload(&self) -> EndedFuture<'_> {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.wait_until_open();
            Box::pin(async { Ok(()) })
        }
    }
    let supervisor = Supervisor::builder()
        .deadline(GENEROUS)
        .member("a", Counts(book.clone(), Arc::clone(&count)))
        .member("b", speaker("b", &book, Says::Yes))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    handle.reload();
    wait_until(|| count.load(Ordering::SeqCst), |count| *count == 1);
    (0..10).for_each(|_| handle.reload());
    book.open();
    wait_until(|| book.lines().len(), |lines| *lines == 2);
    handle.stop();
    assert!(running.join().unwrap().is_clean());
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn nothing_is_ended_during_the_lame_duck_time_and_force_cuts_it_short() {
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .lame_duck(GENEROUS * 60)
        .member("a", Fake::new("a", &book))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    wait_until(|| handle.health().ready, |ready| *ready);
    handle.stop();
    assert!(!handle.health().ready);
    assert_eq!(handle.stats().members[0].phase, Phase::Running);
    assert!(book.lines().is_empty());
    handle.force();
    assert!(running.join().unwrap().is_clean());
    assert_eq!(book.lines(), ["force a", "drop a"]);
}

#[test]
fn the_lame_duck_time_is_part_of_the_total() {
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .lame_duck(Duration::MAX)
        .total(Duration::from_millis(100))
        .member("a", Fake::new("a", &book))
        .build()
        .unwrap();
    supervisor.handle().stop();
    let report = supervisor.run_blocking();
    assert!(report.elapsed >= Duration::from_millis(75), "{report}");
    assert_eq!(book.lines(), ["force a", "drop a"]);
}
