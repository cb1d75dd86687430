//! Real SIGINT and SIGTERM to a child process, with a runtime and without one: the first drains, the second
//! forces, the third ends it.

#![cfg(feature = "signals")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

mod support;

use lastout::supervisor::{Builder, Cause};
use lastout::{Report, Supervisor};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use support::{Book, Does, Fake, GENEROUS, wait_until};

/// What the child does; not set in the parent.
const CHILD: &str = "LASTOUT_TEST_CHILD";
/// In which form it runs its supervisor.
const FORM: &str = "LASTOUT_TEST_FORM";

/// The forms of a run: blocking, which needs no runtime, and on a runtime.
const FORMS: &[&str] = &[
    "blocking",
    #[cfg(feature = "tokio")]
    "tokio",
];

/// The child: one member that ends at once, hangs until it is forced, or hangs whatever is done.
#[test]
fn child() {
    let Ok(does) = std::env::var(CHILD) else {
        return;
    };
    if does == "early" {
        return;
    }
    let book = Book::default();
    let mut fake = Fake::new("it", &book);
    if does != "ends" {
        fake = fake.drain(Does::Hangs);
    }
    if does == "sticks" {
        fake = fake.force(Does::Hangs);
    }
    if does != "ends" {
        let verbs = if does == "sticks" { &["drain", "force"][..] } else { &["drain"] };
        // It lives as long as the process, which ends after the report.
        thread::spawn(move || {
            for verb in verbs {
                wait_until(|| book.lines(), |lines| lines.iter().any(|it| it.starts_with(verb)));
                say(&format!("{verb} began"));
            }
        });
    }
    let report = run_until_signal(Supervisor::builder().deadline(GENEROUS).member("it", fake));
    let Cause::Signal(name) = &report.cause else {
        panic!("it ended because {}", report.cause);
    };
    say(&format!("cause {name}"));
    say(&format!("ending {}", report.members[0].ending));
    // A drain that overran its deadline would be one: it was the signal that forced.
    say(&format!("failures {}", report.members[0].failures.len()));
    say(&format!("exit {}", report.exit_code()));
}

fn run_until_signal(builder: Builder) -> Report {
    #[cfg(feature = "tokio")]
    if std::env::var(FORM).as_deref() == Ok("tokio") {
        let running = builder.build().unwrap().run_until_signal();
        say("listening");
        return runtime().block_on(running).unwrap();
    }
    let supervisor = builder.until_signal().build().unwrap();
    say("listening");
    supervisor.run_blocking()
}

fn run(supervisor: Supervisor) -> Report {
    #[cfg(feature = "tokio")]
    if std::env::var(FORM).as_deref() == Ok("tokio") {
        return runtime().block_on(supervisor.run());
    }
    supervisor.run_blocking()
}

#[cfg(feature = "tokio")]
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The child: signals that come after the build and before the run.
#[test]
fn early_child() {
    if std::env::var(CHILD).as_deref() != Ok("early") {
        return;
    }
    let book = Book::default();
    let member = Fake::new("it", &book);
    let supervisor = Supervisor::builder().until_signal().member("it", member).build().unwrap();
    let handle = supervisor.handle();
    say("built");
    wait_until(|| handle.is_stopping(), |stopping| *stopping);
    let report = run(supervisor);
    say(&format!("{} cause {}", book.lines().join(" "), report.cause));
}

/// Past the capture of the test harness.
fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\nchild: {line}").unwrap();
    out.flush().unwrap();
}

struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(does: &str, form: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([if does == "early" { "early_child" } else { "child" }, "--exact", "--nocapture"])
            .env(CHILD, does)
            .env(FORM, form)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn expect(&mut self, expected: &str) {
        let line = self
            .lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("child: ").map(str::to_owned));
        assert_eq!(line.as_deref(), Some(expected));
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn finish(mut self) {
        self.lines.by_ref().for_each(drop);
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_of_the_two_signals_drains() {
    for form in FORMS {
        for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")] {
            let mut child = Running::start("ends", form);
            child.expect("listening");
            child.send(signal);
            child.expect(&format!("cause {name}"));
            child.expect("ending drained");
            child.expect("failures 0");
            child.expect("exit 0");
            child.finish();
        }
    }
}

#[test]
fn the_second_signal_forces_whichever_it_is() {
    for form in FORMS {
        for (second, first) in [(Signal::INT, Signal::TERM), (Signal::INT, Signal::INT)] {
            let mut child = Running::start("hangs", form);
            child.expect("listening");
            child.send(first);
            child.expect("drain began");
            child.send(second);
            let name = if first == Signal::INT { "SIGINT" } else { "SIGTERM" };
            child.expect(&format!("cause {name}"));
            child.expect("ending forced");
            child.expect("failures 0");
            child.expect("exit 3");
            child.finish();
        }
    }
}

#[test]
fn after_the_third_signal_the_report_comes_at_once() {
    for form in FORMS {
        let mut child = Running::start("sticks", form);
        child.expect("listening");
        child.send(Signal::TERM);
        child.expect("drain began");
        child.send(Signal::TERM);
        child.expect("force began");
        child.send(Signal::TERM);
        child.expect("cause SIGTERM");
        child.expect("ending stuck");
        child.finish();
    }
}

#[test]
fn a_signal_before_the_run_ends_it_and_not_the_process() {
    for form in FORMS {
        let mut child = Running::start("early", form);
        child.expect("built");
        child.send(Signal::TERM);
        child.expect("drain it drop it cause SIGTERM came");
        child.finish();
    }
}
