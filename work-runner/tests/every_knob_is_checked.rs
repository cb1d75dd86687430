//! Every number and name that a caller can give is refused with a typed error, or works.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lastout_work_runner::{
    BuildError, DurableWorker, Job, LeaseTimings, MemoryRegistry, NewJob, Query, Registry, State,
    StoreErrorKind, WorkDriver, WorkRunner, WorkerBuilder,
};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn builder() -> WorkerBuilder {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    DurableWorker::builder(registry).handle("any", |_: Job<()>| async { Ok(()) })
}

fn refused(builder: WorkerBuilder) -> BuildError {
    builder.build().unwrap_err()
}

#[test]
fn a_queue_named_twice_is_refused() {
    let error = refused(builder().queue("one", 5).queue("two", 1).queue("one", 5));
    assert!(matches!(&error, BuildError::DuplicateQueue(queue) if queue == "one"), "{error}");
}

#[test]
fn numbers_at_their_ends_are_refused_by_name() {
    assert!(matches!(refused(builder().queue("none", 0)), BuildError::NoQueue));
    let many = refused(builder().queue("all", usize::MAX));
    assert!(matches!(many, BuildError::TooMany { count: usize::MAX, .. }), "{many}");
    assert!(matches!(refused(builder().prefetch(usize::MAX)), BuildError::TooMany { .. }));
    let longest = Duration::MAX;
    let endless = LeaseTimings::new(longest, longest / 3).unwrap();
    for knob in [
        builder().lease(endless),
        builder().grace(longest),
        builder().store_timeout(longest),
        builder().store_timeout(Duration::ZERO),
        builder().wedged_after(longest),
        builder().wedged_after(Duration::ZERO),
    ] {
        let error = refused(knob);
        assert!(matches!(error, BuildError::OutOfRange { .. }), "{error}");
    }
}

#[test]
fn names_that_no_job_can_have_are_refused() {
    let long = "x".repeat(1025);
    for name in ["a\0b", &*long] {
        let error = refused(builder().queue(name, 1));
        assert!(matches!(error, BuildError::BadName(_)), "{error}");
        let error = refused(builder().handle(name, |_: Job<()>| async { Ok(()) }));
        assert!(matches!(error, BuildError::BadName(_)), "{error}");
    }
}

#[tokio::test]
async fn what_is_not_refused_works_at_its_ends() {
    for keep in [Some(Duration::ZERO), Some(Duration::MAX), None] {
        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
        let worker = DurableWorker::builder(Arc::clone(&registry))
            .keep_ended(keep)
            .keep_unhappy(keep)
            .grace(Duration::ZERO)
            .handle("any", |_: Job<()>| async { Ok(()) })
            .build()
            .unwrap();
        for poll in [Duration::ZERO, Duration::MAX] {
            let _ = format!("{:?}", WorkRunner::inline(worker.clone()).poll(poll));
        }
        let running = WorkRunner::inline(worker).poll(Duration::MAX).spawn();
        let driver = WorkDriver::producer(registry);
        let job = NewJob::raw("any", b"null".to_vec())
            .timeout(Duration::MAX)
            .own_lease(Duration::MAX)
            .priority(i16::MAX)
            .max_attempts(0)
            .max_crashes(0);
        let id = driver.enqueue(job).await.unwrap().id();
        if let Some(row) = driver.wait(id, Duration::MAX).await.unwrap() {
            assert_eq!(row.state, State::Succeeded, "{row:?}");
        }
        let late = NewJob::raw("any", Vec::new()).delay(Duration::MAX).priority(i16::MIN);
        let late = driver.enqueue(late).await.unwrap().id();
        let early = NewJob::raw("any", b"null".to_vec()).run_at(SystemTime::UNIX_EPOCH);
        driver.enqueue(early).await.unwrap();
        assert_eq!(driver.get(late).await.unwrap().unwrap().state, State::Scheduled);
        assert!(!driver.list(Query::all().limit(usize::MAX)).await.unwrap().is_empty());
        let report = running.stop(Duration::MAX).await;
        assert!(report.is_clean(), "{report}");
    }
}

#[tokio::test]
async fn what_no_store_can_keep_is_refused_before_it_is_stored() {
    let registry = MemoryRegistry::new().max_bytes(1000);
    let driver = WorkDriver::producer(Arc::new(registry));
    let long = "x".repeat(1025);
    let job = || NewJob::raw("any", vec![0; 1000]);
    for bad in [
        NewJob::raw("any", vec![0; 1001]),
        NewJob::raw("nul\0", Vec::new()),
        job().queue("nul\0"),
        job().unique(long.clone()),
        job().limit(long.clone(), 1),
        job().queue(long.clone()),
    ] {
        let error = driver.enqueue(bad.clone()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{error}");
        let put = driver.put_periodic("bad", "* * * * *", bad).await.unwrap_err();
        assert!(format!("{put:?}").contains("Invalid"), "{put:?}");
    }
    driver.enqueue(job().unique(&long[1..])).await.unwrap();
    assert!(driver.periodic().await.unwrap().is_empty());
    assert_eq!(driver.list(Query::all()).await.unwrap().len(), 1);
}
