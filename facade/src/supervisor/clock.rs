//! Time and turns for the one body of code behind both forms: a parked thread, or tokio.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Who wakes a wait for a time.
#[derive(Debug, Clone)]
pub(crate) enum Clock {
    /// [`block_on`], on the thread that runs it.
    Thread(Arc<Alarm>),
    /// The timers of the tokio runtime that polls.
    #[cfg(feature = "tokio")]
    Tokio,
}

impl Clock {
    /// Whether the thread may be blocked by a member.
    pub(crate) fn may_block(&self) -> bool {
        match self {
            Self::Thread(_) => true,
            #[cfg(feature = "tokio")]
            Self::Tokio => false,
        }
    }

    /// Resolves at `at`, never before.
    pub(crate) fn at(&self, at: Instant) -> Sleep {
        match self {
            Self::Thread(alarm) => Sleep::Thread(at, Arc::clone(alarm)),
            #[cfg(feature = "tokio")]
            Self::Tokio => Sleep::Tokio(Box::pin(tokio::time::sleep_until(at.into()))),
        }
    }
}

/// A wait for a time.
pub(crate) enum Sleep {
    Thread(Instant, Arc<Alarm>),
    #[cfg(feature = "tokio")]
    Tokio(Pin<Box<tokio::time::Sleep>>),
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Self::Thread(at, _) if Instant::now() >= *at => Poll::Ready(()),
            Self::Thread(at, alarm) => {
                alarm.ask(*at);
                Poll::Pending
            }
            #[cfg(feature = "tokio")]
            Self::Tokio(sleep) => sleep.as_mut().poll(_cx),
        }
    }
}

/// Parks one thread until it is woken, or until the earliest time that anybody asked for since its last
/// turn. Every turn polls the whole future, so whoever still waits asks again.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    next: Option<Instant>,
}

impl Alarm {
    fn ask(&self, at: Instant) {
        let mut state = self.lock();
        state.next = Some(state.next.map_or(at, |next| next.min(at)));
    }

    fn park(&self) {
        let mut state = self.lock();
        while !state.woken {
            let now = Instant::now();
            let wait = match state.next {
                Some(next) if next <= now => break,
                Some(next) => next - now,
                None => Duration::MAX,
            };
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *state = State::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.lock().woken = true;
        self.changed.notify_one();
    }
}

/// Runs a future on this thread, without any runtime; its waits for time come from the clock it is given.
pub(crate) fn block_on<F: Future>(make: impl FnOnce(Clock) -> F) -> F::Output {
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(Arc::clone(&alarm));
    let mut cx = Context::from_waker(&waker);
    let mut future = std::pin::pin!(make(Clock::Thread(Arc::clone(&alarm))));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        alarm.park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn a_wait_is_never_early_and_the_earliest_wins() {
        let start = Instant::now();
        let (long, short) = (start + Duration::from_secs(3600), start + Duration::from_millis(20));
        block_on(|clock| async move {
            let (mut long, mut short) = (clock.at(long), clock.at(short));
            poll_fn(|cx| {
                assert!(Pin::new(&mut long).poll(cx).is_pending());
                Pin::new(&mut short).poll(cx)
            })
            .await;
        });
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(start.elapsed() < Duration::from_secs(3600));
    }

    #[test]
    fn a_wake_between_poll_and_park_is_not_lost() {
        let mut turns = 0;
        block_on(|_| {
            poll_fn(move |cx| {
                turns += 1;
                cx.waker().wake_by_ref();
                if turns == 3 { Poll::Ready(()) } else { Poll::Pending }
            })
        });
    }
}
