//! What each part of the console shows of what it looks at: panels of the mechanisms, workers, and the
//! page of a job.

#![cfg(all(feature = "full", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

mod support;

use lastout::browser_pool::testing::FakeDriver;
use lastout::browser_pool::{LeaseOptions, Pool, PoolConfig};
use lastout::cleanup_worker::CleanupWorker;
use lastout::console::{Console, Look, Panel};
use lastout::output_stream::{Policy, Position, Process};
use lastout::proc_tree::{Containment, Tree};
use lastout::work_runner::{
    Backoff, DurableWorker, Job, JobError, MemoryRegistry, NewJob, State, WorkDriver, WorkRunner,
};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use support::web::get;
use support::{GENEROUS, wait_until};

/// The value of a fact, if it is there.
fn fact<'a>(panel: &'a Panel, name: &str) -> Option<&'a str> {
    panel.facts.iter().find(|fact| fact.0 == name).map(|fact| &*fact.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_shows_its_browsers_its_leases_and_their_sum() {
    let config = PoolConfig::builder().max_browsers(1).build().unwrap();
    let pool = Pool::start(FakeDriver::new(), config).unwrap();
    let lease = pool.page_with(LeaseOptions::new()).await.unwrap();
    let panel = pool.look();
    for (name, value) in [("browsers ready", "1"), ("leases out", "1"), ("callers waiting", "0")] {
        assert_eq!(fact(&panel, name), Some(value), "{name}: {panel:?}");
    }
    assert!(fact(&panel, "waited, median").is_some_and(|wait| wait != "none"), "{panel:?}");
    assert_eq!((panel.sums[0].left, panel.sums[0].right), (1, 1));
    lease.release();
    assert!(pool.destroy_all(GENEROUS).await.is_clean());
}

#[test]
fn a_cleanup_worker_shows_what_waits_and_what_runs() {
    let worker = CleanupWorker::builder().build().unwrap();
    let (open, gate) = tokio::sync::oneshot::channel::<()>();
    let work = async move {
        let _ = gate.await;
    };
    worker.handle().submit(work).unwrap();
    let handle = worker.handle().clone();
    wait_until(|| handle.look(), |panel| fact(panel, "in flight") == Some("1"));
    let panel = handle.look();
    assert_eq!((panel.sums[0].left, panel.sums[0].right), (1, 1), "{panel:?}");
    assert_eq!(fact(&panel, "refused"), Some("0"));
    open.send(()).unwrap();
    assert!(worker.shutdown_blocking(GENEROUS).is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_shows_what_was_read_and_each_subscriber() {
    let process = Process::shell("printf 0123456789; exec sleep 600").spawn().unwrap();
    let stream = process.stdout().clone();
    let subscriber = stream.subscribe(Position::Start, Policy::Block).unwrap();
    wait_until(|| stream.look(), |panel| fact(panel, "read") == Some("10 B"));
    let panel = stream.look();
    assert_eq!(fact(&panel, "ended"), Some("no"));
    assert!(panel.lines[0].ends_with("delivered 0 B, lost 0 B, behind by 10 B"), "{panel:?}");
    drop(subscriber);
    process.kill(GENEROUS).await.unwrap();
    wait_until(|| stream.look(), |panel| fact(panel, "ended") == Some("yes"));
}

#[test]
fn a_tree_shows_by_what_it_is_held_and_its_processes() {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 600 & sleep 600 & wait"]);
    let (tree, _child) = Tree::spawn(&mut command, Containment::strongest().measured()).unwrap();
    let tree = Arc::new(tree);
    wait_until(|| tree.look(), |panel| fact(panel, "processes") == Some("3"));
    let panel = tree.look();
    assert_eq!(panel.lines.iter().filter(|line| line.starts_with("process ")).count(), 3);
    assert!(fact(&panel, "held by").is_some_and(|held| !held.is_empty()), "{panel:?}");
    tree.kill_blocking(GENEROUS).unwrap();
    assert_eq!(fact(&tree.look(), "processes"), Some("0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_leads_to_its_jobs_and_a_job_shows_its_attempts() {
    let store = Arc::new(MemoryRegistry::new());
    let fails = |_: Job<u32>| async { Err::<(), _>(JobError::retry("no <name> resolved")) };
    let at_once = Backoff::new(Duration::ZERO, Duration::ZERO);
    let worker = DurableWorker::builder(store.clone()).queue("default", 1);
    let worker = worker.handle_with_backoff("capture", at_once, fails).build().unwrap();
    let running = WorkRunner::inline(worker).spawn();
    let driver = WorkDriver::producer(store.clone());
    let job = NewJob::new("capture", &1).unwrap().max_attempts(2);
    let job = driver.enqueue(job).await.unwrap().id();
    let other = driver.enqueue(NewJob::new("other", &1).unwrap()).await.unwrap().id();
    let ended = driver.wait(job, GENEROUS).await.unwrap().unwrap();
    assert_eq!(ended.state, State::Dead);
    let console = Console::builder("shop").store(store).build().unwrap();
    let server = console.listen("127.0.0.1:0").await.unwrap();
    let address = server.address();

    let page = get(address, "/", &[]).await;
    let path = page.between("<td data-is=\"worker\"><div><a href=\"", "\"").to_owned();
    assert!(path.starts_with("/jobs?worker="), "{}", page.body);
    let list = get(address, &path, &[]).await;
    assert_eq!(list.status, 200, "{}", list.body);
    assert!(list.body.contains(&format!("/jobs/{job}\"")), "{}", list.body);
    assert!(!list.body.contains(&format!("/jobs/{other}\"")), "{}", list.body);
    assert_eq!(get(address, "/jobs?worker=nobody%20else", &[]).await.status, 400);

    let page = get(address, &format!("/jobs/{job}"), &[]).await;
    let attempts = page.between("<h2>Attempts</h2>", "</table>");
    assert_eq!(attempts.matches("no &lt;name&gt; resolved").count(), 2, "{attempts}");
    assert_eq!(attempts.matches("failed").count(), 2, "{attempts}");
    let page = get(address, &format!("/jobs/{other}"), &[]).await;
    assert!(page.body.contains("It has not run yet."), "{}", page.body);
    drop(server);
    assert!(running.stop(GENEROUS).await.is_clean());
}
