//! Without descriptors no browser starts; nothing of it is left, and the reason is told.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{LONG, Oracle, assert_clean_end, engines, patient, pool, soon};
use lastout_browser_pool::{AcquireError, LaunchError, LeaseOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;

/// The highest descriptor of this process.
fn highest() -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max().unwrap_or(2)
}

/// Alone in its file: the limit holds for the whole process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_any_number_of_free_descriptors() {
    let engine = engines().pop().unwrap();
    let oracle = Oracle::new();
    let config = patient().max_browsers(1).circuit_after(1).spares(0);
    let config = config.backoff_first(Duration::from_millis(1));
    let config = config.backoff_most(Duration::from_millis(1)).build().unwrap();
    let pool = pool(&engine, &oracle, config);
    let before = getrlimit(Resource::Nofile);
    for free in 0..24 {
        let few = Rlimit { current: Some(highest() + 1 + free), ..before };
        setrlimit(Resource::Nofile, few).unwrap();
        let asked = pool.page_with(LeaseOptions::new().deadline(LONG));
        let asked = tokio::time::timeout(LONG, asked).await;
        setrlimit(Resource::Nofile, before).unwrap();
        match asked.expect("an answer") {
            Ok(page) => page.release(),
            Err(AcquireError::Launch(error)) => {
                let wrong = matches!(*error, LaunchError::CalledOff | LaunchError::Panicked);
                assert!(!wrong, "with {free} free descriptors: {error}");
            }
            Err(error) => panic!("with {free} free descriptors: {error}"),
        }
        pool.stats();
    }
    soon("a page", pool.page()).await.unwrap().release();
    assert_clean_end(pool, &oracle).await;
}
