//! Waiting for a descriptor without blocking the task: on the reactor of tokio, or on one shared
//! thread for every other executor.

mod thread;

pub(crate) use thread::reap_later;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// Who watches the descriptors of a tree for its futures.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Reactor(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Thread,
    #[cfg(feature = "tokio")]
    Tokio(tokio::runtime::Handle),
}

impl Reactor {
    pub(crate) fn thread() -> Self {
        Self(Kind::Thread)
    }

    /// The runtime that is current on this thread, which the caller knows to exist.
    #[cfg(feature = "tokio")]
    pub(crate) fn current_tokio() -> Self {
        Self(Kind::Tokio(tokio::runtime::Handle::current()))
    }

    /// Completes when `fd` is readable, with `true`, or at `until`, with `false`.
    pub(crate) async fn ready(&self, fd: BorrowedFd<'_>, until: Instant) -> io::Result<bool> {
        match &self.0 {
            Kind::Thread => Ok(thread::Watch::new(fd, until)?.await),
            #[cfg(feature = "tokio")]
            Kind::Tokio(runtime) => ready_on_tokio(runtime, fd, until).await,
        }
    }
}

#[cfg(feature = "tokio")]
async fn ready_on_tokio(
    runtime: &tokio::runtime::Handle,
    fd: BorrowedFd<'_>,
    until: Instant,
) -> io::Result<bool> {
    let (watched, timer) = {
        // The future may be polled on another executor than the one that the tree was spawned on.
        let _entered = runtime.enter();
        let watched = crate::sys::watch_readable(fd.try_clone_to_owned()?)?;
        (watched, tokio::time::sleep_until(until.into()))
    };
    let mut timer = std::pin::pin!(timer);
    let mut readable = std::pin::pin!(watched.readable());
    std::future::poll_fn(|context| {
        use std::task::Poll;
        if let Poll::Ready(outcome) = readable.as_mut().poll(context) {
            return Poll::Ready(outcome.map(|_| true));
        }
        timer.as_mut().poll(context).map(|()| Ok(false))
    })
    .await
}
