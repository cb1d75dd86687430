//! [`Supervisor`]: the owner, and the forms in which it runs.

use crate::supervisor::clock::{self, Clock};
use crate::supervisor::contain::{self, Either, race};
use crate::supervisor::report::{Cause, Report};
#[cfg(feature = "signals")]
use crate::supervisor::signals::Signals;
use crate::supervisor::stats::Stats;
use crate::supervisor::stop::Level;
use crate::supervisor::{Builder, Handle, Shared, end, notify, reload, tend};
#[cfg(feature = "tokio")]
use crate::supervisor::{SignalError, apart::on_thread};
use std::convert::Infallible;
use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Owns what a program started and ends all of it, the last one first.
///
/// A member gets its own deadline; one that fails, hangs, blocks or panics holds up the others no longer
/// than that. A supervisor that is dropped before it has run ends nothing itself: its members are dropped,
/// the last one first.
#[must_use = "a supervisor does nothing until it is run"]
pub struct Supervisor {
    shared: Arc<Shared>,
    #[cfg(feature = "signals")]
    signals: Vec<Signals>,
}

impl Supervisor {
    /// Starts without members.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
            #[cfg(feature = "signals")]
            signals: Vec::new(),
        }
    }

    /// Stops it, forces it and looks at it from elsewhere.
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.shared))
    }

    /// What every member counted; the sum is [`Stats::totals`].
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Starts the services and tends all members, until a [`Handle`] stops it, a member fails for good, or
    /// all are done; then ends everything. Blocks the thread. A supervisor without members, or whose members
    /// are all [`last`](Builder::last), runs until it is stopped.
    ///
    /// It needs no runtime. Where none is current, the feature `tokio` brings one for the members, which
    /// ends with this.
    pub fn run_blocking(self) -> Report {
        in_a_runtime(|| clock::block_on(|clock| self.tend_and_end(clock)))
    }

    /// Ends everything now. Services that were never started are not started for it. Blocks the thread.
    pub fn shutdown_blocking(self) -> Report {
        in_a_runtime(|| clock::block_on(|clock| self.end(clock)))
    }

    /// As [`run_blocking`](Self::run_blocking), inside of the tokio runtime at hand. The supervisor itself
    /// runs on a thread of its own: its deadlines hold even if a member blocks the runtime.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when the future is dropped, everything is forced to end, and nothing waits for
    /// that. Stop it through a [`Handle`] instead.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[cfg(feature = "tokio")]
    pub async fn run(self) -> Report {
        self.on_a_thread(|supervisor| clock::block_on(|clock| supervisor.tend_and_end(clock))).await
    }

    /// Ends everything now, as [`run`](Self::run) does at its end.
    ///
    /// # Cancel safety
    ///
    /// As for [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[cfg(feature = "tokio")]
    pub async fn shutdown(self) -> Report {
        self.on_a_thread(|supervisor| clock::block_on(|clock| supervisor.end(clock))).await
    }

    /// As [`run`](Self::run), and ends everything when SIGINT or SIGTERM comes; a second signal forces, and
    /// at a third nothing is waited for.
    ///
    /// Signals count from this call on. [`Builder::until_signal`] counts them from the build on.
    ///
    /// # Errors
    ///
    /// When the system refuses to listen. The supervisor comes back.
    ///
    /// # Cancel safety
    ///
    /// As for [`run`](Self::run).
    #[cfg(feature = "tokio")]
    pub fn run_until_signal(mut self) -> impl Future<Output = Result<Report, SignalError>> + Send {
        let listening = self.listen();
        async move {
            match listening {
                Ok(()) => Ok(self.run().await),
                Err(source) => Err(SignalError::new(source, self)),
            }
        }
    }

    /// Signals that are heard since the build.
    #[cfg(feature = "signals")]
    pub(crate) fn hears(mut self, signals: Option<Signals>) -> Self {
        self.signals.extend(signals);
        self
    }

    /// From now on SIGINT and SIGTERM stop this, and no longer end the process.
    #[cfg(feature = "tokio")]
    fn listen(&mut self) -> std::io::Result<()> {
        if !self.signals.iter().any(Signals::stops) {
            let stop = Some(Arc::clone(&self.shared.stop));
            self.signals.extend(Signals::listen(stop, None)?);
        }
        Ok(())
    }

    /// Runs on a thread of its own, inside of the runtime at hand.
    #[cfg(feature = "tokio")]
    async fn on_a_thread(self, work: impl FnOnce(Self) -> Report + Send + 'static) -> Report {
        let runtime = tokio::runtime::Handle::current();
        let shared = Arc::clone(&self.shared);
        let all = Arc::new(Mutex::new(Some((self, work))));
        let taken = Arc::clone(&all);
        let waiting = on_thread("supervisor", move || {
            let _inside = runtime.enter();
            let (supervisor, work) = take(&taken).expect("one thread takes it");
            work(supervisor)
        });
        let Some(waiting) = waiting else {
            // No thread is to be had: this one is blocked instead.
            let (supervisor, work) = take(&all).expect("no thread has taken it");
            return work(supervisor);
        };
        let _dropped = ForceOnDrop(shared);
        waiting.await
    }

    async fn tend_and_end(self, clock: Clock) -> Report {
        let stopped = self.shared.stop.reached(Level::Drain);
        let tended = race(tend::all(&self.shared, &clock), self.attend(&clock));
        let (cause, lame_duck) = match race(stopped, tended).await {
            Either::First(()) => (self.shared.cause(), self.shared.limits.lame_duck),
            Either::Second(Either::First(cause)) => (cause, Duration::ZERO),
            Either::Second(Either::Second(never)) => match never {},
        };
        self.end_all(&clock, cause, lame_duck).await
    }

    async fn end(self, clock: Clock) -> Report {
        self.end_all(&clock, self.shared.cause(), Duration::ZERO).await
    }

    /// Reloads when it is asked to, and tells the service manager what changes.
    async fn attend(&self, clock: &Clock) -> Infallible {
        let reloads = reload::all(&self.shared, clock);
        match race(reloads, notify::attend(&self.shared, clock)).await {
            Either::First(never) | Either::Second(never) => never,
        }
    }

    async fn end_all(&self, clock: &Clock, cause: Cause, lame_duck: Duration) -> Report {
        self.shared.stop.raise(Level::Drain);
        self.shared.notify(|notifier| notifier.stopping(&cause));
        let end = end::all(&self.shared, clock, cause, lame_duck);
        let report = match race(end, notify::attend(&self.shared, clock)).await {
            Either::First(report) => report,
            Either::Second(never) => match never {},
        };
        self.shared.notify(|notifier| notifier.ended(&report));
        report
    }
}

/// Takes what one of two may take.
#[cfg(feature = "tokio")]
fn take<T>(all: &Mutex<Option<T>>) -> Option<T> {
    all.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The future of a supervisor was dropped: its thread goes on, and ends everything at once.
#[cfg(feature = "tokio")]
struct ForceOnDrop(Arc<Shared>);

#[cfg(feature = "tokio")]
impl Drop for ForceOnDrop {
    fn drop(&mut self) {
        self.0.stop.raise(Level::Force);
    }
}

/// Runs inside of a runtime, if there can be one.
fn in_a_runtime<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(feature = "tokio")]
    if tokio::runtime::Handle::try_current().is_err() {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        // It panics where the system starts no more threads.
        let runtime = contain::call(|| builder.worker_threads(2).enable_all().build());
        if let Ok(Ok(runtime)) = runtime {
            let inside = runtime.enter();
            let output = work();
            drop(inside);
            // A task that blocks it was named in the report, and is not waited for.
            runtime.shutdown_background();
            return output;
        }
    }
    work()
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Handles may outlive it: the members must not.
        self.shared.stop.raise(Level::Force);
        let (last, others): (Vec<_>, Vec<_>) =
            self.shared.members.iter().rev().partition(|member| member.is_last);
        others.into_iter().chain(last).for_each(|member| {
            member.release();
            contain::discard(member.retire());
        });
    }
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("members", &self.shared.members).finish_non_exhaustive()
    }
}
