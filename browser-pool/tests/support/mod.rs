//! What the tests on the fake driver share.
#![allow(dead_code, reason = "each test file uses its own part")]

use lastout_browser_pool::testing::FakeDriver;
use lastout_browser_pool::{Driver, Pool, PoolConfigBuilder, Stats};
use std::future::Future;
use std::time::Duration;

/// Generous, because the machine is shared: nothing waits so long unless something is wrong.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A pool on a fresh fake.
pub(crate) fn pool(config: PoolConfigBuilder) -> (Pool<FakeDriver>, FakeDriver) {
    let fake = FakeDriver::new();
    let config = config.build().expect("the test's configuration is valid");
    (Pool::start(fake.clone(), config).expect("in a runtime"), fake)
}

/// Yields until the condition holds; panics with the last statistics when it never does.
pub(crate) async fn until<D: Driver>(
    pool: &Pool<D>,
    what: &str,
    mut holds: impl FnMut(&Stats) -> bool,
) {
    let reached = tokio::time::timeout(LONG, async {
        while !holds(&pool.stats()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    if reached.await.is_err() {
        panic!("never: {what}; the pool is {:#?}", pool.stats());
    }
}

/// The future's value, or a panic that says what did not happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("never: {what}"),
    }
}

/// Drains, and asserts that nothing is left and every lease has one outcome.
pub(crate) async fn assert_clean_end(pool: &Pool<FakeDriver>, fake: &FakeDriver) {
    let report = soon("the drain", pool.drain(LONG)).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(fake.alive(), Default::default(), "nothing is alive after the drain");
    let stats = pool.stats();
    assert_eq!(stats.out, 0);
    assert_eq!(stats.asked, stats.granted + stats.refused + stats.cancelled);
}
