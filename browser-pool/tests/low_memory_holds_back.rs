//! With little free memory a pool makes one thing at a time, and nothing ahead, but never nothing.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use lastout_browser_pool::{AcquireError, LeaseOptions, PoolConfig, Waiting};
use std::time::Duration;
use support::{assert_clean_end, pool, soon};

#[tokio::test(start_paused = true)]
async fn one_lease_at_a_time() {
    // No machine has so much.
    let config = PoolConfig::builder().min_free_memory(Some(u64::MAX)).spares(4);
    let (pool, fake) = pool(config);
    // The first look at the memory comes with the pool's own first task.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let held = soon("a first lease", pool.page()).await.unwrap();
    let second = LeaseOptions::new().deadline(Duration::from_secs(3));
    let error = pool.page_with(second).await.unwrap_err();
    let AcquireError::Deadline { waiting, .. } = error else { panic!("{error}") };
    assert_eq!(waiting, Waiting::Memory);
    assert_eq!(pool.stats().spares, 0, "nothing is made ahead");
    held.release();
    soon("the next lease", pool.page()).await.unwrap().release();
    assert_clean_end(&pool, &fake).await;
}
