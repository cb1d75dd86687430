//! A thousand leases through two browsers that are killed at random: each ends in one count, and the
//! whole capacity is there afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, on tasks and threads of its own"
)]

mod support;

use lastout_browser_pool::{
    AcquireError, Hooks, Isolation, LeaseInfo, LeaseOptions, Loss, Pool, PoolConfig,
    testing::FakeDriver,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{LONG, assert_clean_end, soon, until};

#[derive(Debug, Default)]
struct Tally {
    leased: AtomicU64,
    released: AtomicU64,
    lost: AtomicU64,
}

impl Hooks for Tally {
    fn on_lease(&self, _: &LeaseInfo) {
        self.leased.fetch_add(1, Ordering::Relaxed);
    }

    fn on_release(&self, _: &LeaseInfo, loss: Option<&Loss>) {
        self.released.fetch_add(1, Ordering::Relaxed);
        let lost = u64::from(loss.is_some());
        if self.lost.fetch_add(lost, Ordering::Relaxed) + lost == 1 {
            // A hook that panics changes nothing. Not by `panic!`, which prints a backtrace.
            std::panic::resume_unwind(Box::new("scripted"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_of_kills() {
    for isolation in [Isolation::Context, Isolation::Page, Isolation::Browser] {
        let fake = FakeDriver::new();
        let tally = Arc::new(Tally::default());
        let config = PoolConfig::builder()
            .max_browsers(2)
            .max_contexts(4)
            .spares(2)
            .max_leases(Some(50))
            .isolation(isolation)
            .backoff_first(Duration::from_millis(1))
            .backoff_most(Duration::from_millis(1))
            .circuit_after(1_000_000)
            .acquire_timeout(LONG)
            .build()
            .unwrap();
        let pool = Pool::start_with(fake.clone(), config, tally.clone()).unwrap();
        let mut callers = Vec::new();
        for caller in 0..10_u64 {
            let (pool, fake) = (pool.clone(), fake.clone());
            callers.push(tokio::spawn(async move {
                for round in 0..100_u64 {
                    let page = pool.page().await.unwrap();
                    match (caller * 7 + round * 13) % 29 {
                        0 => drop(fake.crash(page.browser())),
                        1 => fake.crash_page(&page),
                        2 => drop(page.call(Duration::from_micros(300)).await),
                        3 => page.discard(),
                        _ if round % 3 == 0 => page.release(),
                        _ => drop(page),
                    }
                }
            }));
        }
        for caller in callers {
            soon("the callers to end", caller).await.unwrap();
        }
        let stats = pool.stats();
        assert_eq!(stats.granted, 1000);
        assert_eq!(stats.returned + stats.revoked, 1000);
        let most = if isolation == Isolation::Browser { 2 } else { 8 };
        let total = 1000 + full_capacity(&pool, most).await;
        until(&pool, "all to be back", |stats| stats.out == 0).await;
        let (leased, released) =
            (tally.leased.load(Ordering::Relaxed), tally.released.load(Ordering::Relaxed));
        assert_eq!((leased, released), (total, total));
        assert_clean_end(&pool, &fake).await;
    }
}

/// Holds as many leases at once as the limits allow, and returns how many were taken until it did.
///
/// A browser that gives its last lease on the way keeps its place until all its leases are back, so the
/// capacity is less until then. They are given back, and a fresh browser takes the place: each of the two
/// browsers can do that once.
async fn full_capacity(pool: &Pool<FakeDriver>, most: usize) -> u64 {
    let mut taken = 0;
    for _ in 0..3 {
        let mut held = Vec::new();
        while held.len() < most {
            let retired = until(pool, "full capacity", |stats| stats.retiring > 0);
            tokio::select! {
                biased;
                page = pool.page() => held.push(page.unwrap()),
                () = retired => break,
            }
        }
        taken += held.len() as u64;
        if held.len() == most {
            return taken;
        }
        drop(held);
        until(pool, "the retired browser to end", |stats| stats.retiring == 0).await;
    }
    panic!("never at full capacity: {:#?}", pool.stats());
}

#[tokio::test(start_paused = true)]
async fn a_try_takes_from_stock_alone() {
    let config = PoolConfig::builder().max_browsers(1).spares(1).max_contexts(1);
    let fake = FakeDriver::new();
    let pool = Pool::start(fake.clone(), config.build().unwrap()).unwrap();
    let options = LeaseOptions::new;
    assert!(pool.try_page(options()).unwrap().is_none());
    assert_eq!(pool.stats().launches, 0, "nothing is launched for it");
    pool.page().await.unwrap().release();
    while pool.stats().spares == 0 {
        tokio::task::yield_now().await;
    }
    let page = pool.try_page(options()).unwrap().unwrap();
    assert!(pool.try_page(options()).unwrap().is_none(), "it is the only one");
    page.release();
    let title = pool.with_page_with(options().tenant("a"), async |page| {
        page.call(Duration::ZERO).await.map(|()| 7)
    });
    assert_eq!(title.await.unwrap(), 7);
    assert!(pool.drain(LONG).await.is_clean());
    assert!(matches!(pool.try_page(options()), Err(AcquireError::Closed)));
    let stats = pool.stats();
    assert_eq!(stats.asked, stats.granted + stats.refused + stats.cancelled);
    assert_eq!((stats.granted, stats.returned, stats.from_stock), (3, 3, 1));
}
