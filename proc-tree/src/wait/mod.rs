//! Waiting for a descriptor without blocking the task, on every executor and on none in particular.
//!
//! One shared thread polls the descriptors of all futures: a kill needs no reactor, no timers, and no
//! runtime that is alive. Where the thread or a descriptor for it is not available, the future polls by
//! itself, a moment at a time, so that a kill never fails for want of a thread.

mod thread;

pub(crate) use thread::reap_later;

use std::os::fd::BorrowedFd;
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long a future that has no thread to wait for it keeps the polling thread each time.
const UNAIDED: Duration = Duration::from_millis(1);

/// Completes when `fd` is readable, with `true`, or at `until`, with `false`.
pub(crate) async fn ready(fd: BorrowedFd<'_>, until: Instant) -> bool {
    match thread::Watch::new(fd, until) {
        Ok(watch) => watch.await,
        Err(_) => unaided(fd, until).await,
    }
}

async fn unaided(fd: BorrowedFd<'_>, until: Instant) -> bool {
    std::future::poll_fn(|context| {
        let now = Instant::now();
        match crate::sys::wait_readable(fd, until.min(now + UNAIDED)) {
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
    use crate::sys::Bell;
    use std::os::fd::AsFd;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn a_future_without_a_thread_to_wait_for_it_completes_all_the_same() {
        let bell = Bell::new().unwrap();
        let long = Instant::now() + Duration::from_secs(60);
        let mut context = Context::from_waker(Waker::noop());
        let mut rung = pin!(unaided(bell.as_fd(), long));
        assert!(rung.as_mut().poll(&mut context).is_pending());
        bell.ring();
        assert_eq!(rung.as_mut().poll(&mut context), Poll::Ready(true));
        bell.silence();
        let mut over = pin!(unaided(bell.as_fd(), Instant::now()));
        assert_eq!(over.as_mut().poll(&mut context), Poll::Ready(false));
    }
}
