//! The way in, from the public call to the swap, and what the swap asks for. A handle is cheap to clone, and
//! usable on any thread at any time.
//!
//! ```text
//!   submit: gate ─► node ─► inbox ─► after        arm: gate ─► node         disarm: node ─► gate
//!                                                 drop: inbox ─► after
//! ```
//!
//! What a running worker accepts takes no lock, calls no user code and touches no thread-local. Locks come in
//! only if the worker has ended or is to be started, and the event hook only if the task is refused.

use crate::armed::Armed;
use crate::config::Options;
use crate::contain::contain;
use crate::context::CleanupContext;
use crate::driver::ensure_running;
use crate::error::{FlushError, RejectReason, Rejected};
use crate::event::Event;
use crate::gate::{Drained, NoRoom};
use crate::inbox::Pushed;
use crate::node::{Meta, Node, Origin, TypedNode};
use crate::shared::Shared;
use crate::stats::Stats;
use crate::sweep::{self, sweep_late};
use crate::sync::{Arc, on};
use crate::task::Cleanup;
use crate::waiting::{Flush, FlushGuard, Goal};
use std::fmt;
use std::time::Duration;

/// Submits and arms cleanups on one worker.
///
/// Everything here may be called from any thread: outside every runtime, during unwinding, in the
/// destructor of a thread-local. Submitting has no panic of its own and never blocks; a refused task is told to the
/// event hook on the thread that submits it.
pub struct CleanupHandle {
    shared: Arc<Shared>,
    lazy: bool,
}

impl CleanupHandle {
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared, lazy: false }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Hands a task over. It costs one allocation and two atomic operations, and a wake when the
    /// worker sleeps.
    ///
    /// # Errors
    /// When the worker is full or closed, or there is no memory. The task comes back.
    #[inline]
    pub fn submit<T: Cleanup>(&self, task: T) -> Result<(), Rejected<T>> {
        let options = task.options();
        self.submit_with(task, options)
    }

    /// Hands a task over with options that replace the task's own.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    #[inline]
    pub fn submit_with<T: Cleanup>(&self, task: T, options: Options) -> Result<(), Rejected<T>> {
        submit(&self.shared, task, options, self.lazy)
    }

    /// Reserves all that is needed to hand the task over later: dropping the guard then submits it
    /// with one atomic swap, no allocation, and no way to be refused.
    ///
    /// # Errors
    /// When the worker is full or closed, or there is no memory. The task comes back, here, where
    /// the caller can still do something about it.
    pub fn arm<T: Cleanup>(&self, task: T) -> Result<Armed<T>, Rejected<T>> {
        let options = task.options();
        self.arm_with(task, options)
    }

    /// Arms a guard with options that replace the task's own.
    ///
    /// # Errors
    /// As [`arm`](Self::arm).
    pub fn arm_with<T: Cleanup>(&self, task: T, options: Options) -> Result<Armed<T>, Rejected<T>> {
        arm(&self.shared, task, options, self.lazy).map(Armed::new)
    }

    /// A handle for latency-critical threads: its submits do not wake the worker. While such a handle
    /// exists, or a guard armed by one, the worker looks every
    /// [`lazy_interval`](crate::Builder::lazy_interval).
    #[must_use]
    pub fn lazy(&self) -> Self {
        self.shared.check_process();
        ensure_running(&self.shared);
        self.shared.lazy_begins();
        Self { shared: Arc::clone(&self.shared), lazy: true }
    }

    /// Waits until every task whose submit happened before this call has ended.
    ///
    /// From inside a cleanup it does not wait for that cleanup, nor for others that are themselves
    /// waiting. The timeout is real time.
    pub fn flush(&self, timeout: Duration) -> Flush {
        Flush::new(&self.shared, Goal::Unlined, timeout)
    }

    /// Flushes, blocking this thread.
    ///
    /// # Errors
    /// When the time runs out, when the worker cannot be started, or at once when blocking here would
    /// keep the worker from running: [`FlushError::WouldDeadlock`].
    pub fn flush_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        self.flush(timeout).block()
    }

    /// Flushes when it is dropped.
    pub fn flush_guard(&self, timeout: Duration) -> FlushGuard {
        FlushGuard::new(Arc::clone(&self.shared), timeout)
    }

    /// The numbers of the worker.
    pub fn stats(&self) -> Stats {
        sweep::stats(&self.shared)
    }

    /// Whether the worker has a thread, or a runtime, to run on. It gets one when it is built, the process-wide
    /// worker with the first submit.
    pub fn is_running(&self) -> bool {
        self.shared.check_process();
        self.shared.is_running()
    }

    /// Whether submits are refused because the worker was closed.
    pub fn is_closed(&self) -> bool {
        self.shared.gate().snapshot().is_closed()
    }
}

impl Clone for CleanupHandle {
    fn clone(&self) -> Self {
        if self.lazy {
            self.shared.lazy_begins();
        }
        Self { shared: Arc::clone(&self.shared), lazy: self.lazy }
    }
}

impl Drop for CleanupHandle {
    fn drop(&mut self) {
        if self.lazy {
            self.shared.lazy_ends();
        }
    }
}

impl fmt::Debug for CleanupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupHandle")
            .field("closed", &self.is_closed())
            .field("lazy", &self.lazy)
            .finish_non_exhaustive()
    }
}

impl CleanupContext {
    /// A handle of this worker, to submit more.
    pub fn handle(&self) -> CleanupHandle {
        CleanupHandle::of(Arc::clone(self.shared()))
    }
}

pub(crate) type Task = Node<Arc<Shared>>;
pub(crate) type TypedTask<T> = TypedNode<Arc<Shared>, T>;

/// Submits: a room, an allocation and a swap.
#[inline]
pub(crate) fn submit<T: Cleanup>(
    shared: &Arc<Shared>,
    task: T,
    options: Options,
    lazy: bool,
) -> Result<(), Rejected<T>> {
    let settled = shared.is_settled();
    if !settled {
        shared.check_process();
    }
    if let Err((reason, drained)) = shared.gate().submit(options.weight) {
        return Err(refuse(shared, reason, drained, options, task));
    }
    let origin = Origin { armed: false, lazy };
    match TypedNode::new(task, T::run, meta(shared, options, origin), None) {
        Ok(node) => {
            after(shared.inbox().push(node.erase()), Some(shared));
            if !settled {
                ensure_running(shared);
            }
            Ok(())
        }
        Err(task) => {
            let drained = shared.gate().release(options.weight);
            Err(out_of_memory(shared, options, task, drained))
        }
    }
}

/// Reserves and allocates all that the drop of the guard will need.
pub(crate) fn arm<T: Cleanup>(
    shared: &Arc<Shared>,
    task: T,
    options: Options,
    lazy: bool,
) -> Result<TypedTask<T>, Rejected<T>> {
    shared.check_process();
    if let Err((reason, drained)) = shared.gate().arm(options.weight) {
        return Err(refuse(shared, reason, drained, options, task));
    }
    let meta = meta(shared, options, Origin { armed: true, lazy });
    let node = TypedNode::new(task, T::run, meta, Some(Arc::clone(shared))).map_err(|task| {
        let drained = shared.gate().disarm(options.weight);
        out_of_memory(shared, options, task, drained)
    })?;
    // After the allocation that can be refused: a thread takes some that cannot.
    ensure_running(shared);
    if lazy {
        shared.lazy_begins();
    }
    Ok(node)
}

/// The task of a guard goes back to its owner, and the room is free again.
pub(crate) fn disarm<T>(mut node: TypedTask<T>) -> T {
    let header = node.header_mut();
    let shared = header.keep.take();
    let Meta { options, generation, origin } = header.meta;
    let task = node.into_task();
    if let Some(shared) = shared {
        shared.check_process();
        if origin.lazy {
            shared.lazy_ends();
        }
        if generation == shared.generation() {
            let drained = shared.gate().disarm(options.weight);
            shared.tell(drained);
        } else {
            shared.disinherit(options.weight);
        }
    }
    task
}

/// Drops a guard where the process or the worker may have changed since it was armed.
#[cold]
#[inline(never)]
pub(crate) fn push_unsettled(node: Task) {
    // An armed node has its queue from `arm` until it is taken.
    let Some(shared) = node.header().keep.clone() else { return drop(node) };
    shared.check_process();
    after(shared.inbox().push(node), Some(&shared));
    ensure_running(&shared);
}

/// Does what a push asks for. `shared` is the queue, if the caller has it.
#[inline]
pub(crate) fn after(pushed: Pushed<Arc<Shared>>, shared: Option<&Arc<Shared>>) {
    match pushed {
        Pushed::Joined => {}
        // Wakers of other runtimes are not ours to trust.
        Pushed::Wake(waker) => drop(contain(move || waker.wake())),
        Pushed::Late(kept) => {
            let Some(shared) = kept.as_ref().or(shared) else { return };
            if on("i2.late") && sweep_late(shared) {
                ensure_running(shared);
            }
        }
    }
}

fn meta(shared: &Shared, options: Options, origin: Origin) -> Meta {
    Meta { options, generation: shared.generation(), origin }
}

#[cold]
fn refuse<T>(
    shared: &Shared,
    reason: NoRoom,
    drained: Drained,
    options: Options,
    task: T,
) -> Rejected<T> {
    shared.tell(drained);
    let reason = match reason {
        NoRoom::Full => RejectReason::Full,
        NoRoom::Closed => RejectReason::Closed,
    };
    rejected(shared, reason, options, task)
}

#[cold]
fn out_of_memory<T>(shared: &Shared, options: Options, task: T, drained: Drained) -> Rejected<T> {
    shared.tell(drained);
    rejected(shared, RejectReason::OutOfMemory, options, task)
}

fn rejected<T>(shared: &Shared, reason: RejectReason, options: Options, task: T) -> Rejected<T> {
    shared.count_refused();
    shared.report(&Event::Refused { label: options.label, reason });
    Rejected::new(reason, task)
}
