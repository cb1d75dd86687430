//! Hooks tell each turn of a browser's and a lease's life once, in order.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test, on tasks of its own")]

mod support;

use lastout_browser_pool::testing::FakeDriver;
use lastout_browser_pool::{
    BrowserReport, EndReason, Hooks, LaunchError, LaunchProfile, LeaseInfo, Loss, Pool, PoolConfig,
    UnitSpec,
};
use std::sync::{Arc, Mutex};
use support::{assert_clean_end, soon, until};

#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Hooks for Log {
    fn before_launch(&self, _: u64, profile: &mut LaunchProfile) {
        *profile = std::mem::take(profile).arg("--from-the-hook");
        self.note("before launch");
    }

    fn after_launch(&self, _: u64, error: Option<&LaunchError>) {
        self.note(if error.is_some() { "launch failed" } else { "launched" });
    }

    fn on_lease(&self, lease: &LeaseInfo) {
        assert!(matches!(lease.unit, UnitSpec::Page(_)), "{lease:?}");
        self.note("leased");
    }

    fn on_release(&self, _: &LeaseInfo, loss: Option<&Loss>) {
        self.note(if loss.is_some() { "lost" } else { "released" });
    }

    fn on_retire(&self, _: u64, reason: &EndReason) {
        self.note(format!("retired: {}", reason.name()));
    }

    fn on_end(&self, report: &BrowserReport) {
        self.note(format!("ended: {}", report.reason().unwrap().name()));
    }
}

#[tokio::test(start_paused = true)]
async fn by_hooks() {
    let (fake, log) = (FakeDriver::new(), Arc::new(Log::default()));
    let config = PoolConfig::builder().max_browsers(1).spares(0).build().unwrap();
    let pool = Pool::start_with(fake.clone(), config, log.clone()).unwrap();
    fake.script(|script| script.failing_launches = 1);
    let page = pool.page().await.unwrap();
    assert_eq!(
        log.taken(),
        ["before launch", "launch failed", "before launch", "launched", "leased"]
    );
    assert_eq!(fake.profiles(), [LaunchProfile::new().arg("--from-the-hook")]);
    pool.retire(page.browser());
    page.release();
    until(&pool, "the end of the retired", |stats| stats.ended.get("asked") == Some(&1)).await;
    assert_eq!(log.taken(), ["retired: asked", "released", "ended: asked"]);
    let page = pool.page().await.unwrap();
    fake.crash(page.browser());
    soon("the loss", page.lost()).await;
    drop(page);
    until(&pool, "the end of the lost", |stats| stats.ended.get("lost") == Some(&1)).await;
    let mut seen = log.taken();
    // The lease comes back whenever its holder lets go.
    seen[3..].sort();
    assert_eq!(seen, ["before launch", "launched", "leased", "ended: lost", "lost"]);
    assert_clean_end(&pool, &fake).await;
}

/// Panics in every hook, with a payload that panics when it is dropped.
#[derive(Debug)]
struct Bombs;

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        explode();
    }
}

/// Not by `panic!`, which prints a backtrace.
fn explode() {
    std::panic::resume_unwind(Box::new(Bomb));
}

impl Hooks for Bombs {
    fn before_launch(&self, _: u64, profile: &mut LaunchProfile) {
        *profile = LaunchProfile::new();
        explode();
    }

    fn after_launch(&self, _: u64, _: Option<&LaunchError>) {
        explode();
    }

    fn on_lease(&self, _: &LeaseInfo) {
        explode();
    }

    fn on_release(&self, _: &LeaseInfo, _: Option<&Loss>) {
        explode();
    }

    fn on_retire(&self, _: u64, _: &EndReason) {
        explode();
    }

    fn on_end(&self, _: &BrowserReport) {
        explode();
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_changes_nothing_whatever_its_payload_does() {
    let fake = FakeDriver::new();
    let profile = LaunchProfile::new().proxy("socks5://127.0.0.1:9");
    let config = PoolConfig::builder().max_browsers(1).profile(profile.clone()).build().unwrap();
    let pool = Pool::start_with(fake.clone(), config, Arc::new(Bombs)).unwrap();
    fake.script(|script| script.failing_launches = 1);
    for _ in 0..2 {
        let page = pool.page().await.unwrap();
        pool.retire(page.browser());
        page.release();
    }
    assert!(fake.profiles().iter().all(|started| *started == profile), "{:?}", fake.profiles());
    let stats = pool.stats();
    assert_eq!((stats.lost, stats.granted), (0, 2), "{stats:?}");
    assert_clean_end(&pool, &fake).await;
}
