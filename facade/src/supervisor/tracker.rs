//! Counts what a service has under way, so that its end can wait for it.

use crate::supervisor::contain::wake_all;
use crate::supervisor::waiters::{Place, Waiters};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// Counts what is under way: the connections of a server, the requests of a client.
///
/// Each of them holds a [`Tracked`]; [`idle`](Self::idle) resolves when none does. What has ended leaves
/// nothing behind. Clones count together.
///
#[cfg_attr(feature = "tokio", doc = "```")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use lastout::supervisor::{Task, Tracker};
///
/// # async fn accept() { std::future::pending().await }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = Task::spawn(|stopping| async move {
///     let connections = Tracker::new();
///     loop {
///         tokio::select! {
///             () = stopping.asked() => break,
///             _connection = accept() => {
///                 let tracked = connections.track();
///                 tokio::spawn(async move {
///                     let _tracked = tracked; // … serve it
///                 });
///             }
///         }
///     }
///     connections.idle().await;
///     Ok(())
/// });
/// # drop(server);
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: usize,
    waiters: Waiters,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracker {
    /// Counts nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more is under way, until the returned guard is dropped.
    pub fn track(&self) -> Tracked {
        self.shared.lock().count += 1;
        Tracked { shared: Arc::clone(&self.shared) }
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().count
    }

    /// Whether none is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Resolves when none is under way; at once if that is so already.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: it can be awaited again.
    pub fn idle(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
        Idle { shared: Arc::clone(&self.shared), place: None }
    }
}

/// One of those that a [`Tracker`] counts.
#[derive(Debug)]
#[must_use = "dropping it ends the count"]
pub struct Tracked {
    shared: Arc<Shared>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let wakers = {
            let mut state = self.shared.lock();
            state.count -= 1;
            if state.count > 0 { Vec::new() } else { state.waiters.take() }
        };
        wake_all(wakers);
    }
}

#[derive(Debug)]
struct Idle {
    shared: Arc<Shared>,
    place: Option<Place>,
}

impl Future for Idle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shared, place } = self.get_mut();
        let waker = cx.waker().clone();
        let mut state = shared.lock();
        let (poll, unused) = match state.count {
            0 => (Poll::Ready(()), Some(waker)),
            _ => (Poll::Pending, state.waiters.wait(place, waker)),
        };
        drop(state);
        drop(unused);
        poll
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.shared.lock().waiters.leave(place);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Waker;

    #[test]
    fn it_is_idle_when_the_last_one_is_gone_and_keeps_no_waker_of_those_who_left() {
        let tracker = Tracker::new();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(tracker.idle()).poll(&mut cx).is_ready());
        let clone = tracker.clone();
        let (a, b) = (tracker.track(), clone.track());
        for _ in 0..1_000 {
            assert!(pin!(tracker.idle()).poll(&mut cx).is_pending());
        }
        assert_eq!((tracker.len(), tracker.shared.lock().waiters.len()), (2, 0));
        let mut idle = pin!(tracker.idle());
        drop(a);
        assert!(idle.as_mut().poll(&mut cx).is_pending());
        drop(b);
        assert!(idle.as_mut().poll(&mut cx).is_ready() && clone.is_empty());
    }
}
