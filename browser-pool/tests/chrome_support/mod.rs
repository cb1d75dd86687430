//! What the tests on real browsers share: the browsers, a web server, and an oracle for what is left.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]

pub(crate) mod endings;
pub(crate) mod losses;
mod oracle;
pub(crate) mod owner;
mod server;

pub(crate) use oracle::Oracle;
pub(crate) use server::Server;

use lastout_browser_pool::{
    BrowserPool, Chrome, ChromeBuilder, PoolConfig, PoolConfigBuilder, Sandbox, Stats,
};
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

/// Generous, because the machine is shared: nothing waits so long unless something is wrong.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The executables to test with: `LASTOUT_CHROME`, and `LASTOUT_CHROME_HEADLESS_SHELL` when set.
pub(crate) fn engines() -> Vec<PathBuf> {
    let named = |name| std::env::var_os(name).map(PathBuf::from);
    let chrome = named("LASTOUT_CHROME").expect("LASTOUT_CHROME names the browser to test with");
    [Some(chrome), named("LASTOUT_CHROME_HEADLESS_SHELL")].into_iter().flatten().collect()
}

/// A driver for this executable below the oracle's root.
pub(crate) fn builder(engine: &std::path::Path, oracle: &Oracle) -> ChromeBuilder {
    Chrome::builder().executable(engine).sandbox(sandbox()).root(oracle.root())
}

/// On in the unprivileged run of `cargo xtask e2e`, which sets `LASTOUT_TEST_SANDBOX`; root cannot have it.
pub(crate) fn sandbox() -> Sandbox {
    match std::env::var_os("LASTOUT_TEST_SANDBOX") {
        Some(_) => Sandbox::Required,
        None => Sandbox::Disabled,
    }
}

/// The default limits, but as patient as the tests: a busy machine is no fault of a browser.
pub(crate) fn patient() -> PoolConfigBuilder {
    let config = PoolConfig::builder().acquire_timeout(LONG).launch_timeout(LONG);
    config.probe_timeout(LONG)
}

/// A pool on this executable.
pub(crate) fn pool(engine: &std::path::Path, oracle: &Oracle, config: PoolConfig) -> BrowserPool {
    let chrome = builder(engine, oracle).build().expect("a driver");
    BrowserPool::start(chrome, config).expect("in a runtime")
}

/// The future's value, or a panic that says what did not happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("never: {what}"),
    }
}

/// Waits until the condition holds; panics with the last statistics when it never does.
pub(crate) async fn until(pool: &BrowserPool, what: &str, mut holds: impl FnMut(&Stats) -> bool) {
    let reached = tokio::time::timeout(LONG, async {
        while !holds(&pool.stats()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    if reached.await.is_err() {
        panic!("never: {what}; the pool is {:#?}", pool.stats());
    }
}

/// Drains the pool, and asserts that nothing at all is left of it.
pub(crate) async fn assert_clean_end(pool: BrowserPool, oracle: &Oracle) {
    let report = soon("the drain", pool.drain(LONG)).await;
    assert!(report.is_clean(), "{report}");
    oracle.assert_no_process();
    oracle.assert_no_browser_directory();
    drop(pool);
    oracle.assert_nothing();
}
