//! What several tests need: folders that go away, and patience.
#![allow(dead_code, reason = "each test uses its part")]

#[cfg(feature = "postgres")]
pub(crate) mod database;
pub(crate) mod faulty;
pub(crate) mod history;
pub(crate) mod older_versions;
pub(crate) mod poison;
#[cfg(feature = "postgres")]
pub(crate) mod server;
pub(crate) mod trickle;
pub(crate) mod worker_process;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of its own, removed with its content.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lastout-work-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        #[allow(clippy::disallowed_methods, reason = "only this test wrote into it")]
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits for a condition; fails with `what` when it does not come true.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < until, "{what} within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
