//! Looks at one thing without being held up by it, and keeps what was seen last.

use crate::supervisor::apart::on_thread;
use crate::supervisor::contain::call;
#[cfg(any(test, feature = "work-runner"))]
use crate::supervisor::contain::{Boxed, contained};
#[cfg(any(test, feature = "work-runner"))]
use std::fmt;
#[cfg(any(test, feature = "work-runner"))]
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a page waits for a look. What has not answered by then is shown as it was, with its age.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// What was seen last, and why it is old, if it is.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    pub(crate) value: Option<(Arc<T>, Instant)>,
    pub(crate) problem: Option<String>,
}

/// What is shared with a look that is under way.
#[derive(Debug)]
pub(crate) struct Source<T> {
    state: Arc<Mutex<State<T>>>,
    /// A look runs on its thread. There is never a second one beside it.
    is_busy: watch::Sender<bool>,
}

#[derive(Debug)]
struct State<T> {
    value: Option<(Arc<T>, Instant)>,
    problem: Option<String>,
}

impl<T> Default for Source<T> {
    fn default() -> Self {
        let state = State { value: None, problem: None };
        Self { state: Arc::new(Mutex::new(state)), is_busy: watch::Sender::new(false) }
    }
}

impl<T: Send + Sync + 'static> Source<T> {
    /// Looks on a thread of its own. While a look is under way, whoever began it, that one is waited for.
    pub(crate) async fn look_apart(&self, look: impl FnOnce() -> T + Send + 'static) {
        if self.is_busy.send_if_modified(|is_busy| !std::mem::replace(is_busy, true)) {
            let theirs = Self { state: Arc::clone(&self.state), is_busy: self.is_busy.clone() };
            let thread = on_thread("lastout-console", move || {
                let seen = call(look).map_err(|panic| format!("it panicked: {panic}"));
                theirs.note(seen);
                theirs.is_busy.send_replace(false);
            });
            if thread.is_none() {
                self.lock().problem = Some("the system starts no more threads".to_owned());
                self.is_busy.send_replace(false);
                return;
            }
        }
        let mut is_busy = self.is_busy.subscribe();
        let over = is_busy.wait_for(|is_busy| !is_busy);
        if tokio::time::timeout(PATIENCE, over).await.is_err() {
            self.lock().problem = Some(late());
        }
    }

    /// Awaits a look, for a bounded time.
    #[cfg(any(test, feature = "work-runner"))]
    pub(crate) async fn look<E: fmt::Display>(
        &self,
        look: impl Future<Output = Result<T, E>> + Send,
    ) {
        let seen = bounded(look).await;
        self.note(seen);
    }

    pub(crate) fn seen(&self) -> Seen<T> {
        let state = self.lock();
        Seen { value: state.value.clone(), problem: state.problem.clone() }
    }

    fn note(&self, seen: Result<T, String>) {
        let mut state = self.lock();
        match seen {
            Ok(value) => {
                (state.value, state.problem) = (Some((Arc::new(value), Instant::now())), None);
            }
            Err(problem) => state.problem = Some(problem),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Awaits code of others for a bounded time; a failure of any sort is its text.
#[cfg(any(test, feature = "work-runner"))]
pub(crate) async fn bounded<T, E: fmt::Display>(
    look: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, String> {
    let look = contained(|| Box::pin(look) as Boxed<'_, Result<T, E>>);
    match tokio::time::timeout(PATIENCE, look).await {
        Err(_) => Err(late()),
        Ok(Err(panic)) => Err(format!("it panicked: {panic}")),
        Ok(Ok(Err(error))) => {
            let said = call(|| error.to_string());
            Err(said.unwrap_or_else(|panic| format!("an error whose text panicked: {panic}")))
        }
        Ok(Ok(Ok(value))) => Ok(value),
    }
}

fn late() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_look_that_hangs_is_not_started_again_and_what_was_seen_stays() {
        let source = Source::default();
        source.look_apart(|| 1).await;
        let (open, closed) = mpsc::channel::<()>();
        source.look_apart(move || closed.recv().map_or(2, |()| 3)).await;
        let seen = source.seen();
        assert_eq!(seen.value.map(|(value, _)| *value), Some(1));
        assert!(seen.problem.unwrap().contains("no answer within"));
        source.look_apart(|| unreachable!("the other look is under way")).await;
        assert!(source.seen().problem.unwrap().contains("no answer within"));
        drop(open);
        while source.seen().value.is_none_or(|(value, _)| *value != 2) {
            std::thread::yield_now();
        }
        assert_eq!(source.seen().problem, None);
    }

    #[tokio::test]
    async fn a_look_whose_page_has_gone_is_the_look_of_the_next_page() {
        let source = Source::default();
        let (open, closed) = mpsc::channel::<()>();
        {
            let mut first =
                std::pin::pin!(source.look_apart(move || closed.recv().map_or(1, |()| 2)));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(first.as_mut().poll(&mut cx).is_pending());
        }
        let second = source.look_apart(|| unreachable!("the other look is under way"));
        let ((), ()) = tokio::join!(second, async { drop(open) });
        assert_eq!(source.seen().problem, None);
        assert_eq!(source.seen().value.map(|(value, _)| *value), Some(1));
    }

    #[tokio::test]
    async fn a_look_that_panics_says_so() {
        let source = Source::<u32>::default();
        source.look_apart(|| panic!("broken")).await;
        assert_eq!(source.seen().problem.unwrap(), "it panicked: broken");
        source.look(async { Ok::<_, String>(7) }).await;
        assert_eq!((source.seen().value.unwrap().0, source.seen().problem), (Arc::new(7), None));
        source.look(async { Err::<u32, _>("no store") }).await;
        assert_eq!(source.seen().problem.unwrap(), "no store");
        source.look::<String>(async { panic!("broken") }).await;
        assert_eq!(source.seen().problem.unwrap(), "it panicked: broken");
    }
}
