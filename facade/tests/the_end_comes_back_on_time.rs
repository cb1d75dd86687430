//! Whatever a member does in its start, its end or its destructor: the report comes, on time, with the truth.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod support;

use lastout::supervisor::{DrainFuture, Drained, EndedFuture, Ending, Failure, Phase, Until};
use lastout::{Drain, Restart, Supervisor};
use std::pin::Pin;
use std::thread;
use std::time::Duration;
use support::{Book, Does, Fake, Fault, GENEROUS, wait_until};

const SHORT: Duration = Duration::from_millis(20);

type Started = Pin<Box<dyn Future<Output = Result<Fake, Failure>> + Send>>;

/// Everything that blocks goes on at the end of a test.
struct Opens(Book);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Members that are stuck have little time, and the others enough.
fn quick() -> lastout::supervisor::Builder {
    Supervisor::builder().grace(Duration::from_secs(2)).deadline(GENEROUS)
}

#[test]
fn a_drain_that_blocks_its_thread_is_forced_and_holds_up_nobody() {
    let book = Book::default();
    let _opens = Opens(book.clone());
    let supervisor = quick()
        .member("first", Fake::new("first", &book))
        .deadline(SHORT)
        .member("blocks", Fake::new("blocks", &book).drain(Does::Blocks))
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert_eq!(report.members[0].ending, Ending::Stuck, "its drain has not returned");
    assert!(
        report.left_behind().any(|(name, left)| name == "blocks" && left.reason.contains("drain"))
    );
    assert_eq!(report.members[1].ending, Ending::Drained);
    wait_until(|| book.lines(), |lines| lines.contains(&"force blocks".to_owned()));
    assert_eq!(report.exit_code(), 1);
}

/// Its destructor blocks until the book is opened.
struct Heavy(Book);

impl Drain for Heavy {
    fn drain(&self, _until: Until) -> DrainFuture<'_> {
        Box::pin(async { Drained::new().ended("things", 1) })
    }
}

impl Drop for Heavy {
    fn drop(&mut self) {
        self.0.wait_until_open();
    }
}

#[test]
fn a_destructor_that_blocks_is_named_and_what_was_drained_counts() {
    let book = Book::default();
    let _opens = Opens(book.clone());
    let supervisor = quick()
        .member("first", Fake::new("first", &book))
        .deadline(SHORT)
        .member("heavy", Heavy(book.clone()))
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert_eq!(report.members[0].ending, Ending::Stuck);
    assert_eq!(report.members[0].drained.ended[0].count, 1);
    let left: Vec<_> = report.left_behind().map(|(name, left)| format!("{name}: {left}")).collect();
    assert_eq!(left, ["heavy: heavy: its destructor does not return"]);
    assert_eq!(report.members[1].ending, Ending::Drained);
}

/// A payload whose destructor panics, with such a payload.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            std::panic::panic_any(Self(self.0 - 1));
        }
    }
}

/// Panics with a bomb wherever it can.
struct Explosive;

impl Drain for Explosive {
    fn drain(&self, _until: Until) -> DrainFuture<'_> {
        Box::pin(async { std::panic::panic_any(Bomb(2)) })
    }

    fn force(&self, _until: Until) -> DrainFuture<'_> {
        std::panic::panic_any(Bomb(2))
    }

    fn stats(&self) -> lastout::supervisor::Counters {
        std::panic::panic_any(Bomb(2))
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        std::panic::panic_any(Bomb(2));
    }
}

#[test]
fn a_payload_that_panics_in_its_destructor_keeps_nobody_from_being_drained() {
    let book = Book::default();
    let supervisor = quick()
        .member("first", Fake::new("first", &book))
        .member("explosive", Explosive)
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let _ = handle.stats();
    let report = supervisor.shutdown_blocking();
    assert_eq!(report.members[0].ending, Ending::Stuck);
    assert_eq!(report.members[1].ending, Ending::Drained);
}

#[test]
fn the_bound_on_the_whole_end_holds_with_many_that_are_stuck() {
    let book = Book::default();
    let _opens = Opens(book.clone());
    let total = Duration::from_millis(500);
    let mut builder = Supervisor::builder().total(total);
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        let stuck = Fake::new(name, &book).drain(Does::Blocks).force(Does::Blocks);
        builder = builder.member(name, stuck);
    }
    let report = builder.build().unwrap().shutdown_blocking();
    assert_eq!(
        report.left_behind().map(|(name, _)| name).collect::<std::collections::BTreeSet<_>>().len(),
        10
    );
    assert!(report.members.iter().all(|member| member.ending == Ending::Stuck));
    // The report came when the time was over, and not after ten deadlines of 10 s.
    assert!(report.elapsed >= total && report.elapsed < GENEROUS, "{:?}", report.elapsed);
    let forced = |lines: &Vec<String>| lines.iter().filter(|l| l.starts_with("force")).count();
    wait_until(|| book.lines(), |lines| forced(lines) == 10);
}

#[test]
fn after_the_third_signal_nothing_is_waited_for() {
    let book = Book::default();
    let _opens = Opens(book.clone());
    let supervisor = Supervisor::builder()
        .deadline(GENEROUS)
        .grace(GENEROUS)
        .member("first", Fake::new("first", &book).drain(Does::Blocks).force(Does::Blocks))
        .member("second", Fake::new("second", &book).drain(Does::Blocks).force(Does::Blocks))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    let wrote = |line: &str| wait_until(|| book.lines(), |lines| lines.iter().any(|l| l == line));
    handle.stop_or_force();
    wrote("drain second");
    handle.stop_or_force();
    handle.stop_or_force();
    let report = running.join().unwrap();
    assert_eq!(report.members.iter().filter(|m| m.ending == Ending::Stuck).count(), 2);
    assert!(report.elapsed < GENEROUS);
}

#[test]
fn a_start_that_takes_too_long_is_a_failure_and_dropped() {
    let supervisor = Supervisor::builder()
        .start_within(SHORT)
        .service("slow", Restart::never(), std::future::pending::<Result<Fake, Failure>>)
        .build()
        .unwrap();
    let report = supervisor.run_blocking();
    assert_eq!(report.members[0].failures, ["start: deadline of 20ms passed"]);
    assert_eq!(report.exit_code(), 2);
}

#[test]
fn a_start_that_blocks_its_thread_is_named() {
    let book = Book::default();
    let _opens = Opens(book.clone());
    let blocks = {
        move || {
            let book = book.clone();
            async move {
                book.wait_until_open();
                Ok::<_, Failure>(Fake::new("late", &book))
            }
        }
    };
    let supervisor = quick().service("blocks", Restart::never(), blocks).build().unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    wait_until(|| handle.stats().members[0].phase, |phase| *phase == Phase::Starting);
    handle.stop();
    let report = running.join().unwrap();
    assert_eq!(report.members[0].ending, Ending::Stuck);
    assert!(report.to_string().contains("its start does not return"), "{report}");
}

/// The first start blocks its thread until the book is open, and brings an instance all the same.
fn slow_at_first(book: &Book) -> impl Fn() -> Started + use<> {
    let book = book.clone();
    move || {
        let is_first = !book.lines().contains(&"start slow".to_owned());
        book.write(if is_first { "start slow" } else { "start next" });
        let book = book.clone();
        Box::pin(async move {
            if is_first {
                book.wait_until_open();
            }
            Ok(Fake::new(if is_first { "slow" } else { "next" }, &book))
        })
    }
}

#[test]
fn a_start_that_was_given_up_runs_beside_no_other_and_what_it_brings_is_ended() {
    let book = Book::default();
    let _opens = Opens(book.clone());
    let policy = Restart::on_failure().backoff(Duration::from_millis(1), SHORT).unlimited();
    let supervisor =
        quick().start_within(SHORT).service("it", policy, slow_at_first(&book)).build().unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    // Until it has been given up, and the next start has waited for it in vain.
    for phase in [Phase::BackingOff, Phase::Starting, Phase::BackingOff] {
        wait_until(|| handle.stats().members[0].phase, |now| *now == phase);
    }
    assert_eq!(book.lines(), ["start slow"]);
    book.open();
    wait_until(|| handle.stats().members[0].phase, |phase| *phase == Phase::Running);
    assert_eq!(book.lines(), ["start slow", "force slow", "drop slow", "start next"]);
    handle.stop();
    let report = running.join().unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.members[0].restarts, 0, "what came late never ran");
}

#[test]
fn what_a_start_brings_after_the_report_is_ended_as_well() {
    let book = Book::default();
    let _opens = Opens(book.clone());
    let supervisor = quick()
        .grace(SHORT)
        .start_within(SHORT)
        .service("it", Restart::never(), slow_at_first(&book))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let report = supervisor.run_blocking();
    assert!(report.to_string().contains("its start does not return"), "{report}");
    assert_eq!(report.exit_code(), 1);
    book.open();
    wait_until(|| book.lines(), |lines| lines.contains(&"drop slow".to_owned()));
    assert_eq!(book.lines(), ["start slow", "force slow", "drop slow"]);
    drop(handle);
}

#[test]
fn nothing_waits_for_a_start_after_the_third_signal() {
    let book = Book::default();
    let _opens = Opens(book.clone());
    let supervisor = quick()
        .grace(3 * GENEROUS)
        .service("it", Restart::never(), slow_at_first(&book))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    wait_until(|| handle.stats().members[0].phase, |phase| *phase == Phase::Starting);
    handle.abandon();
    let report = running.join().unwrap();
    assert!(report.elapsed < GENEROUS, "{report}");
    assert_eq!(report.members[0].ending, Ending::Stuck);
}

#[test]
fn one_that_fails_is_noticed_while_another_starts() {
    let (book, fault) = (Book::default(), Fault::default());
    let supervisor = Supervisor::builder()
        .service("starts", Restart::never(), std::future::pending::<Result<Fake, Failure>>)
        .member("it", Fake::new("it", &book).fault(&fault))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    wait_until(|| handle.stats().members[0].phase, |phase| *phase == Phase::Starting);
    fault.strike();
    let report = running.join().unwrap();
    assert_eq!(report.cause, lastout::supervisor::Cause::Failed("it".into()));
}

/// Its destructor blocks until the book is open, or panics.
struct Cargo {
    book: Book,
    panics: bool,
}

impl Drop for Cargo {
    fn drop(&mut self) {
        if self.panics {
            // Without a backtrace, which would take its time.
            std::panic::resume_unwind(Box::new("the cargo explodes"));
        }
        self.book.wait_until_open();
    }
}

#[test]
fn what_a_start_holds_is_dropped_with_its_member_and_holds_up_nobody() {
    let book = Book::default();
    let _opens = Opens(book.clone());
    let service = |panics| {
        let cargo = Cargo { book: book.clone(), panics };
        move || {
            let _held = &cargo;
            let fake = Fake::new("it", &cargo.book);
            async move { Ok::<_, Failure>(fake) }
        }
    };
    let supervisor = quick()
        .grace(Duration::from_millis(500))
        .service("panics", Restart::never(), service(true))
        .service("blocks", Restart::never(), service(false))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    handle.stop();
    let report = supervisor.run_blocking();
    let left: Vec<_> = report.left_behind().map(|(name, _)| name).collect();
    assert_eq!(left, ["blocks"], "{report}");
    assert!(report.to_string().contains("the destructor of its start"), "{report}");
    drop(handle);
}

/// An error whose text panics.
#[derive(Debug)]
struct Mute;

impl std::fmt::Display for Mute {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("no text")
    }
}

impl std::error::Error for Mute {}

/// Ends by itself, with an error that cannot be shown.
struct Unspeakable;

impl Drain for Unspeakable {
    fn drain(&self, _until: Until) -> DrainFuture<'_> {
        Box::pin(async { Drained::new() })
    }

    fn ended(&self) -> EndedFuture<'_> {
        Box::pin(async { Err(Mute.into()) })
    }
}

#[test]
fn a_failure_whose_text_panics_is_a_failure() {
    let supervisor = Supervisor::builder().member("it", Unspeakable).build().unwrap();
    let report = supervisor.run_blocking();
    assert_eq!(report.members[0].failures, ["an error whose text panicked: no text"]);
}

#[test]
fn those_of_a_group_end_at_the_same_time() {
    let book = Book::default();
    let _opens = Opens(book.clone());
    let supervisor = Supervisor::builder()
        .deadline(GENEROUS)
        .member("first", Fake::new("first", &book))
        .group(|group| {
            let member = |name| Fake::new(name, &book).drain(Does::Blocks);
            group.member("a", member("a")).member("b", member("b")).member("c", member("c"))
        })
        .member("second", Fake::new("second", &book))
        .build()
        .unwrap();
    let ending = thread::spawn(move || supervisor.shutdown_blocking());
    let drains = |lines: &Vec<String>| lines.iter().filter(|l| l.starts_with("drain")).count();
    wait_until(|| book.lines(), |lines| drains(lines) == 4);
    assert_eq!(book.lines()[0], "drain second");
    book.open();
    let report = ending.join().unwrap();
    let names: Vec<_> = report.members.iter().map(|member| &*member.name).collect();
    assert_eq!((names[0], names[4]), ("second", "first"));
    assert!(report.is_clean());
}

#[cfg(feature = "tokio")]
#[test]
fn a_member_that_blocks_the_runtime_does_not_hold_up_the_supervisor() {
    use lastout::supervisor::Task;
    let book = Book::default();
    let opens = Opens(book.clone());
    let supervisor = {
        let theirs = book.clone();
        quick()
            .deadline(SHORT)
            .service("blocks", Restart::never(), move || {
                let book = theirs.clone();
                async move {
                    Ok(Task::spawn(move |_| async move {
                        book.write("blocked");
                        book.wait_until_open();
                        Ok(())
                    }))
                }
            })
            .member("first", Fake::new("first", &book))
            .build()
            .unwrap()
    };
    let handle = supervisor.handle();
    let running = thread::spawn(move || supervisor.run_blocking());
    wait_until(|| book.lines(), |lines| lines.contains(&"blocked".to_owned()));
    handle.stop();
    let report = running.join().unwrap();
    let stuck = report.members.iter().find(|member| member.name == "blocks").unwrap();
    assert_eq!(stuck.ending, Ending::Stuck);
    drop(opens);
}

#[test]
fn a_drain_that_hangs_is_forced_within_the_total_though_the_grace_is_longer() {
    let book = Book::default();
    let supervisor = Supervisor::builder()
        .total(Duration::from_secs(2))
        .grace(GENEROUS)
        .deadline(GENEROUS)
        .member("it", Fake::new("it", &book).drain(Does::Hangs))
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.members[0].ending, Ending::Forced, "{report}");
    assert_eq!(book.lines(), ["drain it", "force it", "drop it"]);
}
