//! What every user relies on: handles, leases, errors and futures may cross threads.
#![allow(clippy::unwrap_used, reason = "a test")]

use lastout_browser_pool::testing::{FakeDriver, FakePage};
use lastout_browser_pool::{
    AcquireError, BrowserLease, BrowserReport, ConfigError, ContextLease, ContextPage, LaunchError,
    LeaseOptions, Loss, OpError, PageLease, Pool, PoolConfig, PoolReport, StartError, Stats,
    WithPageError,
};
use std::fmt::Debug;

fn shared<T: Send + Sync + Debug>() {}
fn sent<T: Send>(_: &T) {}

#[test]
fn of_the_public_types() {
    shared::<Pool<FakeDriver>>();
    shared::<PageLease<FakeDriver>>();
    shared::<ContextLease<FakeDriver>>();
    shared::<ContextPage<'_, FakeDriver>>();
    shared::<BrowserLease<FakeDriver>>();
    shared::<(PoolConfig, LeaseOptions, Stats, PoolReport, BrowserReport, Loss)>();
    shared::<(ConfigError, StartError, AcquireError, LaunchError, OpError)>();
    shared::<WithPageError<String>>();
}

#[tokio::test]
async fn of_the_futures() {
    let pool = Pool::start(FakeDriver::new(), PoolConfig::default()).unwrap();
    sent(&pool.page());
    sent(&pool.context());
    sent(&pool.browser());
    sent(&pool.drain(std::time::Duration::ZERO));
    sent(&pool.with_page(async |_: &FakePage| Ok::<(), String>(())));
}
