//! Drain, destroy and drop end every browser, on time, with or without a runtime.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, on tasks and threads of its own"
)]

mod support;

use lastout_browser_pool::testing::FakeDriver;
use lastout_browser_pool::{AcquireError, LeaseOptions, LeftBehind, Loss, Pool, PoolConfig};
use std::time::Duration;
use support::{LONG, assert_clean_end, pool, soon, until};

#[tokio::test(start_paused = true)]
async fn drain_waits_for_leases_and_refuses_new_ones() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(2));
    let page = pool.page().await.unwrap();
    let drain = pool.drain(LONG);
    let release = async {
        until(&pool, "the pool to drain", |stats| stats.retiring == 1).await;
        assert!(matches!(pool.page().await, Err(AcquireError::Closed)));
        assert_eq!(page.call(Duration::from_secs(20)).await, Ok(()), "the lease is still good");
        page.release();
    };
    let (report, ()) = tokio::join!(drain, release);
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.leases(), report.returned(), report.revoked()), (1, 1, 0));
    assert_eq!(report.browsers().len(), 1);
    assert_eq!(fake.alive().browsers, 0);
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test(start_paused = true)]
async fn drain_revokes_at_its_deadline() {
    let (pool, fake) = pool(PoolConfig::builder());
    let page = pool.page().await.unwrap();
    let report = pool.drain(Duration::from_secs(3)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.revoked(), 1);
    assert_eq!(page.loss(), Some(Loss::Closed));
    assert_eq!(fake.alive().browsers, 0);
}

#[tokio::test(start_paused = true)]
async fn destroy_calls_off_launches_and_refuses_waiters() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1));
    fake.script(|script| script.launch_hangs = true);
    let acquire = pool.page();
    let destroy = async {
        until(&pool, "the launch to begin", |stats| stats.launching == 1).await;
        pool.destroy_all(LONG).await
    };
    let (acquired, report) = tokio::join!(acquire, destroy);
    assert!(matches!(acquired, Err(AcquireError::Closed)), "{acquired:?}");
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_behind_is_reported() {
    let (pool, fake) = pool(PoolConfig::builder());
    fake.script(|script| script.leave_directory = true);
    pool.page().await.unwrap().release();
    let report = pool.destroy_all(LONG).await;
    assert!(!report.is_clean());
    assert!(matches!(report.left_behind(), [LeftBehind::Directory { .. }]), "{report}");
    assert_eq!(pool.stats().quarantined, 1);
}

#[tokio::test(start_paused = true)]
async fn a_browser_lease_ends_its_browser_and_reports_it() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(1).spares(0));
    let lease = soon("a browser", pool.browser()).await.unwrap();
    let number = lease.browser();
    assert_eq!(*lease, number, "the lease derefs to the driver's handle");
    let report = soon("the end", lease.close()).await;
    assert_eq!(report.browser(), number);
    assert_eq!(report.reason().map(|reason| reason.name()), Some("lease ended"));
    assert_eq!(fake.alive().browsers, 0);
    assert_ne!(pool.browser().await.unwrap().browser(), number, "no browser serves twice");
    assert_clean_end(&pool, &fake).await;
}

#[tokio::test]
async fn the_last_handle_ends_everything_before_its_drop_returns() {
    let (pool, fake) = pool(PoolConfig::builder().max_browsers(2).warm_browsers(2));
    until(&pool, "the warm browsers", |stats| stats.ready == 2).await;
    let page = pool.page().await.unwrap();
    let other = pool.clone();
    drop(pool);
    assert_eq!(fake.alive().browsers, 2, "another handle is there");
    drop(other);
    assert_eq!(fake.alive().browsers, 0, "the last handle is gone");
    assert_eq!(page.loss(), Some(Loss::Closed));
    drop(page);
}

#[test]
fn a_pool_whose_runtime_is_gone_leaves_nothing_and_says_so() {
    let fake = FakeDriver::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (pool, page) = first.block_on(async {
        let pool = Pool::start(fake.clone(), PoolConfig::default()).unwrap();
        let page = pool.page().await.unwrap();
        (pool, page)
    });
    drop(first);
    assert_eq!(fake.alive().browsers, 0, "the supervisor went with its runtime");
    assert_eq!(page.loss(), Some(Loss::Closed));
    drop(page);
    let error = runtime().block_on(pool.page()).unwrap_err();
    assert!(matches!(error, AcquireError::RuntimeGone), "{error}");
    let stats = pool.stats();
    assert_eq!((stats.granted, stats.returned + stats.revoked), (1, 1));
    drop(pool);
}

#[test]
fn a_runtime_that_ends_before_its_tasks_began_leaves_no_slot() {
    let fake = FakeDriver::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let config = PoolConfig::builder().warm_browsers(2).build().unwrap();
    let pool = {
        let _entered = first.enter();
        Pool::start(fake.clone(), config).unwrap()
    };
    drop(first);
    assert_eq!(pool.stats().launching, 0, "nobody will ever launch them");
    let report = runtime().block_on(async { soon("the drain", pool.drain(LONG * 2)).await });
    assert!(report.is_clean(), "{report}");
    assert_eq!(fake.launched(), 0);
}

#[tokio::test(start_paused = true)]
async fn limits_that_mean_never() {
    let never = Duration::MAX;
    let config = PoolConfig::builder().acquire_timeout(never).launch_timeout(never);
    let config = config.op_timeout(never).close_timeout(never).idle_timeout(Some(never));
    let config = config.max_age(Some(never)).retire_limit(Some(never)).probe_timeout(never);
    let (pool, fake) = pool(config.backoff_most(never).max_browsers(1));
    fake.script(|script| script.failing_launches = 1);
    let page = pool.page_with(LeaseOptions::new().deadline(never)).await.unwrap();
    assert_eq!(page.run(never, page.call(Duration::ZERO)).await.unwrap(), Ok(()));
    pool.retire(page.browser());
    page.release();
    let report = soon("the drain", pool.drain(never)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(fake.alive().browsers, 0);
}

#[test]
fn a_drop_on_a_plain_thread_in_an_unwind_ends_everything() {
    let fake = FakeDriver::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (pool, page) = runtime.block_on(async {
        let pool = Pool::start(fake.clone(), PoolConfig::default()).unwrap();
        let page = pool.page().await.unwrap();
        (pool, page)
    });
    let unwound = std::thread::spawn(move || {
        let _held = (pool, page);
        panic!("scripted");
    })
    .join();
    assert!(unwound.is_err());
    assert_eq!(fake.alive().browsers, 0);
    drop(runtime);
}
