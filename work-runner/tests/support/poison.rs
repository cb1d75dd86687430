//! What one bad job, row, member or moment does to its neighbours: nothing. Each against any store.

use super::worker_process::short_lease;
use super::{PATIENCE, eventually};
use lastout_work_runner::{
    AttemptOutcome, DurableWorker, Identity, Job, JobError, NewJob, Outcome, Registry, Report,
    State, TurnRequest, WorkDriver, WorkRunner, WorkerId,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

fn job(kind: &str) -> NewJob {
    NewJob::raw(kind, b"null".to_vec())
}

/// Everything that a handler can throw at its worker.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::panic_any(Self);
        }
    }
}

impl fmt::Debug for Bomb {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no debug")
    }
}

impl fmt::Display for Bomb {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no text")
    }
}

impl std::error::Error for Bomb {}

/// The store takes a job for held by a worker that never heard of it, as after a claim that was committed
/// when its connection was long gone.
pub(crate) async fn a_late_commit_is_found(registry: Arc<dyn Registry>) {
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .lease(short_lease())
        .queue("default", 1)
        .handle("first", move |_: Job<()>| {
            let released = Arc::clone(&released);
            async move {
                while !released.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Ok(())
            }
        })
        .handle("late", |_: Job<()>| async { Ok(()) })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone());
    let driver = runner.driver(Arc::clone(&registry));
    let running = runner.spawn();
    driver.enqueue(job("first")).await.unwrap();
    eventually("its place is taken", async || worker.stats().claimed == 1).await;
    let late = driver.enqueue(job("late")).await.unwrap().id();
    let me = registry.workers().await.unwrap()[0].id;
    let turn = TurnRequest::new(me).claim("default", 1);
    assert_eq!(registry.turn(turn).await.unwrap().claimed[0].lease.job, late);
    release.store(true, Ordering::SeqCst);
    let row = driver.wait(late, PATIENCE).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempt, row.crashes), (State::Succeeded, 1, 0), "{row:?}");
    let stats = worker.stats();
    assert_eq!((stats.reconciled, stats.fenced), (1, 0), "{stats:?}");
    assert!(running.stop(PATIENCE).await.is_clean());
}

/// A job whose history is damaged by `damage` is tried again like any other, and says so.
pub(crate) async fn a_damaged_history_is_told(
    registry: &Arc<dyn Registry>,
    damage: impl Future<Output = ()>,
) {
    let me = WorkerId::random();
    registry.register(me, Identity::current().into(), PATIENCE).await.unwrap();
    let id = registry.enqueue(vec![job("any")]).await.unwrap()[0].id();
    let turn = || TurnRequest::new(me).claim("default", 1).promote();
    let again = || Outcome::Retry { error: "once more".into(), delay_ms: 0 };
    let first = registry.turn(turn()).await.unwrap().claimed[0].lease;
    damage.await;
    let report = |lease, outcome| TurnRequest::new(me).reports([Report::new(lease, outcome)]);
    registry.turn(report(first, again())).await.unwrap();
    let second = registry.turn(turn()).await.unwrap().claimed[0].lease;
    assert_eq!(second.job, id);
    registry.turn(report(second, Outcome::Done { result: None })).await.unwrap();
    let row = registry.fetch(vec![id]).await.unwrap().remove(0);
    assert_eq!(row.state, State::Succeeded, "{row:?}");
    let told: Vec<_> = row.attempts().iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(told, [AttemptOutcome::Unknown, AttemptOutcome::Failed, AttemptOutcome::Succeeded]);
    assert!(row.history[0].error.as_ref().unwrap().contains("cannot be read"), "{row:?}");
    registry.deregister(me).await.unwrap();
}

/// A job behind thousands of a kind that this worker does not know starts at once, and those stay as they
/// are for a worker that does.
pub(crate) async fn unknown_kinds_are_passed_over(registry: Arc<dyn Registry>) {
    let driver = WorkDriver::producer(Arc::clone(&registry));
    driver.enqueue_all((0..3000).map(|_| job("unknown")).collect()).await.unwrap();
    let known = driver.enqueue(job("known")).await.unwrap().id();
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .queue("default", 1)
        .handle("known", |_: Job<()>| async { Ok(()) })
        .build()
        .unwrap();
    worker.run_until_idle().await.unwrap();
    assert_eq!(driver.get(known).await.unwrap().unwrap().state, State::Succeeded);
    let stats = worker.stats();
    assert!(stats.claimed == 1 && stats.turns <= 4, "{stats:?}");
    let counts = driver.counts().await.unwrap();
    let ready = counts.iter().find(|count| count.state == State::Ready).map(|count| count.jobs);
    assert_eq!(ready, Some(3000), "untouched: {counts:?}");
    assert!(worker.stop(PATIENCE).await.is_clean());
}

/// Two jobs whose next crash would be their last: one runs, the other takes no place while it waits.
pub(crate) async fn a_suspect_takes_no_place_of_others(registry: Arc<dyn Registry>) {
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let suspect = |queue: &str| job("suspect").queue(queue).max_crashes(2);
    let ids = [suspect("one"), suspect("four")].map(|job| vec![job]);
    for suspects in ids {
        driver.enqueue_all(suspects).await.unwrap();
    }
    let dead = WorkerId::random();
    registry.register(dead, Default::default(), PATIENCE).await.unwrap();
    let turn = TurnRequest::new(dead).claim("one", 1).claim("four", 1);
    assert_eq!(registry.turn(turn).await.unwrap().claimed.len(), 2);
    assert_eq!(registry.sweep(vec![dead], 10).await.unwrap().jobs, 2);
    let (release, runs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (released, counts) = (Arc::clone(&release), Arc::clone(&runs));
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .queue("four", 4)
        .queue("one", 1)
        .handle("suspect", move |_: Job<()>| {
            let (released, counts) = (Arc::clone(&released), Arc::clone(&counts));
            async move {
                assert_eq!(counts.fetch_add(1, Ordering::SeqCst), 0, "two suspects at once");
                while !released.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                counts.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .handle("healthy", |_: Job<()>| async { Ok(()) })
        .build()
        .unwrap();
    let running = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(50)).spawn();
    eventually("one suspect runs", async || runs.load(Ordering::SeqCst) == 1).await;
    for queue in ["one", "four"] {
        for _ in 0..5 {
            // The queue whose own suspect runs has three places left, or none.
            let id = driver.enqueue(job("healthy").queue(queue)).await.unwrap().id();
            let mine = driver.counts().await.unwrap();
            let held = mine.iter().any(|c| c.queue == queue && c.state == State::Running);
            if queue == "four" || !held {
                let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
                assert_eq!(row.state, State::Succeeded, "{row:?}");
            }
        }
    }
    release.store(true, Ordering::SeqCst);
    eventually("both suspects end", async || worker.stats().succeeded == 12).await;
    assert!(running.stop(PATIENCE).await.is_clean());
}

/// Errors that cannot be displayed, payloads and futures whose destructors panic: each has a defined end,
/// and its place is free again.
pub(crate) async fn a_hostile_handler_keeps_no_place(registry: Arc<dyn Registry>) {
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .queue("default", 1)
        .handle("display", |_: Job<()>| async { Err::<(), _>(JobError::discard(Bomb)) })
        .handle("payload", |_: Job<()>| async {
            if true {
                std::panic::panic_any(Bomb);
            }
            Ok(())
        })
        .handle("future", |_: Job<()>| {
            let bomb = std::mem::ManuallyDrop::new(Bomb);
            async move {
                let _bomb = std::mem::ManuallyDrop::into_inner(bomb);
                Ok(())
            }
        })
        .handle("fine", |_: Job<()>| async { Ok(()) })
        .on_event(|_| std::panic::panic_any(Bomb))
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone());
    let driver = runner.driver(registry);
    let running = runner.spawn();
    for (kind, state) in
        [("display", State::Failed), ("payload", State::Dead), ("future", State::Dead)]
    {
        let id = driver.enqueue(job(kind).max_attempts(1)).await.unwrap().id();
        let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
        assert_eq!(row.state, state, "{kind}: {row:?}");
        let fine = driver.enqueue(job("fine")).await.unwrap().id();
        let row = driver.wait(fine, PATIENCE).await.unwrap().unwrap();
        assert_eq!(row.state, State::Succeeded, "after {kind}");
    }
    let report = running.stop(PATIENCE).await;
    assert!(report.is_clean(), "{report}");
    let stats = worker.stats();
    assert_eq!((stats.claimed, stats.in_flight), (6, 0), "{stats:?}");
}

/// A handler that ends when it is asked ends a stop, however long its deadline.
pub(crate) async fn a_stop_asks_at_once(registry: Arc<dyn Registry>) {
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle("listens", |job: Job<()>| async move {
            job.stopped().await;
            Err::<(), _>(JobError::retry("as asked"))
        })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone());
    let driver = runner.driver(registry);
    let running = runner.spawn();
    let id = driver.enqueue(job("listens")).await.unwrap().id();
    eventually("it runs", async || worker.stats().claimed == 1).await;
    let stop = running.stop(Duration::from_secs(36_000));
    let report = tokio::time::timeout(PATIENCE, stop).await.expect("not ten hours");
    assert!(report.is_clean() && report.given_back == 1, "{report}");
    let row = driver.get(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempt), (State::Ready, 0), "uncharged");
}

/// Unhappy ends outlive happy ones, each as long as it is asked for.
pub(crate) async fn dead_letters_are_kept_longer(registry: Arc<dyn Registry>) {
    use lastout_work_runner::Keep;
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let me = WorkerId::random();
    registry.register(me, Default::default(), PATIENCE).await.unwrap();
    driver.enqueue_all(vec![job("any"), job("any")]).await.unwrap();
    let claimed = registry.turn(TurnRequest::new(me).claim("default", 2)).await.unwrap().claimed;
    let ends = [Outcome::Done { result: None }, Outcome::Reject { error: "bad".into() }];
    let reports = claimed.iter().zip(ends).map(|(claimed, end)| Report::new(claimed.lease, end));
    registry.turn(TurnRequest::new(me).reports(reports)).await.unwrap();
    let mut keep = Keep::all(Duration::ZERO);
    keep.unhappy = Some(Duration::from_secs(3600));
    let gone = async || registry.prune(keep, 10).await.unwrap() == 1;
    eventually("the happy one is deleted", gone).await;
    let left = driver.list(lastout_work_runner::Query::all()).await.unwrap();
    assert_eq!(left.iter().map(|row| row.state).collect::<Vec<_>>(), [State::Dead]);
}
