//! Time and turns of the one thread on which a supervisor runs: parked until something happens.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// The time of the thread on which the supervisor runs, and the runtime that its members use.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    alarm: Arc<Alarm>,
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Handle>,
}

impl Clock {
    /// Resolves at `at`, never before.
    pub(crate) fn at(&self, at: Instant) -> Sleep {
        Sleep { at, alarm: Arc::clone(&self.alarm) }
    }

    /// Runs a future of a member on the thread at hand, inside of the runtime.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        #[cfg(feature = "tokio")]
        if let Some(runtime) = &self.runtime {
            return runtime.block_on(future);
        }
        run(&Arc::default(), future)
    }
}

/// A wait for a time.
pub(crate) struct Sleep {
    at: Instant,
    alarm: Arc<Alarm>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        self.alarm.ask(self.at);
        Poll::Pending
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

/// Runs a future on this thread; its waits for time come from the clock it is given. Where there is a
/// runtime, the future is polled inside of it, and does not depend on its turns.
pub(crate) fn block_on<F: Future>(make: impl FnOnce(Clock) -> F) -> F::Output {
    let alarm = Arc::new(Alarm::default());
    #[cfg(feature = "tokio")]
    let runtime = tokio::runtime::Handle::try_current().ok();
    let clock = Clock {
        alarm: Arc::clone(&alarm),
        #[cfg(feature = "tokio")]
        runtime,
    };
    run(&alarm, make(clock))
}

fn run<F: Future>(alarm: &Arc<Alarm>, future: F) -> F::Output {
    let waker = Waker::from(Arc::clone(alarm));
    let mut cx = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
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
