//! [`Supervisor`]: the owner, and the forms in which it runs.

use crate::supervisor::clock::{self, Clock};
use crate::supervisor::contain::{Either, race};
use crate::supervisor::member::Member;
use crate::supervisor::report::{Cause, Report};
use crate::supervisor::stats::Stats;
use crate::supervisor::stop::{Level, Stop};
use crate::supervisor::{Builder, Handle, Limits, Shared, end, tend};
#[cfg(feature = "tokio")]
use crate::supervisor::{SignalError, signals};
use std::sync::{Arc, Mutex};

/// Owns what a program started and ends all of it, the last one first.
///
/// A member gets its own deadline; one that fails, hangs or panics holds up nobody longer than that. A
/// supervisor that is dropped before it has run ends nothing itself: its members are dropped, the last
/// one first.
#[must_use = "a supervisor does nothing until it is run"]
pub struct Supervisor {
    shared: Arc<Shared>,
}

impl Supervisor {
    /// Starts without members.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(members: Vec<Member>, limits: Limits) -> Self {
        let shared = Shared { members, limits, stop: Stop::default(), signal: Mutex::new(None) };
        Self { shared: Arc::new(shared) }
    }

    /// Stops it, forces it and looks at it from elsewhere.
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.shared))
    }

    /// What every member counted; the sum is [`Stats::totals`].
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Starts the services and tends all members on this thread, until a [`Handle`] stops it or a member
    /// fails for good; then ends everything. Needs no runtime; members that do need theirs to run on
    /// other threads.
    ///
    /// Nothing interrupts a member that blocks this thread longer than its deadline.
    pub fn run_blocking(self) -> Report {
        clock::block_on(|clock| self.tend_and_end(clock))
    }

    /// Ends everything now, on this thread. Services that were never started are not started for it.
    pub fn shutdown_blocking(self) -> Report {
        clock::block_on(|clock| self.end(clock))
    }

    /// As [`run_blocking`](Self::run_blocking), on a tokio runtime with timers.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when the future is dropped, so are all members that have not ended yet, the
    /// last one first. Stop it through a [`Handle`] instead.
    #[cfg(feature = "tokio")]
    pub async fn run(self) -> Report {
        self.tend_and_end(Clock::Tokio).await
    }

    /// Ends everything now, on a tokio runtime with timers.
    ///
    /// # Cancel safety
    ///
    /// As for [`run`](Self::run).
    #[cfg(feature = "tokio")]
    pub async fn shutdown(self) -> Report {
        self.end(Clock::Tokio).await
    }

    /// As [`run`](Self::run), and ends everything when SIGINT or SIGTERM comes; a second signal forces.
    ///
    /// This changes the whole process: from the first poll on both signals no longer end it, also after
    /// this future has ended.
    ///
    /// # Errors
    ///
    /// When the system refuses to listen. The supervisor comes back.
    ///
    /// # Cancel safety
    ///
    /// As for [`run`](Self::run).
    #[cfg(feature = "tokio")]
    pub async fn run_until_signal(self) -> Result<Report, SignalError> {
        let mut signals = match signals::Signals::listen() {
            Ok(signals) => signals,
            Err(source) => return Err(SignalError::new(source, self)),
        };
        let shared = Arc::clone(&self.shared);
        let listen = async {
            loop {
                shared.signalled(signals.next().await);
            }
        };
        match race(self.run(), listen).await {
            Either::First(report) => Ok(report),
            Either::Second(never) => never,
        }
    }

    async fn tend_and_end(self, clock: Clock) -> Report {
        let stopped = self.shared.stop.reached(Level::Drain);
        let cause = match race(stopped, tend::all(&self.shared, &clock)).await {
            Either::First(()) => self.shared.cause(),
            Either::Second(member) => Cause::Failed(member),
        };
        self.shared.stop.raise(Level::Drain);
        end::all(&self.shared, &clock, cause).await
    }

    async fn end(self, clock: Clock) -> Report {
        self.shared.stop.raise(Level::Drain);
        end::all(&self.shared, &clock, self.shared.cause()).await
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Handles may outlive it: the members must not.
        self.shared.stop.raise(Level::Force);
        let (last, others): (Vec<_>, Vec<_>) =
            self.shared.members.iter().rev().partition(|member| member.is_last);
        others.into_iter().chain(last).for_each(Member::abandon);
    }
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("members", &self.shared.members).finish_non_exhaustive()
    }
}
