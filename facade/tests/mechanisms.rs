//! Each mechanism as a member: drained, forced, counted, and what it leaves is named.

#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

mod support;

use lastout::browser_pool::{Pool, PoolConfig};
use lastout::cleanup_worker::CleanupWorker;
use lastout::output_stream::{Policy, Position, Process};
use lastout::proc_tree::{Containment, ProcId, Signal, Tree};
use lastout::supervisor::{Cause, Ending, Failure, MemberReport, Phase, WithSignals};
use lastout::test_util::browsers::{FakeDriver, Script};
use lastout::work_runner::{
    DurableWorker, Job, JobError, MemoryRegistry, NewJob, Registry, State, WorkRunner,
};
use lastout::{Report, Restart, Supervisor};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use support::{GENEROUS, wait_until};

fn only(report: &Report) -> &MemberReport {
    assert_eq!(report.members.len(), 1);
    &report.members[0]
}

fn tallies(member: &MemberReport) -> (Vec<String>, Vec<String>) {
    let words = |tallies: &[lastout::supervisor::Tally]| {
        tallies.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    (words(&member.drained.ended), words(&member.drained.forced))
}

/// A tree that ignores SIGTERM, so that the request is not enough.
fn sleeper() -> (Tree, ProcId) {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' TERM; echo deaf; sleep 600 & wait; sleep 600"]);
    command.stdout(Stdio::piped());
    let (tree, mut child) = Tree::spawn(&mut command, Containment::strongest()).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "deaf\n");
    (tree, child.id())
}

#[test]
fn a_cleanup_worker_is_flushed_after_all_others_have_ended() {
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    struct Late(lastout::cleanup_worker::CleanupHandle);
    impl Drop for Late {
        fn drop(&mut self) {
            self.0.submit(async {}).unwrap();
        }
    }
    impl lastout::Drain for Late {
        fn drain(&self, _: lastout::supervisor::Until) -> lastout::supervisor::DrainFuture<'_> {
            Box::pin(async { lastout::supervisor::Drained::new() })
        }
    }
    let supervisor = Supervisor::builder()
        .last("cleanup", worker)
        .member("late", Late(handle.clone()))
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert!(report.is_clean(), "{report}");
    assert_eq!(tallies(&report.members[1]).0, ["1 cleanups"]);
    assert_eq!(report.totals().counts["cleanup.completed"], 1);
    assert!(handle.is_closed());
}

#[test]
fn a_cleanup_that_hangs_is_named() {
    let worker = CleanupWorker::builder().build().unwrap();
    worker.handle().submit(std::future::pending::<()>()).unwrap();
    let supervisor = Supervisor::builder()
        .deadline(Duration::from_millis(200))
        .last("cleanup", worker)
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert_eq!(report.exit_code(), 1);
    assert_eq!(report.left_behind().count(), 1, "{report}");
    assert_eq!(report.totals().counts["cleanup.abandoned"], 1);
}

#[test]
fn a_tree_that_ignores_the_request_is_killed_in_the_blocking_form() {
    let (tree, root) = sleeper();
    let supervisor = Supervisor::builder()
        .deadline(Duration::from_secs(1))
        .grace(GENEROUS)
        .member("tree", tree)
        .build()
        .unwrap();
    assert!(supervisor.stats().total("processes.alive") >= 1);
    let report = supervisor.shutdown_blocking();
    assert!(report.is_clean(), "{report}");
    assert!(!tallies(only(&report)).1.is_empty(), "{report}");
    assert!(!root.is_running());
}

#[test]
fn a_tree_that_had_no_time_is_clean_only_when_it_is_gone() {
    let (tree, root) = sleeper();
    let supervisor = Supervisor::builder()
        .deadline(Duration::ZERO)
        .grace(Duration::ZERO)
        .member("tree", tree)
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert_eq!(report.is_clean(), report.left_behind().count() == 0);
    assert!(!(report.is_clean() && root.is_running()), "{report}");
    // What the drop of the tree still ends, it ends here.
    wait_until(|| root.is_running(), |runs| !runs);
}

#[tokio::test]
async fn a_second_word_kills_a_tree_at_once_on_tokio() {
    let (tree, root) = sleeper();
    let supervisor = Supervisor::builder()
        .deadline(GENEROUS)
        .grace(GENEROUS)
        .member("tree", tree)
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let force = async {
        let phase = || handle.stats().members[0].phase;
        while !matches!(phase(), Phase::Draining | Phase::Ended) {
            tokio::task::yield_now().await;
        }
        handle.force();
    };
    let (report, ()) = tokio::join!(supervisor.shutdown(), force);
    assert_eq!(only(&report).ending, Ending::Forced);
    assert!(report.is_clean(), "{report}");
    assert!(!root.is_running());
}

#[tokio::test]
async fn a_process_is_ended_with_all_that_it_wrote_and_its_streams_add_up() {
    let process =
        // The whole tree is asked, and the shell would report each `sleep` that obeys.
        Process::shell("exec 2>/dev/null; trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
            .spawn()
            .unwrap();
    let mut lines = process
        .stdout()
        .subscribe(Position::Start, Policy::Block)
        .unwrap()
        .lines(lastout::output_stream::LineOptions::default());
    assert_eq!(lines.next().await.unwrap().text(), "up");
    let reader = tokio::spawn(async move {
        let mut rest = Vec::new();
        while let Some(line) = lines.next().await {
            rest.push(line.text().into_owned());
        }
        rest
    });
    let supervisor = Supervisor::builder().member("process", process).build().unwrap();
    let report = supervisor.shutdown().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(reader.await.unwrap(), ["bye"]);
    assert_eq!(report.totals().counts["stream.ingested"], 7);
}

#[tokio::test]
async fn a_process_is_asked_by_the_signals_that_it_was_given() {
    let script = "trap 'echo bye; exit 0' QUIT; trap 'echo again' HUP; trap '' TERM; echo up; \
                  while :; do sleep 0.05; done";
    let process = Process::shell(script).spawn().unwrap();
    let mut lines = process
        .stdout()
        .subscribe(Position::Start, Policy::Block)
        .unwrap()
        .lines(lastout::output_stream::LineOptions::default());
    let supervisor = Supervisor::builder()
        .deadline(GENEROUS)
        .member("it", WithSignals::new(process).stop_root(Signal::QUIT).reload(Signal::HUP))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let talk = async {
        assert_eq!(lines.next().await.unwrap().text(), "up");
        handle.reload();
        assert_eq!(lines.next().await.unwrap().text(), "again");
        handle.stop();
        assert_eq!(lines.next().await.unwrap().text(), "bye");
        assert!(lines.next().await.is_none());
    };
    let (report, ()) = tokio::join!(supervisor.run(), talk);
    assert!(report.is_clean(), "{report}");
    assert_eq!(only(&report).ending, Ending::Drained, "{report}");
    assert!(only(&report).failures.is_empty(), "{report}");
}

/// Without a runtime of the caller, too.
#[test]
fn a_server_behind_a_shell_is_asked_as_well_and_none_of_it_is_killed() {
    let server = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done";
    // The shells would report each `sleep` that obeys.
    let line = format!("exec 2>/dev/null; sh -c \"{server}\" & wait");
    let supervisor = Supervisor::builder()
        .deadline(GENEROUS)
        .service("server", Restart::never(), move || {
            let line = line.clone();
            async move { Ok::<_, Failure>(Process::shell(line).spawn()?) }
        })
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = std::thread::spawn(move || supervisor.run_blocking());
    wait_until(|| handle.stats().total("stream.ingested"), |bytes| *bytes == 3);
    handle.stop();
    let report = running.join().unwrap();
    assert_eq!(report.exit_code(), 0, "{report}");
    assert_eq!(only(&report).ending, Ending::Drained, "{report}");
}

#[test]
fn a_tree_is_asked_and_reloaded_by_the_signals_that_it_was_given() {
    let mut command = Command::new("sh");
    let script = "trap 'exit 0' INT; trap 'echo again' USR1; trap '' TERM; echo up; \
                  while :; do sleep 0.05; done";
    command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::null());
    let (tree, mut child) = Tree::spawn(&mut command, Containment::strongest()).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = move || lines.next().unwrap().unwrap();
    assert_eq!(next(), "up");
    let supervisor = Supervisor::builder()
        .deadline(GENEROUS)
        .member("it", WithSignals::new(tree).stop_all(Signal::INT).reload(Signal::USR1))
        .build()
        .unwrap();
    let handle = supervisor.handle();
    let running = std::thread::spawn(move || supervisor.run_blocking());
    handle.reload();
    assert_eq!(next(), "again");
    handle.stop();
    let report = running.join().unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(only(&report).ending, Ending::Drained, "{report}");
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_the_end_of_no_process() {
    let process = Process::shell("yes").spawn().unwrap();
    let output = process.stdout().clone();
    let idle = output.subscribe(Position::Start, Policy::Block).unwrap();
    while output.stats().blocked.is_zero() {
        tokio::task::yield_now().await;
    }
    let supervisor =
        Supervisor::builder().deadline(GENEROUS).member("process", process).build().unwrap();
    let report = supervisor.shutdown().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(only(&report).ending, Ending::Drained, "{report}");
    assert!(tallies(only(&report)).0.contains(&"2 streams".to_owned()), "{report}");
    assert!(output.end().is_some());
    drop(idle);
}

#[tokio::test]
async fn a_process_that_exits_is_a_failure_and_is_started_again() {
    let policy = Restart::on_failure()
        .backoff(Duration::from_millis(1), Duration::from_millis(1))
        .limit(2, GENEROUS);
    let supervisor = Supervisor::builder()
        .service("process", policy, || async {
            Ok::<_, Failure>(Process::shell("echo it; exit 3").spawn()?)
        })
        .build()
        .unwrap();
    let report = supervisor.run().await;
    assert_eq!(report.cause, Cause::Failed("process".into()));
    assert_eq!(only(&report).failures, ["sh ended: exit status: 3"; 3]);
    assert_eq!(report.totals().counts["stream.ingested"], 9);
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_drained_in_both_forms_and_what_it_leaves_is_named() {
    for blocking in [false, true] {
        let browsers = FakeDriver::new();
        let pool = Pool::start(browsers.clone(), PoolConfig::default()).unwrap();
        pool.page().await.unwrap().release();
        let supervisor = Supervisor::builder().member("pool", pool).build().unwrap();
        let report = match blocking {
            false => supervisor.shutdown().await,
            true => std::thread::spawn(|| supervisor.shutdown_blocking()).join().unwrap(),
        };
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.totals().counts["pool.returned"], 1);
        assert_eq!(browsers.alive().browsers, 0);
    }
    let browsers = FakeDriver::new();
    browsers.script(|script: &mut Script| script.leave_directory = true);
    let pool = Pool::start(browsers, PoolConfig::default()).unwrap();
    pool.page().await.unwrap().release();
    let supervisor = Supervisor::builder().member("pool", pool).build().unwrap();
    let report = supervisor.shutdown().await;
    assert_eq!(report.left_behind().count(), 1, "{report}");
}

#[tokio::test]
async fn a_runner_gives_back_what_does_not_end_in_time() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle("quick", |_: Job<u32>| async { Ok::<_, JobError>(()) })
        .handle("slow", |job: Job<u32>| async move {
            job.stopped().await;
            Err::<(), _>(JobError::retry("stopped"))
        })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker);
    let driver = runner.driver(registry);
    let running = runner.spawn();
    let slow = driver.enqueue(NewJob::new("slow", &1).unwrap()).await.unwrap().id();
    let quick = driver.enqueue(NewJob::new("quick", &1).unwrap()).await.unwrap().id();
    driver.wait(quick, GENEROUS).await.unwrap();
    while driver.get(slow).await.unwrap().unwrap().state != State::Running {
        tokio::task::yield_now().await;
    }
    let supervisor = Supervisor::builder()
        .deadline(Duration::from_secs(2))
        .grace(GENEROUS)
        .member("jobs", running)
        .build()
        .unwrap();
    let report = supervisor.shutdown().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.totals().counts["work.succeeded"], 1);
    assert_eq!(report.totals().counts["work.released"], 1);
    assert!(!driver.get(slow).await.unwrap().unwrap().state.is_terminal());
}

#[test]
fn what_a_dropped_supervisor_owned_is_gone() {
    let (tree, root) = sleeper();
    drop(Supervisor::builder().member("tree", tree).build().unwrap());
    wait_until(|| root.is_running(), |runs| !runs);
}
