//! A handler is a closure, a type or a function that blocks; layers run around each of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "handlers that block are what is tested")]

mod support;

use lastout_work_runner::{
    DurableWorker, Ended, Job, JobError, JobRecord, MemoryRegistry, NewJob, Next, Registry, State,
    StopCause, Task, WorkDriver, WorkRunner,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use support::PATIENCE;

fn memory() -> Arc<dyn Registry> {
    Arc::new(MemoryRegistry::new())
}

/// Runs one job of `kind` without another attempt, and returns its row.
async fn once(worker: &DurableWorker, kind: &str) -> JobRecord {
    let driver = WorkDriver::producer(Arc::clone(worker.registry()));
    let job = NewJob::new(kind, &20_u32).unwrap().max_attempts(1);
    let id = driver.enqueue(job).await.unwrap().id();
    worker.run_until_idle().await.unwrap();
    driver.get(id).await.unwrap().unwrap()
}

struct Double;

impl Task for Double {
    const KIND: &'static str = "double";
    const QUEUE: &'static str = "numbers";
    type Args = u32;
    type Output = u32;

    async fn run(&self, job: Job<u32>) -> Result<u32, JobError> {
        Ok(job.payload.checked_mul(2).ok_or("too large")?)
    }
}

#[tokio::test]
async fn a_task_runs_what_it_enqueued() {
    let registry = memory();
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let fine = driver.enqueue(Double::job(&21).unwrap()).await.unwrap().id();
    let large = Double::job(&u32::MAX).unwrap().max_attempts(1);
    let large = driver.enqueue(large).await.unwrap().id();
    let worker = DurableWorker::builder(registry).queue("numbers", 2).task(Double).build().unwrap();
    worker.run_until_idle().await.unwrap();
    let row = driver.get(fine).await.unwrap().unwrap();
    assert_eq!((row.state, row.result_as(), &*row.queue), (State::Succeeded, Some(42), "numbers"));
    let row = driver.get(large).await.unwrap().unwrap();
    assert_eq!((row.state, row.error.as_deref()), (State::Dead, Some("too large")));
    assert!(worker.stop(PATIENCE).await.is_clean());
}

#[tokio::test]
async fn layers_run_around_every_handler_the_first_one_outermost() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noting = |name: &'static str| {
        let seen = Arc::clone(&seen);
        move |job: Job<()>, next: Next| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().unwrap().push(format!("{name} before {}", job.kind()));
                let ended = next.run().await;
                seen.lock().unwrap().push(format!("{name} after {}", ended.is_ok()));
                ended
            }
        }
    };
    let worker = DurableWorker::builder(memory())
        .around(noting("outer"))
        .around(noting("inner"))
        .handle("fine", |job: Job<u32>| async move { Ok(job.payload) })
        .handle("bad", |_: Job<u32>| async { Err::<(), _>(JobError::retry("bad")) })
        .handle_blocking("blocking", |job: Job<u32>| Ok(job.payload + 1))
        .build()
        .unwrap();
    for (kind, state, ok) in [
        ("fine", State::Succeeded, true),
        ("bad", State::Dead, false),
        ("blocking", State::Succeeded, true),
    ] {
        assert_eq!(once(&worker, kind).await.state, state);
        let expected = [
            format!("outer before {kind}"),
            format!("inner before {kind}"),
            format!("inner after {ok}"),
            format!("outer after {ok}"),
        ];
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), expected);
    }
    assert!(worker.stop(PATIENCE).await.is_clean());
}

#[tokio::test]
async fn a_layer_decides_how_a_job_ends_and_its_panic_is_contained() {
    let worker = DurableWorker::builder(memory())
        .around(|job, next: Next| {
            assert!(job.kind() != "panics at once", "at once");
            async move {
                match job.kind() {
                    "skipped" => Ended::new(&"from the layer"),
                    "refused" => Err(JobError::discard("not today")),
                    "panics" => panic!("in between"),
                    _ => next.run().await,
                }
            }
        })
        .handle("skipped", |_: Job<u32>| async { Ok("from the handler") })
        .handle("refused", |_: Job<u32>| async { Ok(()) })
        .handle("panics", |_: Job<u32>| async { Ok(()) })
        .handle("panics at once", |_: Job<u32>| async { Ok(()) })
        .build()
        .unwrap();
    let row = once(&worker, "skipped").await;
    assert_eq!(row.result_as::<String>().as_deref(), Some("from the layer"));
    let row = once(&worker, "refused").await;
    assert_eq!((row.state, row.error.as_deref()), (State::Failed, Some("not today")));
    for (kind, text) in [("panics", "in between"), ("panics at once", "at once")] {
        let row = once(&worker, kind).await;
        assert_eq!(row.state, State::Dead);
        assert!(row.error.unwrap().contains(text));
    }
    assert_eq!(worker.stats().panicked, 2);
    assert!(worker.stop(PATIENCE).await.is_clean());
}

#[tokio::test]
async fn a_blocking_handler_leaves_the_runtime_to_others_and_may_panic() {
    let (sender, receiver) = mpsc::channel();
    let receiver = Mutex::new(receiver);
    let worker = DurableWorker::builder(memory())
        .handle_blocking("waits", move |_: Job<u32>| {
            Ok(receiver.lock().unwrap().recv_timeout(PATIENCE).unwrap())
        })
        .handle("sends", move |job: Job<u32>| {
            let sender = sender.clone();
            async move {
                sender.send(job.payload).unwrap();
                Ok(())
            }
        })
        .handle_blocking("panics", |_: Job<u32>| -> Result<(), JobError> {
            panic!("off the runtime")
        })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone());
    let driver = runner.driver(Arc::clone(worker.registry()));
    let running = runner.spawn();
    // With one thread for all tasks: the second handler only runs if the first one does not hold it.
    let waits = driver.enqueue(NewJob::new("waits", &0_u32).unwrap()).await.unwrap().id();
    driver.enqueue(NewJob::new("sends", &7_u32).unwrap()).await.unwrap();
    let row = driver.wait(waits, PATIENCE).await.unwrap().unwrap();
    assert_eq!((row.state, row.result_as()), (State::Succeeded, Some(7)));
    let panics = NewJob::new("panics", &0_u32).unwrap().max_attempts(1);
    let panics = driver.enqueue(panics).await.unwrap().id();
    let row = driver.wait(panics, PATIENCE).await.unwrap().unwrap();
    assert!(row.error.unwrap().contains("the handler panicked: off the runtime"));
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test]
async fn a_blocking_handler_sees_that_it_is_to_stop() {
    let (sender, started) = mpsc::channel();
    let worker = DurableWorker::builder(memory())
        .grace(PATIENCE)
        .handle_blocking("heeds", move |job: Job<u32>| -> Result<(), JobError> {
            sender.send(()).unwrap();
            loop {
                if let Some(cause) = job.stop_cause() {
                    return Err(JobError::retry(format!("{cause:?}")));
                }
                // SLEEP: a handler that looks between its steps.
                std::thread::sleep(Duration::from_millis(1));
            }
        })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone());
    let driver = runner.driver(Arc::clone(worker.registry()));
    let running = runner.spawn();
    let id = driver.enqueue(NewJob::new("heeds", &0_u32).unwrap()).await.unwrap().id();
    tokio::task::spawn_blocking(move || started.recv_timeout(PATIENCE)).await.unwrap().unwrap();
    driver.cancel(id).await.unwrap();
    let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
    assert_eq!(row.state, State::Cancelled);
    assert!(row.error.unwrap().contains(&format!("{:?}", StopCause::Cancelled)));
    assert!(running.stop(PATIENCE).await.is_clean());
}

/// Lets a handler return, also when the test fails: its runtime waits for it.
struct Release(Arc<AtomicBool>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_blocking_handler_that_does_not_return_keeps_its_place() {
    let release = Release(Arc::default());
    let released = Arc::clone(&release.0);
    let worker = DurableWorker::builder(memory())
        .queue("default", 1)
        .grace(Duration::from_millis(50))
        .handle_blocking("deaf", move |_: Job<u32>| {
            while !released.load(Ordering::SeqCst) {
                // SLEEP: a handler that does not heed is what is tested.
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        })
        .handle("fine", |_: Job<u32>| async { Ok(()) })
        .build()
        .unwrap();
    let runner = WorkRunner::inline(worker.clone()).poll(Duration::from_millis(50));
    let driver = runner.driver(Arc::clone(worker.registry()));
    let running = runner.spawn();
    let deaf =
        NewJob::new("deaf", &0_u32).unwrap().timeout(Duration::from_millis(50)).max_attempts(1);
    let deaf = driver.enqueue(deaf).await.unwrap().id();
    let row = driver.wait(deaf, PATIENCE).await.unwrap().unwrap();
    assert_eq!(row.state, State::Dead, "{row:?}");
    assert_eq!(worker.stats().stuck, 1);
    let fine = driver.enqueue(NewJob::new("fine", &0_u32).unwrap()).await.unwrap().id();
    worker.claim_and_run_pending().await.unwrap();
    let waits = driver.get(fine).await.unwrap().unwrap();
    assert_eq!(waits.state, State::Ready, "the one place is taken by a thread that works");
    drop(release);
    let row = driver.wait(fine, PATIENCE).await.unwrap().unwrap();
    assert_eq!(row.state, State::Succeeded, "the place is free again");
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[test]
fn the_end_of_the_runtime_waits_for_a_blocking_handler_of_a_stopped_worker() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (start, started) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let returned = Arc::new(AtomicBool::new(false));
    let (released, returns) = (Mutex::new(released), Arc::clone(&returned));
    let report = runtime.block_on(async {
        let worker = DurableWorker::builder(memory())
            .handle_blocking("deaf", move |_: Job<()>| {
                start.send(()).unwrap();
                released.lock().unwrap().recv_timeout(PATIENCE).unwrap();
                returns.store(true, Ordering::SeqCst);
                Ok(())
            })
            .build()
            .unwrap();
        let driver = WorkDriver::producer(Arc::clone(worker.registry()));
        let running = WorkRunner::inline(worker).spawn();
        driver.enqueue(NewJob::new("deaf", &()).unwrap()).await.unwrap();
        tokio::task::spawn_blocking(move || started.recv_timeout(PATIENCE)).await.unwrap().unwrap();
        running.stop(Duration::from_millis(10)).await
    });
    assert!(!report.is_clean(), "it names the handler: {report}");
    assert!(!returned.load(Ordering::SeqCst), "its thread goes on");
    release.send(()).unwrap();
    drop(runtime);
    assert!(returned.load(Ordering::SeqCst), "the end of the runtime waited for it");
}
