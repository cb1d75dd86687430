//! The futures do what the blocking calls do, on tokio and on an executor that knows nothing of it.
#![cfg(all(target_os = "linux", feature = "tokio"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, Io, Policy, Program, Signal, SpawnError, Tree};
use std::future::Future;
use std::pin::pin;
use std::process::Stdio;
use std::task::{Context, Waker};
use std::time::Duration;
use support::{Fixture, LONG, audited, block_on, levels};
use tokio::io::{AsyncBufReadExt, BufReader};

#[test]
fn fixture() {
    support::fixture_main();
}

/// Runs a test on a runtime. Tokio keeps two descriptors for signals once one was there.
fn on_tokio(test: impl AsyncFn()) {
    drop(runtime());
    audited(|| runtime().block_on(test()));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_foreign_executor_kills_and_waits() {
    audited(|| {
        for level in levels() {
            let mut fixture = Fixture::escape();
            let (tree, _child) =
                Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
            let members = fixture.ready_in(&tree);
            let report = block_on(tree.kill(LONG)).unwrap();
            assert!(report.is_clean());
            assert!(members.iter().all(|member| !member.is_running()));
            block_on(tree.wait_empty(LONG)).unwrap();
        }
    });
}

/// Panics at its first wake, and tells when that was.
struct Bomb(std::sync::mpsc::Sender<()>);

impl std::task::Wake for Bomb {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.send(()).unwrap();
        panic!("a waker of the test");
    }
}

#[test]
fn a_waker_that_panics_stops_no_other_wait() {
    audited(|| {
        let spawn = || {
            let mut sleeper = Program::new("sleep");
            Tree::spawn(sleeper.arg("600"), Containment::demand(lastout_proc_tree::Level::Evidence))
                .unwrap()
        };
        let ((harmed, _first), (waited, _second)) = (spawn(), spawn());
        let (told, woken) = std::sync::mpsc::channel();
        let waker = Waker::from(std::sync::Arc::new(Bomb(told)));
        let mut wait = Box::pin(harmed.wait_empty(LONG));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        harmed.kill_blocking(LONG).unwrap();
        woken.recv_timeout(LONG).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| block_on(waited.wait_empty(LONG)).unwrap());
            waited.kill_blocking(LONG).unwrap();
        });
        drop(wait);
    });
}

#[test]
fn a_tokio_command_has_tokio_pipes_and_a_status() {
    on_tokio(async || {
        for level in levels() {
            let mut command = tokio::process::Command::new("sh");
            command.args(["-c", "sleep 600 & echo up; read line; exit 5"]);
            command.stdout(Stdio::piped()).stdin(Stdio::piped());
            let (tree, mut child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
            let mut line = String::new();
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            stdout.read_line(&mut line).await.unwrap();
            assert_eq!(line, "up\n");
            // Waiting closes stdin, so the shell reads its end.
            assert_eq!(child.wait().await.unwrap().code(), Some(5), "{level}");
            let policy = Policy::new().ask_all(Signal::TERM, LONG);
            let report = tree.terminate(&policy).await.unwrap();
            assert!(!report.forced, "{level}: {report}");
        }
    });
}

#[test]
fn a_kill_that_is_dropped_leaves_nobody_stopped_and_the_tree_armed() {
    audited(|| {
        for polls in 0..4 {
            let mut fixture = Fixture::escape();
            let containment = Containment::demand(lastout_proc_tree::Level::Evidence);
            let (tree, _child) = Tree::spawn(fixture.command(), containment).unwrap();
            let members = fixture.ready_in(&tree);
            {
                let mut kill = pin!(tree.kill(LONG));
                let mut context = Context::from_waker(Waker::noop());
                for _ in 0..polls {
                    if kill.as_mut().poll(&mut context).is_ready() {
                        break;
                    }
                }
            }
            for member in &members {
                let state = std::fs::read_to_string(format!("/proc/{}/stat", member.pid()));
                let stopped = state.is_ok_and(|state| state.contains(") T "));
                assert!(!stopped || !member.is_running(), "{member} stays stopped");
            }
            drop(tree);
            assert!(members.iter().all(|member| !member.is_running()));
        }
    });
}

#[test]
fn a_deadline_ends_a_wait_on_tokio() {
    on_tokio(async || {
        let mut command = tokio::process::Command::new("sleep");
        let (tree, _child) = Tree::spawn(command.arg("600"), Containment::strongest()).unwrap();
        let wait = tree.wait_empty(Duration::from_millis(30));
        assert!(wait.await.is_err());
        tree.kill(LONG).await.unwrap();
    });
}

#[test]
fn a_tree_of_tokio_is_killed_without_timers_and_without_its_runtime() {
    // Tokio keeps two descriptors for signals once one was there.
    drop(runtime());
    audited(|| {
        for level in levels() {
            let without_timers =
                tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            let spawn = || {
                let mut command = tokio::process::Command::new("sleep");
                Tree::spawn(command.arg("600"), Containment::demand(level)).unwrap()
            };
            let (tree, mut child) = without_timers.block_on(async { spawn() });
            let report = without_timers.block_on(tree.kill(LONG)).unwrap();
            assert!(report.is_clean(), "{level}: {report}");
            assert!(!without_timers.block_on(child.wait()).unwrap().success());

            let (tree, mut child) = without_timers.block_on(async { spawn() });
            drop(without_timers);
            assert!(block_on(tree.wait_empty(Duration::from_millis(20))).is_err(), "{level}");
            assert!(block_on(tree.kill(LONG)).unwrap().is_clean(), "{level}");
            assert!(!block_on(child.wait()).unwrap().success());
        }
    });
}

#[test]
fn a_command_of_tokio_outside_of_a_runtime_is_refused_before_it_starts() {
    audited(|| {
        let mut command = tokio::process::Command::new("true");
        let refused = Tree::spawn(&mut command, Containment::strongest()).unwrap_err();
        assert!(matches!(refused, SpawnError::NoRuntime), "{refused:?}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let refused = Tree::spawn(&mut command, Containment::strongest()).unwrap_err();
        assert!(matches!(refused, SpawnError::NoRuntime), "{refused:?}");
    });
}

/// Tokio panics when it is asked for I/O that it does not have, so that it is asked for a pipe alone.
#[test]
fn a_program_without_pipes_needs_no_runtime() {
    audited(|| {
        let hooked = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| std::process::abort()));
        let ended = |program: &mut Program| {
            let (tree, mut child) =
                Tree::spawn(&mut program.on_tokio(), Containment::strongest()).unwrap();
            assert!(block_on(child.wait()).unwrap().success());
            tree.kill_blocking(LONG).unwrap();
        };
        ended(&mut Program::new("true"));
        ended(Program::new("true").stdin(Io::Null));
        let without_io = tokio::runtime::Builder::new_current_thread().build().unwrap();
        without_io.block_on(async { ended(&mut Program::new("true")) });
        std::panic::set_hook(hooked);
        let mut piped = Program::new("true");
        piped.stdout(Io::Piped);
        let mut refused =
            || Tree::spawn(&mut piped.on_tokio(), Containment::strongest()).unwrap_err();
        assert!(matches!(refused(), SpawnError::NoRuntime));
        without_io.block_on(async { assert!(matches!(refused(), SpawnError::NoRuntime)) });
    });
}
