//! Real SIGINT and SIGTERM to a child process: the first drains, the second forces.

#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

mod support;

use lastout::Supervisor;
use lastout::supervisor::Cause;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use support::{Book, Does, Fake, GENEROUS, wait_until};

/// What the child does; not set in the parent.
const CHILD: &str = "LASTOUT_TEST_CHILD";

/// The child: one member that hangs until it is forced, or ends at once.
#[test]
fn child() {
    let Ok(does) = std::env::var(CHILD) else {
        return;
    };
    if does == "early" {
        return;
    }
    let does = if does == "hangs" { Does::Hangs } else { Does::Ends };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(async {
        let book = Book::default();
        let fake = Fake::new("it", &book).drain(does);
        let supervisor =
            Supervisor::builder().deadline(GENEROUS).member("it", fake).build().unwrap();
        let mut running = Box::pin(supervisor.run_until_signal());
        // The first poll listens; then the parent may send.
        let listening =
            std::future::poll_fn(|cx| std::task::Poll::Ready(running.as_mut().poll(cx)));
        assert!(listening.await.is_pending());
        say("listening");
        let said = async {
            loop {
                if book.lines().iter().any(|line| line.starts_with("drain")) {
                    say("draining");
                    return std::future::pending::<()>().await;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            report = running => report.unwrap(),
            () = said => unreachable!("it never ends"),
        }
    });
    let Cause::Signal(name) = &report.cause else {
        panic!("it ended because {}", report.cause);
    };
    say(&format!("cause {name}"));
    say(&format!("ending {}", report.members[0].ending));
    // A drain that overran its deadline would be one: it was the signal that forced.
    say(&format!("failures {}", report.members[0].failures.len()));
    say(&format!("exit {}", report.exit_code()));
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
    let report = supervisor.run_blocking();
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
    fn start(does: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([if does == "early" { "early_child" } else { "child" }, "--exact", "--nocapture"])
            .env(CHILD, does)
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
    for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")] {
        let mut child = Running::start("ends");
        child.expect("listening");
        child.send(signal);
        // Whether it saw the drain itself before all was over is up to the machine.
        let report = format!("cause {name}");
        let line = child.lines.by_ref().map(Result::unwrap).find(|line| line.contains("cause"));
        assert_eq!(line.unwrap(), format!("child: {report}"));
        child.expect("ending drained");
        child.expect("failures 0");
        child.expect("exit 0");
        child.finish();
    }
}

#[test]
fn the_second_signal_forces_whichever_it_is() {
    for (second, first) in [(Signal::INT, Signal::TERM), (Signal::INT, Signal::INT)] {
        let mut child = Running::start("hangs");
        child.expect("listening");
        child.send(first);
        child.expect("draining");
        child.send(second);
        let name = if first == Signal::INT { "SIGINT" } else { "SIGTERM" };
        child.expect(&format!("cause {name}"));
        child.expect("ending forced");
        child.expect("failures 0");
        child.expect("exit 3");
        child.finish();
    }
}

#[test]
fn a_signal_before_the_run_ends_it_and_not_the_process() {
    let mut child = Running::start("early");
    child.expect("built");
    child.send(Signal::TERM);
    child.expect("drain it drop it cause SIGTERM came");
    child.finish();
}
