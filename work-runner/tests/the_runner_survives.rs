//! What goes wrong around a runner is counted, told and survived.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::{
    Backoff, Drive, DriveError, DurableWorker, Event, Job, JobError, LeaseTimings, LeftBehind,
    MemoryRegistry, NewJob, Periodic, Query, Recovery, Registry, RunFuture, RunHandle, State,
    StopCause, WorkDriver, WorkRunner,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{PATIENCE, eventually};

fn memory() -> Arc<dyn Registry> {
    Arc::new(MemoryRegistry::new())
}

fn job(kind: &str) -> NewJob {
    NewJob::raw(kind, b"null".to_vec())
}

/// A handle whose drives fail, panic and succeed in turn.
struct Moody(AtomicUsize);

impl RunHandle for Moody {
    fn claim_and_run_pending(&self) -> RunFuture<'_, Result<Drive, DriveError>> {
        let n = self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            match n % 3 {
                0 => Err(DriveError::Stopped),
                1 => panic!("a drive panics"),
                _ => Ok(Drive::default()),
            }
        })
    }
}

#[tokio::test]
async fn failing_and_panicking_drives() {
    let handle = Arc::new(Moody(AtomicUsize::new(0)));
    let running = WorkRunner::new(handle).poll(Duration::from_millis(1)).spawn();
    eventually("it goes on", async || running.drives().0 >= 9).await;
    let (drives, failed) = running.drives();
    assert!(failed >= 6 && failed < drives, "{failed} of {drives}");
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test]
async fn a_thousand_pokes_are_one_drive_more() {
    let handle = Arc::new(Moody(AtomicUsize::new(2)));
    let runner = WorkRunner::new(handle).poll(Duration::from_secs(3600));
    let poke = runner.poke_handle();
    (0..1000).for_each(|_| poke.poke());
    let running = runner.spawn();
    eventually("both drives", async || running.drives().0 == 2).await;
    tokio::task::yield_now().await;
    assert_eq!(running.drives().0, 2, "the startup drive and one for all pokes");
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_never_yields_is_written_off() {
    let registry = memory();
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .grace(Duration::from_millis(100))
        .handle("spin", move |_: Job<()>| {
            let released = Arc::clone(&released);
            async move {
                while !released.load(Ordering::SeqCst) {
                    // SLEEP: a handler that never yields is what is tested.
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            }
        })
        .handle("fine", |_: Job<()>| async { Ok(()) })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(50));
    let driver = runner.driver(registry);
    let running = runner.spawn();
    let spin = job("spin").timeout(Duration::from_millis(50)).max_attempts(1);
    let spin = driver.enqueue(spin).await.unwrap().id();
    let row = driver.wait(spin, PATIENCE).await.unwrap().unwrap();
    assert_eq!(row.state, State::Dead, "{row:?}");
    assert!(row.error.unwrap().contains("blocks its thread"));
    let fine = driver.enqueue(job("fine")).await.unwrap().id();
    let row = driver.wait(fine, PATIENCE).await.unwrap().unwrap();
    assert_eq!(row.state, State::Succeeded, "its neighbours go on");
    assert_eq!(worker.stats().stuck, 1);
    let report = running.stop(Duration::from_secs(2)).await;
    assert_eq!(report.left_behind(), [LeftBehind::Handler(spin)], "{report}");
    release.store(true, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_a_stuck_handler_holds_takes_no_job_from_other_workers() {
    let registry = memory();
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .queue("default", 1)
        .grace(Duration::from_millis(50))
        .handle("spin", move |_: Job<()>| {
            let released = Arc::clone(&released);
            async move {
                while !released.load(Ordering::SeqCst) {
                    // SLEEP: a handler that never yields is what is tested.
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            }
        })
        .handle("fine", |_: Job<()>| async { Ok(()) })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(50));
    let driver = runner.driver(Arc::clone(&registry));
    let running = runner.spawn();
    let spin = job("spin").timeout(Duration::from_millis(50)).max_attempts(1);
    let spin = driver.enqueue(spin).await.unwrap().id();
    driver.wait(spin, PATIENCE).await.unwrap().unwrap();
    let fine = driver.enqueue(job("fine")).await.unwrap().id();
    worker.claim_and_run_pending().await.unwrap();
    let other = DurableWorker::builder(registry)
        .handle("fine", |_: Job<()>| async { Ok(()) })
        .build()
        .unwrap();
    other.run_until_idle().await.unwrap();
    let row = driver.get(fine).await.unwrap().unwrap();
    assert_eq!(row.state, State::Succeeded, "the other worker has a place: {row:?}");
    assert!(other.stop(PATIENCE).await.is_clean());
    release.store(true, Ordering::SeqCst);
    // Whether the handler has returned by now is not what is tested.
    let _ = running.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_runner_asks_once_for_each_poll_whatever_waits() {
    let registry = memory();
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let later = (0..10_000).map(|_| job("any").delay(Duration::from_secs(36_000))).collect();
    driver.enqueue_all(later).await.unwrap();
    let worker = DurableWorker::builder(registry).keep_ended(None).build().unwrap();
    let runner = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(250));
    let running = runner.spawn();
    eventually("it settles", async || running.drives().0 >= 2).await;
    let (before, drives) = (worker.stats(), running.drives().0);
    eventually("ten polls", async || running.drives().0 >= drives + 10).await;
    let (after, now) = (worker.stats(), running.drives().0);
    assert_eq!(after.turns, before.turns, "nothing is claimed");
    let asked = (after.peeks - before.peeks) + (after.beats - before.beats);
    // The lease is renewed every ten seconds beside the polls.
    assert!(asked <= (now - drives) + 2, "{asked} calls in {} polls", now - drives);
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_reaches_what_runs() {
    let registry = memory();
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle("listens", |job: Job<()>| async move {
            let cause = job.stopped().await;
            assert_eq!(cause, StopCause::Cancelled);
            Err::<(), _>(JobError::retry("as asked"))
        })
        .handle("deaf", |_: Job<()>| std::future::pending::<Result<(), JobError>>())
        .grace(Duration::from_millis(50))
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker).poll(Duration::from_millis(50));
    let driver = runner.driver(registry);
    let running = runner.spawn();
    for (kind, error) in [("listens", "as asked"), ("deaf", "grace")] {
        let id = driver.enqueue(job(kind)).await.unwrap().id();
        let runs = async || driver.get(id).await.unwrap().unwrap().state == State::Running;
        eventually("it runs", runs).await;
        driver.cancel(id).await.unwrap();
        let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
        assert_eq!(row.state, State::Cancelled);
        assert!(row.error.as_deref().unwrap().contains(error), "{row:?}");
    }
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_back_what_it_cannot_finish() {
    let registry = memory();
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .queue("default", 2)
        .prefetch(3)
        .grace(Duration::from_millis(200))
        .handle("short", |_: Job<()>| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(())
        })
        .handle("long", |_: Job<()>| std::future::pending::<Result<(), JobError>>())
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone());
    let driver = runner.driver(Arc::clone(&registry));
    let once = job("long").recovery(Recovery::NeverRerun);
    let all =
        vec![job("short"), job("long"), job("short"), job("short"), job("short"), once.queue("x")];
    let ids: Vec<_> = driver.enqueue_all(all).await.unwrap().iter().map(|e| e.id()).collect();
    let running = runner.spawn();
    let claimed = async || worker.stats().claimed == 5;
    eventually("all places and the prefetch are taken", claimed).await;
    let report = running.stop(Duration::from_secs(5)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.finished + report.given_back, 5, "{report}");
    assert!(report.given_back >= 1, "the long one at least: {report}");
    let row = driver.get(ids[1]).await.unwrap().unwrap();
    assert_eq!((row.state, row.attempt, row.crashes), (State::Ready, 0, 0), "not burnt");
    let counts = driver.counts().await.unwrap();
    assert!(counts.iter().all(|count| count.state != State::Running), "{counts:?}");
    assert!(registry.workers().await.unwrap().is_empty(), "the lease is given back");
    let stats = worker.stats();
    assert_eq!((stats.in_flight, stats.claimed), (0, stats.ended()), "{stats:?}");
    assert!(matches!(worker.claim_and_run_pending().await, Err(DriveError::Stopped)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_what_is_cancelled() {
    let registry = memory();
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let started = Arc::new(AtomicUsize::new(0));
    let (one, other) = (Arc::clone(&started), Arc::clone(&started));
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .grace(Duration::from_millis(50))
        .handle("deaf", move |_: Job<()>| {
            one.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Result<(), JobError>>()
        })
        .handle("spin", move |_: Job<()>| {
            let (released, started) = (Arc::clone(&released), Arc::clone(&other));
            async move {
                started.fetch_add(1, Ordering::SeqCst);
                while !released.load(Ordering::SeqCst) {
                    // SLEEP: a handler that never yields is what is tested.
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            }
        })
        .build()
        .unwrap();
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let ids = driver.enqueue_all(vec![job("deaf"), job("spin")]).await.unwrap();
    worker.claim_and_run_pending().await.unwrap();
    eventually("both run", async || started.load(Ordering::SeqCst) == 2).await;
    let stopping = worker.clone();
    let stop = tokio::spawn(async move { stopping.stop(Duration::from_secs(36_000)).await });
    let stops = async || worker.claim_and_run_pending().await.is_err();
    eventually("it stops", stops).await;
    for id in &ids {
        driver.cancel(id.id()).await.unwrap();
    }
    let report = tokio::time::timeout(PATIENCE, stop).await.expect("not ten hours").unwrap();
    assert_eq!(report.left_behind(), [LeftBehind::Handler(ids[1].id())], "{report}");
    assert_eq!(report.finished, 2, "{report}");
    for (id, error) in ids.iter().zip(["grace", "blocks its thread"]) {
        let row = driver.get(id.id()).await.unwrap().unwrap();
        assert_eq!(row.state, State::Cancelled);
        assert!(row.error.as_deref().unwrap().contains(error), "{row:?}");
    }
    release.store(true, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_shortens_the_grace_of_what_was_cancelled_before() {
    let registry = memory();
    let asked = Arc::new(AtomicBool::new(false));
    let hears = Arc::clone(&asked);
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .grace(Duration::from_secs(36_000))
        .handle("stubborn", move |job: Job<()>| {
            let hears = Arc::clone(&hears);
            async move {
                job.stopped().await;
                hears.store(true, Ordering::SeqCst);
                std::future::pending::<Result<(), JobError>>().await
            }
        })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker).poll(Duration::from_millis(20));
    let driver = runner.driver(Arc::clone(&registry));
    let running = runner.spawn();
    let id = driver.enqueue(job("stubborn")).await.unwrap().id();
    let runs = async || driver.get(id).await.unwrap().unwrap().state == State::Running;
    eventually("it runs", runs).await;
    driver.cancel(id).await.unwrap();
    eventually("it is asked", async || asked.load(Ordering::SeqCst)).await;
    let report = running.stop(Duration::from_secs(4)).await;
    assert!(report.is_clean(), "its future was dropped in time: {report}");
    let row = driver.get(id).await.unwrap().unwrap();
    assert_eq!(row.state, State::Cancelled);
    assert!(row.error.as_deref().unwrap().contains("grace"), "{row:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_worker_gives_its_lease_to_the_cleanup_worker() {
    let registry = memory();
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle("long", |_: Job<()>| std::future::pending::<Result<(), JobError>>())
        .build()
        .unwrap();
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let id = driver.enqueue(job("long")).await.unwrap().id();
    worker.claim_and_run_pending().await.unwrap();
    assert_eq!(driver.get(id).await.unwrap().unwrap().state, State::Running);
    drop(worker);
    let back = async || driver.get(id).await.unwrap().unwrap().state == State::Ready;
    eventually("the job is given back without a lapse", back).await;
    assert!(registry.workers().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_lease_is_gone_stops_its_jobs_and_starts_anew() {
    let registry = memory();
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let causes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&causes);
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .lease(LeaseTimings::new(Duration::from_millis(600), Duration::from_millis(100)).unwrap())
        .handle_with_backoff("wait", Backoff::default(), move |job: Job<()>| {
            let seen = Arc::clone(&seen);
            async move {
                if job.lease().fence.0 > 1 {
                    return Ok(());
                }
                let cause = job.stopped().await;
                seen.lock().unwrap().push(cause);
                Ok(())
            }
        })
        .on_event(move |event| heard.lock().unwrap().push(format!("{event:?}")))
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(50));
    let driver = runner.driver(Arc::clone(&registry));
    let id = driver.enqueue(job("wait")).await.unwrap().id();
    let running = runner.spawn();
    let runs = async || driver.get(id).await.unwrap().unwrap().state == State::Running;
    eventually("it runs", runs).await;
    // Somebody proves it dead, wrongly: the next beat is refused.
    let me = registry.workers().await.unwrap()[0].id;
    assert_eq!(registry.sweep(vec![me], 10).await.unwrap().jobs, 1);
    let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
    assert_eq!((row.state, row.fence.0), (State::Succeeded, 2));
    eventually("the first handler is told", async || !causes.lock().unwrap().is_empty()).await;
    assert_eq!(*causes.lock().unwrap(), [StopCause::LeaseLost]);
    eventually("its end is counted", async || worker.stats().in_flight == 0).await;
    let stats = worker.stats();
    assert_eq!((stats.fenced, stats.lost, stats.succeeded), (1, 1, 1), "{stats:?}");
    let told = events.lock().unwrap().join("\n");
    assert!(told.contains("Fenced") && told.matches("Enlisted").count() == 2, "{told}");
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test]
async fn periodic_jobs_are_fired_by_the_runner() {
    let clock = lastout_work_runner::Clock::manual();
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::with_clock(clock.clone()));
    let driver = WorkDriver::producer(Arc::clone(&registry));
    driver.put_periodic("tick", "* * * * *", job("tick")).await.unwrap();
    assert!(driver.put_periodic("bad", "* *", job("tick")).await.is_err());
    let long = LeaseTimings::with_ttl(Duration::from_secs(36_000)).unwrap();
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .lease(long)
        .wedged_after(Duration::from_secs(36_000))
        .handle("tick", |_: Job<()>| async { Ok(()) })
        .build()
        .unwrap();
    let running = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(20)).spawn();
    for round in 1..=3 {
        clock.advance(Duration::from_secs(150));
        eventually("it fires", async || worker.stats().succeeded == round).await;
    }
    let jobs = driver.list(Query::all()).await.unwrap();
    assert_eq!(jobs.len(), 3, "two times passed in each step, one run makes up for both");
    assert!(running.stop(PATIENCE).await.is_clean());
    assert!(driver.drop_periodic("tick").await.unwrap());
}

#[tokio::test]
async fn missed_runs_are_made_up_for_as_asked() {
    let clock = lastout_work_runner::Clock::manual();
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::with_clock(clock.clone()));
    let driver = WorkDriver::producer(Arc::clone(&registry));
    for (name, runs) in [("none", 0), ("one", 1), ("three", 3), ("all", 1000)] {
        let job = NewJob::new(name, &()).unwrap().queue("never claimed");
        driver.schedule(Periodic::new(name, "0 * * * *", job).catch_up(runs)).await.unwrap();
    }
    // Six times pass while no worker runs; the last one half an hour ago.
    let now = registry.now_ms().await.unwrap();
    let hour = 3_600_000;
    let six = (hour - now % hour + 5 * hour + hour / 2) as u64;
    clock.advance(Duration::from_millis(six));
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle("other", |_: Job<()>| async { Ok(()) })
        .build()
        .unwrap();
    let running = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(20)).spawn();
    eventually("each is fired", async || worker.stats().fired == 4).await;
    for (kind, runs) in [("none", 0), ("one", 1), ("three", 3), ("all", 6)] {
        let jobs = driver.list(Query::all().kind(kind)).await.unwrap();
        assert_eq!(jobs.len(), runs, "{kind}");
    }
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[test]
fn events_are_debug() {
    fn debug<T: std::fmt::Debug>() {}
    debug::<Event>();
}

#[tokio::test]
async fn errors_of_every_sort_are_told_with_their_causes() {
    fn boxed() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Err("a boxed one".into())
    }
    fn of_anyhow() -> anyhow::Result<()> {
        Err(anyhow::Error::new(std::io::Error::other("the cause")).context("the context"))
    }
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle("boxed", |_: Job<()>| async { Ok(boxed()?) })
        .handle("anyhow", |_: Job<()>| async { Ok(of_anyhow()?) })
        .handle("text", |_: Job<()>| async { Err::<(), _>("a text".into()) })
        .build()
        .unwrap();
    let driver = WorkDriver::producer(registry);
    for (kind, error) in
        [("boxed", "a boxed one"), ("anyhow", "the context: the cause"), ("text", "a text")]
    {
        let job = NewJob::raw(kind, b"null".to_vec()).max_attempts(1);
        let id = driver.enqueue(job).await.unwrap().id();
        worker.run_until_idle().await.unwrap();
        let row = driver.get(id).await.unwrap().unwrap();
        assert_eq!((row.state, row.error.as_deref()), (State::Dead, Some(error)), "{kind}");
    }
}

/// A second stop that returned at once would call clean what still runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_stop_waits_for_the_first_and_hastens_a_drain() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let (driver, long) = (WorkDriver::producer(Arc::clone(&registry)), Duration::from_secs(600));
    let begun = Arc::new(tokio::sync::Notify::new());
    let begins = Arc::clone(&begun);
    let worker = DurableWorker::builder(registry)
        .handle("polite", move |job: Job<()>| {
            let begins = Arc::clone(&begins);
            async move {
                begins.notify_one();
                job.stopped().await;
                Ok(())
            }
        })
        .build()
        .unwrap();
    let id = driver.enqueue(NewJob::new("polite", &()).unwrap()).await.unwrap().id();
    worker.claim_and_run_pending().await.unwrap();
    begun.notified().await;
    let draining = tokio::spawn({
        let worker = worker.clone();
        async move { worker.drain(long).await }
    });
    while worker.claim_and_run_pending().await.is_ok() {
        tokio::task::yield_now().await;
    }
    // Another drain does not ask the handler to end, so there is something left at its deadline.
    let report = worker.drain(Duration::ZERO).await;
    assert!(!report.is_clean(), "{report}");
    let report = worker.stop(long).await;
    assert!(report.is_clean(), "{report}");
    let row = driver.get(id).await.unwrap().unwrap();
    assert_eq!(row.state, State::Succeeded, "the stop waited for the end of its handler");
    assert!(draining.await.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_stop_tells_what_the_first_one_left_behind() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let begun = Arc::new(tokio::sync::Notify::new());
    let begins = Arc::clone(&begun);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let worker = DurableWorker::builder(registry)
        .handle("stuck", move |_: Job<()>| {
            begins.notify_one();
            // A thread of the runtime, until the test is over.
            held.lock().unwrap().recv().unwrap_err();
            async { Ok(()) }
        })
        .build()
        .unwrap();
    let id = driver.enqueue(NewJob::new("stuck", &()).unwrap()).await.unwrap().id();
    worker.claim_and_run_pending().await.unwrap();
    begun.notified().await;
    let first = worker.stop(Duration::from_millis(100)).await;
    assert!(first.left_behind().contains(&LeftBehind::Handler(id)), "{first}");
    for deadline in [Duration::ZERO, Duration::from_millis(100)] {
        let again = worker.stop(deadline).await;
        assert_eq!(again.left_behind(), first.left_behind());
    }
    drop(hold);
}
