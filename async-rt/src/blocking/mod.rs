//! The blocking pool: closures that may block the thread they run on, on a bounded number of
//! threads beside the runtime.
//!
//! A closure goes down from [`Handle::spawn_blocking`] through [`Pool::submit`] into the queue, a
//! thread takes it, runs it, and sends its output up through a oneshot channel to the
//! [`BlockingTask`]. Everything else is bookkeeping under one lock:
//!
//! - Each accepted closure is waiting, running, or counted as completed, panicked or cancelled.
//! - At most [`Limits::threads`] threads exist and at most [`Limits::waiting`] closures wait.
//! - A closure is waiting only while each thread is busy or has been told to look.
//! - No user code runs under the lock: closures, outputs and payloads are dropped outside it.
//!
//! The runtime's end cancels what waits and never waits for what runs: a closure that blocks for ever
//! cannot be ended, so it is named instead ([`Pool::running`]).

mod pool;
mod stats;
mod task;

pub(crate) use pool::{Limits, Pool};
pub use stats::{BlockingRefused, BlockingRefusedKind, BlockingStats, RunningClosure};
pub use task::{BlockingTask, spawn_blocking};
