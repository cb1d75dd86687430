//! What is shown to the caller beside the streams: every line, and copies.

use super::CopyFailed;
use super::REST;
use super::copy::task::Copy;
use crate::consume::{Consumer, ConsumerError};
use crate::error::SubscribeError;

/// What became of the callback for every line, and of the copies.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) hook: Option<Consumer<Result<(), SubscribeError>>>,
    pub(super) failure: Option<ConsumerError>,
    /// Those that are still made, and those that failed.
    pub(super) copies: Vec<Copy>,
    pub(super) failed: Vec<CopyFailed>,
}

impl Shown {
    /// Waits until every byte is copied, or will not be. A process that was stopped leaves its copies a bounded time.
    pub(super) async fn copied(&mut self, was_stopped: bool) -> Vec<CopyFailed> {
        if was_stopped {
            let copies = &mut self.copies;
            let failed = &mut self.failed;
            let all = async {
                while let Some(copy) = copies.first_mut() {
                    failed.extend(copy.wait().await);
                    copies.remove(0);
                }
            };
            if tokio::time::timeout(REST, all).await.is_err() {
                self.copies.iter().for_each(Copy::stop);
            }
        }
        while let Some(copy) = self.copies.first_mut() {
            self.failed.extend(copy.wait().await);
            self.copies.remove(0);
        }
        self.failed.clone()
    }

    /// Waits until every line was shown, or will not be.
    pub(super) async fn wait(&mut self) -> Option<ConsumerError> {
        if let Some(hook) = &mut self.hook {
            self.failure = match hook.wait().await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(ConsumerError::Subscribe(error)),
                Err(error) => Some(error),
            };
            self.hook = None;
        }
        self.failure.clone()
    }
}
