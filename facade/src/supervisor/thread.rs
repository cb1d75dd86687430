//! A thread as a supervised service: for a loop that blocks, or a runtime of its own.

use crate::supervisor::contain::call;
use crate::supervisor::drain::{Drain, DrainFuture, EndedFuture, Failure, Until};
use crate::supervisor::stopping::{Body, Stopping, Witness};
use std::fmt;
use std::io;
use std::sync::Arc;

/// A service made of one closure on a thread of its own. Needs no runtime, and may run one.
///
/// ```
/// use lastout::Supervisor;
/// use lastout::supervisor::Thread;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let thread = Thread::spawn("meter", |stopping| {
///     while !stopping.is_asked() {
///         std::thread::yield_now(); // … a turn of the loop
///     }
///     Ok(())
/// })?;
/// let supervisor = Supervisor::builder().member("meter", thread).build()?;
/// assert!(supervisor.shutdown_blocking().is_clean());
/// # Ok(())
/// # }
/// ```
///
/// A thread cannot be forced: one that does not return is left behind, by its name. Dropping this asks
/// it to end and does not wait.
#[must_use = "dropping it asks the thread to end"]
pub struct Thread {
    name: String,
    body: Arc<Body>,
}

impl Thread {
    /// Starts the thread. It fails when the closure returns an error or panics; when it returns `Ok`, its
    /// work is done.
    ///
    /// # Errors
    ///
    /// When the system starts no more threads, or the name holds a NUL byte.
    #[expect(
        clippy::disallowed_methods,
        reason = "the module that owns the thread: it asks it to end and waits until it has"
    )]
    pub fn spawn(
        name: impl Into<String>,
        run: impl FnOnce(Stopping) -> Result<(), Failure> + Send + 'static,
    ) -> io::Result<Self> {
        let (name, body) = (name.into(), Arc::new(Body::default()));
        if name.contains('\0') {
            let error = "start a thread: its name holds a NUL byte";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let (witness, stopping) = (Witness(Arc::clone(&body)), body.stopping());
        std::thread::Builder::new().name(name.clone()).spawn(move || {
            witness.0.end(call(|| run(stopping)));
        })?;
        Ok(Self { name, body })
    }
}

impl Drain for Thread {
    fn drain(&self, _until: Until) -> DrainFuture<'_> {
        self.body.ask();
        Box::pin(self.body.drained("threads"))
    }

    fn ended(&self) -> EndedFuture<'_> {
        Box::pin(self.body.ended())
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.body.ask();
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("name", &self.name)
            .field("is_over", &self.body.is_over())
            .finish_non_exhaustive()
    }
}
