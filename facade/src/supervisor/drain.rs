//! The one trait that a supervised thing implements, and what its end returns.

use crate::supervisor::stats::Counters;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a service failed, or could not be started.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The future of [`Drain::drain`] and [`Drain::force`].
pub type DrainFuture<'a> = Pin<Box<dyn Future<Output = Drained> + Send + 'a>>;

/// The future of [`Drain::ended`] and [`Drain::reload`].
pub type EndedFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// Something that ends by a deadline and says what became of it.
///
/// Only [`drain`](Self::drain) is required. It is polled on a thread of its own, inside of the runtime of
/// the supervisor if there is one, and so is the destructor: one that blocks holds up nobody. When a
/// second signal comes, or when the drain overruns its deadline, its future is dropped, and
/// [`force`](Self::force) is called: a drain that was dropped half way must leave a state that `force` can
/// end. A drain that blocks its thread is not dropped; `force` is then called beside it. Both may be called
/// again after they have ended, and then find nothing left to do.
///
/// ```
/// use lastout::supervisor::{Drained, DrainFuture, Until};
/// use lastout::Drain;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// /// Lines that were written and not yet flushed.
/// struct Log(AtomicU64);
///
/// impl Drain for Log {
///     fn drain(&self, _until: Until) -> DrainFuture<'_> {
///         Box::pin(async { Drained::new().ended("lines", self.0.swap(0, Ordering::Relaxed)) })
///     }
/// }
/// ```
pub trait Drain: Send + Sync + 'static {
    /// Takes nothing new, lets what was accepted end until `until`, ends the rest.
    fn drain(&self, until: Until) -> DrainFuture<'_>;

    /// Ends everything now; `until` bounds how long that takes. The default is another drain.
    fn force(&self, until: Until) -> DrainFuture<'_> {
        self.drain(until)
    }

    /// Resolves when it has ended by itself: with `Ok` when its work is done, with the failure when it
    /// is not. The default never does. It is polled between those of the other members, and must not block.
    fn ended(&self) -> EndedFuture<'_> {
        Box::pin(pending())
    }

    /// Whether it can still do its work. The default says yes. The watchdog of the service manager is not
    /// pinged while one says no, panics, or blocks: like [`ended`](Self::ended) it must not block.
    fn is_live(&self) -> bool {
        true
    }

    /// Reads its configuration again, and runs on. The default does nothing. It runs on a thread of its own;
    /// one that returns an error, panics, or takes longer than the deadline of the member is noted in the
    /// failures of the report, and the member runs on.
    fn reload(&self) -> EndedFuture<'_> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// What it counted so far. The default counts nothing.
    fn stats(&self) -> Counters {
        Counters::new()
    }
}

impl<T: Drain + ?Sized> Drain for Arc<T> {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        (**self).drain(until)
    }

    fn force(&self, until: Until) -> DrainFuture<'_> {
        (**self).force(until)
    }

    fn ended(&self) -> EndedFuture<'_> {
        (**self).ended()
    }

    fn is_live(&self) -> bool {
        (**self).is_live()
    }

    fn reload(&self) -> EndedFuture<'_> {
        (**self).reload()
    }

    fn stats(&self) -> Counters {
        (**self).stats()
    }
}

impl<T: Drain + ?Sized> Drain for Box<T> {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        (**self).drain(until)
    }

    fn force(&self, until: Until) -> DrainFuture<'_> {
        (**self).force(until)
    }

    fn ended(&self) -> EndedFuture<'_> {
        (**self).ended()
    }

    fn is_live(&self) -> bool {
        (**self).is_live()
    }

    fn reload(&self) -> EndedFuture<'_> {
        (**self).reload()
    }

    fn stats(&self) -> Counters {
        (**self).stats()
    }
}

/// How long an end may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until {
    deadline: Instant,
}

impl Until {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self { deadline }
    }

    /// When the drain should have returned.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The time from now to the deadline; zero after it.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What one drain did: what ended, what was forced, what is left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
#[must_use = "it says what was left behind"]
pub struct Drained {
    /// What came to its own end, by kind.
    pub ended: Vec<Tally>,
    /// What was ended by force, by kind.
    pub forced: Vec<Tally>,
    /// What could not be ended.
    pub left_behind: Vec<Left>,
}

impl Drained {
    /// Nothing ended, nothing forced, nothing left.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what came to its own end. `what` is a plural: `jobs`, `processes`.
    pub fn ended(mut self, what: impl Into<Cow<'static, str>>, count: u64) -> Self {
        add(&mut self.ended, what.into(), count);
        self
    }

    /// Adds what was ended by force.
    pub fn forced(mut self, what: impl Into<Cow<'static, str>>, count: u64) -> Self {
        add(&mut self.forced, what.into(), count);
        self
    }

    /// Names something that could not be ended, and why.
    pub fn left(mut self, what: impl fmt::Display, reason: impl fmt::Display) -> Self {
        self.left_behind.push(Left { what: what.to_string(), reason: reason.to_string() });
        self
    }

    /// Adds what another drain of the same member did.
    pub fn and(mut self, other: Self) -> Self {
        for Tally { what, count } in other.ended {
            add(&mut self.ended, what, count);
        }
        for Tally { what, count } in other.forced {
            add(&mut self.forced, what, count);
        }
        self.left_behind.extend(other.left_behind);
        self
    }

    /// Whether nothing is left behind.
    pub fn is_clean(&self) -> bool {
        self.left_behind.is_empty()
    }
}

fn add(tallies: &mut Vec<Tally>, what: Cow<'static, str>, count: u64) {
    match tallies.iter_mut().find(|tally| tally.what == what) {
        Some(tally) => tally.count = tally.count.saturating_add(count),
        None if count == 0 => {}
        None => tallies.push(Tally { what, count }),
    }
}

/// So many of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Tally {
    /// The kind, as a plural.
    pub what: Cow<'static, str>,
    /// How many.
    pub count: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.what)
    }
}

/// Something that a drain left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Left {
    /// What: a process, a directory, a job, with its name.
    pub what: String,
    /// Why it is still there.
    pub reason: String,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}
