//! Polls the futures of mechanisms that use tokio's timers where there may be no runtime.

use crate::supervisor::contain::Boxed;
use std::future::poll_fn;
use tokio::runtime::Handle;

/// The runtime that was current when a member was given to its supervisor.
#[derive(Debug, Clone)]
pub(super) struct Home(Option<Handle>);

impl Home {
    pub(super) fn current() -> Self {
        Self(Handle::try_current().ok())
    }

    /// Whether there was one.
    #[cfg(feature = "process")]
    pub(super) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Polls `future` inside of that runtime.
    pub(super) fn inside<'a, T: 'a>(
        &'a self,
        future: impl Future<Output = T> + Send + 'a,
    ) -> Boxed<'a, T> {
        let mut future: Boxed<'a, T> = Box::pin(future);
        Box::pin(poll_fn(move |cx| {
            let _inside = self.0.as_ref().map(Handle::enter);
            future.as_mut().poll(cx)
        }))
    }
}
