//! Waiting for a descriptor without blocking the task, on every executor and on none in particular.
//!
//! One shared thread polls the descriptors of all futures: a kill needs no reactor, no timers, and no
//! runtime that is alive. Where the thread or a descriptor for it is not available, the future polls by
//! itself, a moment at a time, so that a kill never fails for want of a thread.

mod thread;

pub(crate) use thread::reap_later;

use crate::sys::Bell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long a future that has no thread to wait for it keeps the polling thread each time.
const UNAIDED: Duration = Duration::from_millis(1);

/// How often a child is asked for that has ended and that the kernel does not hand over: a tracer has to let go
/// of it first, and nothing tells when it does.
pub(crate) const TRACED: Duration = Duration::from_millis(10);

/// Completes at `until`.
pub(crate) async fn pause(until: Instant) {
    // A bell that nobody rings. Without a descriptor for it the caller looks again in a moment.
    let nothing = Bell::new().ok();
    ready(nothing.as_ref().map(AsFd::as_fd), until).await;
}

/// Completes when `fd` is readable, with `true`, or at `until`, with `false`. Without a descriptor it
/// completes after a moment, so that the caller looks again.
pub(crate) async fn ready(fd: Option<BorrowedFd<'_>>, until: Instant) -> bool {
    let Some(fd) = fd else {
        return unaided(None, until.min(Instant::now() + UNAIDED)).await;
    };
    match thread::Watch::new(fd, until) {
        Ok(watch) => watch.await,
        Err(_) => unaided(Some(fd), until).await,
    }
}

/// [`ready`], blocking the calling thread.
pub(crate) fn wait_blocking(fd: Option<BorrowedFd<'_>>, until: Instant) -> io::Result<bool> {
    match fd {
        Some(fd) => crate::sys::wait_readable(fd, until),
        None => {
            let now = Instant::now();
            std::thread::park_timeout(until.saturating_duration_since(now).min(UNAIDED));
            Ok(false)
        }
    }
}

async fn unaided(fd: Option<BorrowedFd<'_>>, until: Instant) -> bool {
    std::future::poll_fn(|context| {
        let now = Instant::now();
        match wait_blocking(fd, until.min(now + UNAIDED)) {
            Ok(true) => Poll::Ready(true),
            // A descriptor that cannot be polled tells nothing before the time is over.
            Ok(false) | Err(_) if now >= until => Poll::Ready(false),
            Ok(false) | Err(_) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn a_future_without_a_thread_to_wait_for_it_completes_all_the_same() {
        let bell = Bell::new().unwrap();
        let long = Instant::now() + Duration::from_secs(60);
        let mut context = Context::from_waker(Waker::noop());
        let mut rung = pin!(unaided(Some(bell.as_fd()), long));
        assert!(rung.as_mut().poll(&mut context).is_pending());
        bell.ring();
        assert_eq!(rung.as_mut().poll(&mut context), Poll::Ready(true));
        bell.silence();
        let mut over = pin!(unaided(Some(bell.as_fd()), Instant::now()));
        assert_eq!(over.as_mut().poll(&mut context), Poll::Ready(false));
    }
}
