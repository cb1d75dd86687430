//! A job that is a process: its tree ends with it, whatever ends it, and its output is kept.
#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::{
    DurableWorker, MemoryRegistry, NewJob, ProcessResult, ProcessSpec, Registry, State, WorkDriver,
    WorkRunner,
};
use std::sync::Arc;
use std::time::Duration;
use support::{PATIENCE, eventually};

fn runner(registry: &Arc<dyn Registry>) -> (WorkRunner, WorkDriver) {
    let worker =
        DurableWorker::builder(Arc::clone(registry)).handle_process("run").build().unwrap();
    let runner = WorkRunner::inline(worker).poll(Duration::from_millis(50));
    let driver = runner.driver(Arc::clone(registry));
    (runner, driver)
}

/// A shell that starts a grandchild, says its pids and waits.
fn family() -> ProcessSpec {
    let script = "sleep 600 & echo $! > \"$PIDS\"; echo $$ >> \"$PIDS\"; wait";
    ProcessSpec::new("sh").arg("-c").arg(script)
}

fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

async fn family_of(path: &std::path::Path) -> Vec<String> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    eventually("the family runs", async || read().lines().count() == 2).await;
    read().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_and_exit_are_the_result() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let (runner, driver) = runner(&registry);
    let running = runner.spawn();
    let spec = ProcessSpec::new("sh").arg("-c").arg("echo hello; echo oops >&2; exit 0");
    let id = driver.enqueue(NewJob::new("run", &spec).unwrap()).await.unwrap().id();
    let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
    assert_eq!(row.state, State::Succeeded, "{row:?}");
    let result: ProcessResult = row.result_as().unwrap();
    assert_eq!((result.code, &*result.stdout, &*result.stderr), (Some(0), "hello\n", "oops\n"));
    let spec = ProcessSpec::new("sh").arg("-c").arg("echo why >&2; exit 3");
    let job = NewJob::new("run", &spec).unwrap().max_attempts(1);
    let id = driver.enqueue(job).await.unwrap().id();
    let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
    assert_eq!(row.state, State::Dead);
    let error = row.error.unwrap();
    assert!(error.contains("why") && error.contains('3'), "{error}");
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_timeout_and_stop_end_the_whole_tree() {
    let folder = support::Folder::new();
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let (runner, driver) = runner(&registry);
    let running = runner.spawn();
    let enqueue = async |name: &str, timeout| {
        let pids = folder.path().join(name);
        let spec = family().env("PIDS", pids.to_str().unwrap());
        let mut job = NewJob::new("run", &spec).unwrap().max_attempts(1);
        if timeout {
            job = job.timeout(Duration::from_millis(500));
        }
        (driver.enqueue(job).await.unwrap().id(), pids)
    };
    let (id, pids) = enqueue("cancelled", false).await;
    let family = family_of(&pids).await;
    assert!(family.iter().all(|pid| alive(pid)));
    driver.cancel(id).await.unwrap();
    let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
    assert_eq!(row.state, State::Cancelled);
    assert!(!family.iter().any(|pid| alive(pid)), "after a cancel");

    let (id, pids) = enqueue("timed out", true).await;
    let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
    assert_eq!(row.state, State::Dead);
    assert!(!family_of(&pids).await.iter().any(|pid| alive(pid)), "after a timeout");

    let (id, pids) = enqueue("stopped", false).await;
    let family = family_of(&pids).await;
    let report = running.stop(Duration::from_secs(4)).await;
    assert!(report.is_clean(), "{report}");
    assert!(!family.iter().any(|pid| alive(pid)), "after a stop");
    assert_eq!(driver.get(id).await.unwrap().unwrap().state, State::Ready, "given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_for_the_program_and_a_watcher_sees_its_output() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let (seen, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle_process_watched("run", move |job, process| {
            let (seen, id) = (seen.clone(), job.id());
            let mut output =
                process.stdout().collect(lastout_output_stream::Keep::tail(100)).unwrap();
            tokio::spawn(async move { seen.send((id, output.wait().await.text())) });
        })
        .build()
        .unwrap();
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let running = WorkRunner::inline(worker).poll(Duration::from_millis(50)).spawn();
    let script = "ulimit -n; ulimit -t; ulimit -v; echo \"$1\"";
    let spec = ProcessSpec::new("sh").arg("-c").arg(script).arg("name").arg("it's \"$0\"");
    let spec = spec.open_files(77).cpu_seconds(55).memory_bytes(512 << 20);
    let id = driver.enqueue(NewJob::new("run", &spec).unwrap()).await.unwrap().id();
    let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
    let result: ProcessResult = row.result_as().unwrap_or_else(|| panic!("{row:?}"));
    assert_eq!(result.stdout, "77\n55\n524288\nit's \"$0\"\n");
    assert!(!result.held_by.is_empty());
    assert_eq!(lines.recv().await.unwrap(), (id, result.stdout));
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_lease_ends_the_whole_tree() {
    let folder = support::Folder::new();
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .lease(support::worker_process::short_lease())
        .handle_process("run")
        .build()
        .unwrap();
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let pids = folder.path().join("pids");
    let spec = family().env("PIDS", pids.to_str().unwrap());
    let job = NewJob::new("run", &spec).unwrap().max_crashes(1);
    let id = driver.enqueue(job).await.unwrap().id();
    let running = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(50)).spawn();
    let family = family_of(&pids).await;
    // Somebody takes it for dead, wrongly: its next beat is refused.
    let me = registry.workers().await.unwrap()[0].id;
    assert_eq!(registry.sweep(vec![me], 10).await.unwrap().poisoned, 1);
    let gone = async || !family.iter().any(|pid| alive(pid));
    eventually("the tree ends with the lease", gone).await;
    assert_eq!(driver.get(id).await.unwrap().unwrap().state, State::Dead);
    assert_eq!(worker.stats().fenced, 1);
    assert!(running.stop(PATIENCE).await.is_clean());
}

/// Not a test by itself: the worker that is killed.
#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_when_asked_to_be_one() {
    let Some((_, store)) = support::worker_process::role() else {
        return;
    };
    let registry = lastout_work_runner::sqlite::SqliteRegistry::open(&store).unwrap();
    let registry: Arc<dyn Registry> = Arc::new(registry);
    let (runner, _) = runner(&registry);
    runner.spawn().await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_takes_the_whole_tree_with_it() {
    use support::worker_process::WorkerProcess;
    let folder = support::Folder::new();
    let store = folder.path().join("jobs.db");
    let registry = lastout_work_runner::sqlite::SqliteRegistry::open(&store).unwrap();
    let registry: Arc<dyn Registry> = Arc::new(registry);
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let pids = folder.path().join("pids");
    let spec = family().env("PIDS", pids.to_str().unwrap());
    let id = driver.enqueue(NewJob::new("run", &spec).unwrap()).await.unwrap().id();
    let entry = "a_worker_when_asked_to_be_one";
    let mut victim = WorkerProcess::start(entry, "victim", store.to_str().unwrap());
    let first = family_of(&pids).await;
    let noted = async || driver.get(id).await.unwrap().unwrap().progress.is_some();
    eventually("its root is written down", noted).await;
    victim.kill();
    let gone = async || !first.iter().any(|pid| alive(pid));
    eventually("nothing of it survives", gone).await;
    // The next worker starts it anew, and its stop ends that one too.
    std::fs::remove_file(&pids).unwrap();
    let (runner, _) = runner(&registry);
    let running = runner.spawn();
    let second = family_of(&pids).await;
    assert!(second.iter().all(|pid| !first.contains(pid)));
    assert!(running.stop(Duration::from_secs(4)).await.is_clean());
    assert!(!second.iter().any(|pid| alive(pid)), "after a stop");
    assert_eq!(driver.get(id).await.unwrap().unwrap().crashes, 1);
}
