//! What is shown to the caller beside the streams: every line, and copies.

use super::CopyFailed;
use super::copy::task::Copy;
use crate::consume::{Consumer, ConsumerError};
use std::future::Future;
use tokio::time::Instant;

/// What became of the callback for every line, and of the copies.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) hook: Option<Consumer<Result<(), ConsumerError>>>,
    pub(super) failure: Option<ConsumerError>,
    /// Those that are still made, and those that failed.
    pub(super) copies: Vec<Copy>,
    pub(super) failed: Vec<CopyFailed>,
}

impl Shown {
    /// Waits until every byte is copied, or will not be: until `until` at the latest, if there is a limit.
    pub(super) async fn copied(&mut self, until: Option<Instant>) -> Vec<CopyFailed> {
        let (copies, failed) = (&mut self.copies, &mut self.failed);
        let all = async {
            while let Some(copy) = copies.first_mut() {
                failed.extend(copy.wait().await);
                copies.remove(0);
            }
        };
        if before(until, all).await.is_none() {
            self.copies.iter().for_each(Copy::stop);
        }
        while let Some(copy) = self.copies.first_mut() {
            self.failed.extend(copy.wait().await);
            self.copies.remove(0);
        }
        self.failed.clone()
    }

    /// Waits until every line was shown, or will not be. A callback that does not return is left behind.
    pub(super) async fn wait(&mut self, until: Option<Instant>) -> Option<ConsumerError> {
        if let Some(hook) = &mut self.hook {
            self.failure = match before(until, hook.wait()).await {
                Some(Ok(shown)) => shown.err(),
                Some(Err(error)) => Some(error),
                None => Some(ConsumerError::Aborted),
            };
            self.hook = None;
        }
        self.failure.clone()
    }
}

/// What `work` gives, if it does so in time.
pub(super) async fn before<T>(until: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match until {
        Some(until) => tokio::time::timeout_at(until, work).await.ok(),
        None => Some(work.await),
    }
}
