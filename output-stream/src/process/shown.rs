//! What is shown to the caller beside the streams: every line, and copies.

use super::CopyFailed;
use super::copy::task::Copy;
use crate::consume::{Consumer, ConsumerError};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::task::unconstrained;
use tokio::time::timeout_at;

/// What a copy has to write its last bytes when it is to stop. It may be in a write that never returns: that one is left
/// behind.
const LAST: Duration = Duration::from_secs(1);

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
            let last = until.and_then(|until| until.checked_add(LAST));
            while let Some(copy) = self.copies.first_mut() {
                self.failed.extend(match before(last, copy.wait()).await {
                    Some(failed) => failed,
                    None => Some(copy.give_up()),
                });
                self.copies.remove(0);
            }
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

/// What `work` gives, if it does so in time. What is ready by then counts, even where the caller has used up its turn.
pub(super) async fn before<T>(until: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match until {
        Some(until) => timeout_at(until.into(), unconstrained(work)).await.ok(),
        None => Some(work.await),
    }
}
