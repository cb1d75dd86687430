//! What a cleanup is: the trait that the set of tasks is open through, and what a task may say about
//! itself.

use crate::context::CleanupContext;
use crate::gate::MAX_WEIGHT;
use crate::node::Settle;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

/// How a cleanup ended, in its own words. An error is counted as failed and goes to the event hook.
pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Work that can be handed over.
///
/// Every `Future` that is `Send + 'static` and gives `()` or `Result<_, E>` is a `Cleanup`, boxed or
/// not. So is [`Blocking`](crate::Blocking) around a closure. Implement the trait for a type of your
/// own when the task should be accessible while it is [armed](crate::Armed), or needs the
/// [`CleanupContext`].
///
/// ```
/// use lastout_cleanup_worker::{Cleanup, CleanupContext, Options, Outcome};
///
/// struct Lease {
///     id: u64,
/// }
///
/// impl Cleanup for Lease {
///     async fn run(self, cx: CleanupContext) -> Outcome {
///         cx.blocking(move || println!("lease {} given back", self.id)).await?;
///         Ok(())
///     }
///
///     fn options(&self) -> Options {
///         Options::new().label("lease")
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cleanup",
    label = "neither a future nor a `Cleanup`",
    note = "a closure is one inside of `Blocking`: `submit(Blocking(move || …))`",
    note = "a future is one if it is `Send + 'static` and gives `()` or a `Result`"
)]
pub trait Cleanup: Send + Sized + 'static {
    /// Does the work. It is polled on the worker, with a timeout, inside a panic barrier of its own.
    ///
    /// It must not block the thread that polls it: that is what [`CleanupContext::blocking`] is for.
    fn run(self, cx: CleanupContext) -> impl Future<Output = Outcome> + Send + 'static;

    /// What the task says about itself; asked once, when it is submitted or armed, by the caller of
    /// that: a panic here is the caller's.
    fn options(&self) -> Options {
        Options::new()
    }
}

impl<F> Cleanup for F
where
    F: Future + Send + 'static,
    F::Output: Finish,
{
    fn run(self, _cx: CleanupContext) -> impl Future<Output = Outcome> + Send + 'static {
        Settle::new(self)
    }
}

/// What a future may give so that it is a [`Cleanup`]: `()`, or a `Result`.
#[diagnostic::on_unimplemented(
    message = "a cleanup cannot give `{Self}`",
    label = "gives neither `()` nor a `Result`",
    note = "end the future or closure with `;`, or with a `Result` whose error becomes `Box<dyn Error + Send + Sync>`"
)]
pub trait Finish: sealed::Sealed {
    /// Turns the output into the outcome of the cleanup.
    ///
    /// # Errors
    /// Those of the output.
    fn finish(self) -> Outcome;
}

impl Finish for () {
    fn finish(self) -> Outcome {
        Ok(())
    }
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Finish for Result<T, E> {
    fn finish(self) -> Outcome {
        self.map(drop).map_err(Into::into)
    }
}

/// A future or closure that never gives a value: it panics, ends the process, or goes on until its
/// timeout.
impl Finish for Never {
    fn finish(self) -> Outcome {
        self
    }
}

/// The type `!`, which has no name of its own on this toolchain.
type Never = <fn() -> ! as sealed::Returns>::Value;

mod sealed {
    pub trait Returns {
        type Value;
    }
    impl<R> Returns for fn() -> R {
        type Value = R;
    }

    pub trait Sealed {}
    impl Sealed for super::Never {}
    impl Sealed for () {}
    impl<T, E> Sealed for Result<T, E> {}
}

/// Label, timeout and weight of one task. What is not set comes from the worker's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub(crate) label: &'static str,
    pub(crate) timeout: Timeout,
    pub(crate) weight: u32,
}

impl Options {
    /// No label, the worker's timeout, weight 1.
    pub const fn new() -> Self {
        Self { label: "", timeout: Timeout::DEFAULT, weight: 1 }
    }

    /// Names the task in reports and events. Static, so that naming never allocates.
    #[must_use]
    pub const fn label(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }

    /// Bounds how long the task may run, counted from its start. Kept in whole milliseconds, rounded
    /// up; above 49 days it is 49 days.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Timeout::of(timeout);
        self
    }

    /// How much of the worker's capacity the task takes until it has ended; 0 counts as 1,
    /// and more than 1 048 576 as that.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = if weight == 0 {
            1
        } else if weight > MAX_WEIGHT {
            MAX_WEIGHT
        } else {
            weight
        };
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// A timeout in four bytes, because each queued task carries one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeout(u32);

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DEFAULT => f.write_str("the worker's"),
            Self(ms) => Duration::from_millis(u64::from(ms)).fmt(f),
        }
    }
}

impl Timeout {
    const DEFAULT: Self = Self(u32::MAX);

    const fn of(timeout: Duration) -> Self {
        let ms = timeout.as_nanos().div_ceil(1_000_000);
        Self(if ms < u32::MAX as u128 { ms as u32 } else { u32::MAX - 1 })
    }

    /// The duration, where `default` stands in for a task that did not say.
    pub(crate) fn resolve(self, default: Duration) -> Duration {
        if self == Self::DEFAULT { default } else { Duration::from_millis(u64::from(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_rounded_up_and_never_becomes_the_default() {
        let default = Duration::from_secs(30);
        let of = |timeout| Timeout::of(timeout).resolve(default);
        assert_eq!(of(Duration::ZERO), Duration::ZERO);
        assert_eq!(of(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(of(Duration::from_millis(7)), Duration::from_millis(7));
        assert_eq!(of(Duration::MAX), Duration::from_millis(u64::from(u32::MAX) - 1));
        assert_eq!(Timeout::DEFAULT.resolve(default), default);
    }

    #[test]
    fn a_weight_of_zero_still_takes_room() {
        assert_eq!(Options::new().weight(0).weight, 1);
    }
}
