//! A process dies with its caller at every level, and hears Ctrl-C as in a shell, unless it is told not to.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(all(feature = "process", feature = "tokio"))]

#[path = "support/callers.rs"]
mod callers;

use callers::{Caller, LONG, OnTerminal, await_gone, called, levels, park, tell};
use lastout_output_stream::tree::{self, Containment, ProcId, Tree};
use lastout_output_stream::{Inlet, Keep, Process, ProcessBuilder};
use lastout_proc_tree::audit::Audit;

/// A root and two descendants, one of which leaves the session.
const FAMILY: &str = "setsid sleep 600 & sleep 600 & echo up; wait";

#[test]
fn fixture() {
    let Some(order) = called() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let (what, level) = order.split_once(':').unwrap_or((&order, ""));
    runtime.block_on(async {
        match what {
            "plain" => be_killed(at(Process::shell(FAMILY), level), true).await,
            "outlived" => be_outlived(level).await,
            "interrupted" => be_interrupted(Process::shell(HEARS)).await,
            "apart" => be_apart().await,
            "asks" => be_asked().await,
            other => panic!("no caller {other}"),
        }
    });
}

fn at(builder: ProcessBuilder, level: &str) -> ProcessBuilder {
    match level {
        "" => builder,
        level => builder.contain(Containment::demand(callers::level(level))),
    }
}

async fn members(process: &Process) -> Vec<ProcId> {
    process.wait_for(LONG, |line| line.bytes == b"up").await.unwrap();
    process.tree().members().unwrap()
}

fn named(word: &str, ids: &[ProcId]) -> String {
    let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    format!("{word} {}\nend", ids.join(" "))
}

async fn be_killed(builder: ProcessBuilder, dies: bool) {
    let process = builder.spawn().unwrap();
    assert_eq!(process.tree().guarantee().dies_with_parent(), dies);
    tell(&named("members", &members(&process).await));
    park();
}

async fn be_outlived(level: &str) {
    // The pipe of its caller ends with the caller: a process that outlives it does not write.
    let quiet = "sleep 600 & exec sleep 600";
    let outliving = at(Process::shell(quiet), level).outlive_caller().spawn().unwrap();
    let dying = at(Process::shell(FAMILY), level).spawn().unwrap();
    let root = outliving.tree().root().unwrap();
    assert!(!outliving.tree().guarantee().dies_with_parent());
    tell(&named("outliving", &[root]));
    tell(&named("dying", &members(&dying).await));
    park();
}

#[test]
fn a_killed_caller_takes_its_process_along_at_every_level() {
    let audit = Audit::begin_in([]);
    let named = levels().iter().map(ToString::to_string).collect::<Vec<_>>();
    for level in named.iter().map(String::as_str).chain([""]) {
        let mut caller = Caller::start(&format!("plain:{level}"));
        let members = caller.hear_processes("members");
        assert_eq!(members.len(), 3, "{level}");
        caller.kill();
        await_gone(&members);
    }
    audit.assert_clean(LONG);
}

#[test]
fn a_process_outlives_its_caller_where_that_is_asked_for() {
    let audit = Audit::begin_in([]);
    let named = levels().iter().map(ToString::to_string).collect::<Vec<_>>();
    for level in named.iter().map(String::as_str).chain([""]) {
        let mut caller = Caller::start(&format!("outlived:{level}"));
        let outliving = caller.hear_processes("outliving");
        let dying = caller.hear_processes("dying");
        caller.kill();
        await_gone(&dying);
        assert!(outliving[0].is_running(), "{level}");
        let tree = Tree::adopt(outliving[0].pid()).unwrap();
        assert!(tree.kill_blocking(LONG).unwrap().is_clean());
    }
    audit.assert_clean(LONG);
}

/// A shell that says that it was interrupted. It waits for a child, which the terminal interrupts, too.
const HEARS: &str = "trap 'echo heard; exit 7' INT; echo up; while :; do sleep 600; done";

async fn be_interrupted(builder: ProcessBuilder) {
    let mut process = builder.spawn().unwrap();
    let mut interrupts =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).unwrap();
    members(&process).await;
    tell("ready");
    interrupts.recv().await;
    tell("the caller heard it");
    let heard = process.wait_for(LONG, |line| line.bytes == b"heard").await;
    let exit = process.wait().await.unwrap();
    tell(&format!("heard {}, code {:?}.", heard.is_ok(), exit.code()));
}

/// The process in a group of its own has not heard the interrupt that its caller has heard.
async fn be_apart() {
    let process = Process::shell(HEARS).own_group().spawn().unwrap();
    let mut interrupts =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).unwrap();
    members(&process).await;
    tell("ready");
    interrupts.recv().await;
    // SIGTERM would not come first if an interrupt were pending.
    let report =
        process.terminate(&tree::EndPolicy::new().ask_all(tree::Signal::TERM, LONG)).await.unwrap();
    let seen = process.stdout().collect(Keep::all()).unwrap().wait().await;
    tell(&format!("clean {}, saw {:?}.", report.is_clean(), seen.text()));
}

#[test]
fn ctrl_c_does_not_reach_a_process_in_a_group_of_its_own() {
    let mut terminal = OnTerminal::start("apart");
    terminal.see("ready");
    terminal.press(b"\x03");
    terminal.see("clean true, saw \"up\\n\".");
}

#[test]
fn ctrl_c_on_the_terminal_reaches_caller_and_process() {
    let mut terminal = OnTerminal::start("interrupted");
    terminal.see("ready");
    terminal.press(b"\x03");
    terminal.see("the caller heard it");
    terminal.see("heard true, code Some(7).");
}

#[test]
fn ctrl_c_ends_a_caller_that_does_not_listen_and_its_process() {
    let mut terminal = OnTerminal::start("plain");
    let members = terminal.hear_processes("members");
    let caller = terminal.root();
    assert_eq!(members.len(), 3);
    terminal.press(b"\x03");
    await_gone(&[caller]);
    await_gone(&members);
}

async fn be_asked() {
    let script = "read line; echo got $line";
    let refused = Process::shell(script).stdin(Inlet::Inherit).own_group().spawn();
    tell(&format!("apart: {}.", refused.map(drop).unwrap_err()));
    tell("ready");
    let output = Process::shell(script).stdin(Inlet::Inherit).output().await.unwrap();
    tell(&format!("output {}", output.stdout.text()));
}

#[test]
fn a_process_reads_from_the_terminal_of_its_caller() {
    let mut terminal = OnTerminal::start("asks");
    terminal.see("a background process that reads from the terminal is stopped");
    terminal.see("ready");
    terminal.press(b"hello\n");
    terminal.see("output got hello");
}
