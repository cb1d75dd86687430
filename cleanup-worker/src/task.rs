//! What a cleanup is: the trait that the set of tasks is open through, and how it ends.
#![expect(unsafe_code, reason = "pins a field with its wrapper")]

use crate::config::Options;
use crate::context::CleanupContext;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How a cleanup ended. An error is counted as failed and goes to the event hook.
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
///
/// A task moves to the thread of the worker, and outlives the call that hands it over. So a task that must stay on
/// its thread is refused by the compiler, and one that borrows:
///
/// ```compile_fail,E0277
/// let here = std::rc::Rc::new(1);
/// lastout_cleanup_worker::submit(lastout_cleanup_worker::Blocking(move || drop(here)));
/// ```
///
/// ```compile_fail,E0597
/// let text = String::from("gone before the task runs");
/// let borrowed = &text;
/// lastout_cleanup_worker::submit(async move { println!("{borrowed}") });
/// ```
///
/// ```compile_fail,E0597
/// let text = String::from("gone before the closure runs");
/// let borrowed = &text;
/// lastout_cleanup_worker::submit(lastout_cleanup_worker::Blocking(move || println!("{borrowed}")));
/// ```
///
/// So is a closure without [`Blocking`](crate::Blocking) around it, and a future whose value would be lost:
///
/// ```compile_fail,E0277
/// lastout_cleanup_worker::submit(|| println!("which thread may this block?"));
/// ```
///
/// ```compile_fail,E0277
/// lastout_cleanup_worker::submit(async { 7 });
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

    /// The options of the task. `submit` and `arm` ask for them once, on the thread of their caller, which a panic
    /// here reaches.
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

/// What a future may give so that it is a [`Cleanup`]: `()`, or a `Result`. The set is closed:
///
/// ```compile_fail,E0119
/// use lastout_cleanup_worker::{Finish, Outcome};
///
/// struct Mine;
/// impl Finish for Mine {
///     fn finish(self) -> Outcome {
///         Ok(())
///     }
/// }
/// ```
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

/// A plain future as the future of a cleanup, without a second copy of its state.
struct Settle<F>(F);

impl<F> Settle<F> {
    fn new(future: F) -> Self {
        Self(future)
    }
}

impl<F> Future for Settle<F>
where
    F: Future,
    F::Output: Finish,
{
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        // SAFETY: the field is pinned with its wrapper: it is never moved out, `Settle` has no
        // destructor of its own and is `Unpin` only if the field is.
        let future = unsafe { self.map_unchecked_mut(|settle| &mut settle.0) };
        future.poll(cx).map(Finish::finish)
    }
}
