//! Without descriptors no browser starts; nothing of it is left, and the reason is told.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts and ends real processes"
)]

mod chrome_support;

use chrome_support::{LONG, Oracle, assert_clean_end, engines, patient, pool, soon};
use lastout_browser_pool::{AcquireError, BrowserPool, LaunchError, LeaseOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::time::Duration;

/// Leaves this process that many descriptors, until it is dropped.
struct Scarce {
    before: Rlimit,
    _fill: Vec<File>,
}

impl Scarce {
    fn leave(free: usize) -> Self {
        let before = getrlimit(Resource::Nofile);
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let open = open.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
        let highest = open.max().unwrap_or(2);
        // The limit is on the numbers, and there may be free ones below the highest.
        let few = Rlimit { current: Some(highest + 32), ..before };
        setrlimit(Resource::Nofile, few).unwrap();
        let mut fill: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        fill.truncate(fill.len() - free);
        Self { before, _fill: fill }
    }
}

impl Drop for Scarce {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.before).unwrap();
    }
}

/// Asks until the answer is that of a launch of its own: while the circuit is open, the pool answers with
/// the error of the launch before.
async fn tried<T>(
    pool: &BrowserPool,
    mut ask: impl AsyncFnMut() -> Result<T, AcquireError>,
) -> Result<T, AcquireError> {
    let answer = async {
        loop {
            let failures = pool.stats().launch_failures;
            let answer = ask().await;
            let is_old = matches!(answer, Err(AcquireError::Launch(_)))
                && pool.stats().launch_failures == failures;
            if !is_old {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("an answer", answer).await
}

/// Alone in its file: the limit holds for the whole process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_any_number_of_free_descriptors() {
    for engine in engines() {
        let oracle = Oracle::new();
        let config = patient().max_browsers(1).circuit_after(1).spares(0);
        let config = config.backoff_first(Duration::from_millis(1));
        let config = config.backoff_most(Duration::from_millis(1)).build().unwrap();
        let pool = pool(&engine, &oracle, config);
        for free in 0..24 {
            let scarce = Scarce::leave(free);
            // A browser of its own each time, so that each number is tried by a launch and by an end.
            let ask = async || pool.browser_with(LeaseOptions::new().deadline(LONG)).await;
            let answer = match tried(&pool, ask).await {
                // What cannot be removed for want of descriptors is reported, and removed in the end.
                Ok(browser) => Ok(tokio::time::timeout(LONG, browser.close()).await.map(drop)),
                Err(error) => Err(error),
            };
            drop(scarce);
            match answer {
                Ok(closed) => closed.expect("an end"),
                Err(AcquireError::Launch(error)) => {
                    let wrong = matches!(*error, LaunchError::CalledOff | LaunchError::Panicked);
                    assert!(!wrong, "with {free} free descriptors: {error}");
                }
                Err(error) => panic!("with {free} free descriptors: {error}"),
            }
        }
        tried(&pool, async || pool.page().await).await.unwrap().release();
        assert_clean_end(pool, &oracle).await;
    }
}
