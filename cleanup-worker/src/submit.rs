//! The way in, from the public call to the swap, and what the swap asks for.
//!
//! ```text
//!   submit: gate ─► node ─► inbox ─► after        arm: gate ─► node         disarm: node ─► gate
//!                                                 drop: inbox ─► after
//! ```
//!
//! What a running worker accepts takes no lock, calls no user code and touches no thread-local. Locks come in
//! only if the worker has ended or is to be started, and the event hook only if the task is refused.

use crate::contain::contain;
use crate::context::CleanupContext;
use crate::driver::ensure_running;
use crate::error::{RejectReason, Rejected};
use crate::event::Event;
use crate::gate::{Drained, NoRoom};
use crate::inbox::Pushed;
use crate::node::{Keep, Meta, Node, Origin, TypedNode};
use crate::options::Options;
use crate::shared::Shared;
use crate::sweep::sweep_late;
use crate::sync::{Arc, on};
use crate::task::{Cleanup, Outcome};

impl Keep for Arc<Shared> {
    type Context = CleanupContext;
    type Outcome = Outcome;
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
    ensure_running(shared);
    let meta = meta(shared, options, Origin { armed: true, lazy });
    let node = TypedNode::new(task, T::run, meta, Some(Arc::clone(shared))).map_err(|task| {
        let drained = shared.gate().disarm(options.weight);
        out_of_memory(shared, options, task, drained)
    })?;
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
            if let Some(shared) = kept.as_ref().or(shared)
                && on("i2.late")
                && sweep_late(shared)
            {
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
