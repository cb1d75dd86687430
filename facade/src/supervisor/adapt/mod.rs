//! How the mechanisms become members: one file for each.

#[cfg(feature = "async-rt")]
mod async_rt;
#[cfg(feature = "browser-pool")]
mod browser_pool;
#[cfg(feature = "cleanup-worker")]
mod cleanup_worker;
mod nested;
#[cfg(feature = "output-stream")]
mod output_stream;
#[cfg(feature = "proc-tree")]
mod proc_tree;
#[cfg(feature = "process")]
mod process;
#[cfg(any(feature = "browser-pool", feature = "process", feature = "work-runner"))]
mod runtime;
#[cfg(feature = "proc-tree")]
mod with_signals;
#[cfg(feature = "work-runner")]
mod work_runner;

use crate::supervisor::drain::Drain;
#[cfg(feature = "proc-tree")]
pub use with_signals::WithSignals;

/// What a supervisor can own: everything that is [`Drain`], and the mechanisms of the features that are
/// on.
///
/// | feature | type | drained by | forced by |
/// |---|---|---|---|
/// | `cleanup-worker` | `CleanupWorker` | a flush, then its shutdown | a shutdown without time |
/// | `proc-tree` | `Tree` | SIGTERM to all of it, at the end the kill | the kill |
/// | `output-stream` | `Stream` | reading what is there | closing |
/// | `process` | `Process` | as a tree, and reading the rest of its output | the kill, and closing its outputs |
/// | `browser-pool` | `Pool` | waiting for its leases, then ending the browsers | revoking them |
/// | `async-rt` | `ShutdownHandle` of a runtime | triggering it, and waiting for the end of the runtime | the same |
/// | `work-runner` | `Running` | letting jobs end, giving back the rest | giving back |
/// | none | `Supervisor` | a stop, bounded by the deadline | a forced stop |
///
/// A supervisor runs from the moment in which it is given to another one, on a thread of its own: one that
/// is to be started again is built in the start of a service. What its members leave behind is named after
/// them. Only the outer one should listen for signals.
/// The thread of a runtime listens to the handle and calls `shutdown_blocking`; the handle waits for its
/// report.
/// A process that exits with 0 is done, and fails when it ends in another way. Its input is closed, unless it was taken
/// before; a reader that does not read what it subscribed to holds up a forced end for half of its time.
/// Other signals than SIGTERM are given by [`WithSignals`](crate::supervisor::WithSignals).
/// A pool, a process and a runner are given to a supervisor inside the tokio runtime that they run on; then
/// the blocking forms of the supervisor can end them, too, from a thread outside of it.
pub trait IntoDrain {
    /// Gives it to a supervisor.
    fn into_drain(self) -> Box<dyn Drain>;
}

impl<T: Drain> IntoDrain for T {
    fn into_drain(self) -> Box<dyn Drain> {
        Box::new(self)
    }
}
