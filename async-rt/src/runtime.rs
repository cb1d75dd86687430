//! `Runtime`: the owner of tasks, and `block_on`, which runs them.

use crate::config::{Builder, Idle};
use crate::coop;
use crate::error::BuildError;
use crate::handle::Handle;
use crate::owner::Owner;
use crate::shutdown::ShutdownHandle;
use crate::stats::{RuntimeStats, ShutdownStatsAtomics};
use crate::task::{Join, Origin};
use crate::trace;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Runs tasks on the thread that built it.
///
/// A thread may have several, one after the other or side by side; only one of them is inside
/// [`block_on`](Self::block_on) at a time. Dropping a runtime drops the future of every task, with
/// the runtime's context in place, so that destructors may spawn, wake and create timers; it waits
/// for nobody, and wakers that other threads still hold do nothing from then on.
///
/// A runtime does not survive `fork`: the child shares the parent's kernel objects, so `block_on`
/// panics there. Dropping it in the child is harmless to the parent.
#[must_use = "a runtime that is dropped drops its tasks"]
pub struct Runtime {
    owner: Rc<Owner>,
    root: Root,
}

/// The task that stands for the future of `block_on`: its wakers are what that future gets.
struct Root {
    due: Rc<Cell<bool>>,
    waker: Waker,
    /// Kept so that the task is not detached; gone when the runtime ends.
    task: Option<Join<()>>,
}

impl Root {
    fn new(owner: &Owner) -> Self {
        let due = Rc::new(Cell::new(false));
        let taken = Rc::new(Cell::new(None));
        let (set, give) = (Rc::clone(&due), Rc::clone(&taken));
        let stand_in = poll_fn(move |cx| {
            if !set.replace(true) {
                let waker = give.take().unwrap_or_else(|| cx.waker().clone());
                give.set(Some(waker));
            }
            Poll::<()>::Pending
        });
        let task = owner.spawn(stand_in, Origin::here(Some("block_on")));
        owner.hidden.set(1);
        owner.engine.enter(|| owner.engine.run(1, &Cell::new(false)));
        let waker = taken.take().expect("the stand-in was polled");
        Self { due, waker, task: Some(task) }
    }
}

/// [`Runtime::shutdown_quiesce`] ran out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuiesceTimeout {
    /// Tasks that have not ended.
    pub remaining_tasks: usize,
    /// Foreign wakes that had not been looked at.
    pub remaining_cross_queue: usize,
    /// Tasks that have ended and to which somebody still holds a waker or a handle.
    pub remaining_outstanding_refs: usize,
    /// How long it took.
    pub elapsed: Duration,
}

impl fmt::Display for QuiesceTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remaining_tasks, elapsed, .. } = self;
        write!(f, "quiesce a runtime within {elapsed:?}: {remaining_tasks} tasks remain")
    }
}

impl Error for QuiesceTimeout {}

impl Runtime {
    /// A runtime with the default knobs.
    ///
    /// # Errors
    /// When the system has no descriptor left for it.
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// A runtime with knobs.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_owner(owner: Rc<Owner>) -> Self {
        let root = Root::new(&owner);
        Self { owner, root }
    }

    /// Runs `future`, and the tasks beside it, until `future` is ready. It may borrow from the
    /// caller. Tasks that are not done then stay, and go on in the next `block_on`.
    ///
    /// # Panics
    /// When this thread is inside a `block_on` already, of this runtime or another; in a forked
    /// child; and with the panic of `future`, after which the runtime is as good as before.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        assert!(
            Owner::current().is_none(),
            "`block_on` inside a runtime would block its other tasks"
        );
        assert!(
            self.owner.reactor.is_ours(),
            "a runtime does not survive `fork`: build one in the child"
        );
        let Root { due, waker, .. } = &self.root;
        self.owner.enter(move || {
            let mut future = pin!(future);
            let mut cx = Context::from_waker(waker);
            due.set(true);
            loop {
                if due.take() {
                    coop::begin_turn();
                    if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                        return output;
                    }
                }
                self.owner.cycle(due, true);
            }
        })
    }

    /// As [`block_on`](Self::block_on), without ever sleeping in the kernel.
    ///
    /// # Panics
    /// As `block_on`.
    pub fn block_on_busy<F: Future>(&self, future: F) -> F::Output {
        struct Restore<'a>(&'a Cell<Idle>, Idle);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let idle = &self.owner.idle;
        let _restore = Restore(idle, idle.replace(Idle::Busy));
        self.block_on(future)
    }

    /// Runs all tasks that can run, looks at sockets and timers, and returns when nothing is left to
    /// do without waiting. A virtual clock stays where it is.
    ///
    /// # Panics
    /// As `block_on`.
    #[cfg(feature = "testing")]
    pub fn run_until_stalled(&self) {
        assert!(Owner::current().is_none(), "`run_until_stalled` inside a runtime");
        let (owner, never) = (&self.owner, Cell::new(false));
        owner.enter(|| {
            loop {
                owner.cycle(&never, false);
                if !owner.engine.has_ready() && !owner.engine.has_foreign() {
                    owner.look();
                    if !owner.engine.has_ready() && !owner.engine.has_foreign() {
                        return;
                    }
                }
            }
        });
    }

    /// A handle to spawn with, for this thread.
    pub fn handle(&self) -> Handle {
        Handle::new(Rc::clone(&self.owner))
    }

    /// Tasks that have not ended.
    pub fn task_count(&self) -> usize {
        self.owner.live()
    }

    /// What the runtime has done so far.
    pub fn stats(&self) -> RuntimeStats {
        self.handle().stats()
    }

    /// Triggers and observes the end of what runs here; any thread may hold it.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.owner.shutdown.clone()
    }

    /// The counters of this runtime's end, to be read after it.
    pub fn shutdown_stats(&self) -> Arc<ShutdownStatsAtomics> {
        Arc::clone(&self.owner.stats)
    }

    /// Runs until no task is left, timers and sockets included. It asks nobody to end: trigger the
    /// [`shutdown_handle`](Self::shutdown_handle), or whatever your tasks listen to, before.
    ///
    /// # Errors
    /// [`QuiesceTimeout`] when tasks are left after `timeout`. They are still there, and the call
    /// may be repeated.
    ///
    /// # Panics
    /// As `block_on`.
    pub fn shutdown_quiesce(&self, timeout: Duration) -> Result<(), QuiesceTimeout> {
        assert!(
            Owner::current().is_none(),
            "`shutdown_quiesce` inside a runtime would wait for itself"
        );
        let (owner, never) = (&self.owner, Cell::new(false));
        let start = owner.clock.now();
        let end = owner.clock.after(timeout);
        owner.enter(|| {
            while owner.live() > 0 || owner.engine.has_ready() || owner.engine.has_foreign() {
                let now = owner.clock.now();
                if now >= end {
                    return Err(QuiesceTimeout {
                        remaining_tasks: owner.live(),
                        remaining_cross_queue: owner.engine.drain(usize::MAX),
                        remaining_outstanding_refs: owner.engine.outstanding(),
                        elapsed: Duration::from_nanos(now - start),
                    });
                }
                owner.cycle(&never, false);
                // The last task may just have ended: then there is nothing to sleep for.
                if owner.live() > 0 && !owner.engine.has_ready() && !owner.engine.has_foreign() {
                    owner.idle(Some(end));
                }
            }
            Ok(())
        })
    }

    #[cfg(feature = "insight")]
    pub(crate) fn owner(&self) -> &Rc<Owner> {
        &self.owner
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let owner = &self.owner;
        self.root.waker = Waker::noop().clone();
        self.root.task = None;
        let hidden = owner.hidden.get();
        let counts = owner.enter(|| {
            let counts = owner.engine.shutdown();
            owner.blocking.close();
            drop(owner.worlds.take());
            owner.ended.set(true);
            owner.reactor.end();
            counts
        });
        trace::runtime_ended(&counts);
        #[cfg(feature = "tokio-compat")]
        if let Some(tokio) = owner.tokio.take() {
            tokio.shutdown_background();
        }
        // Relaxed: plain counts; whoever reads them has learned of the end by other means.
        let set = |counter: &std::sync::atomic::AtomicU64, value: usize| {
            counter.store(value as u64, Ordering::Relaxed);
        };
        set(&owner.stats.tasks_cancelled, counts.cancelled - hidden);
        set(&owner.stats.unbalanced, counts.outstanding);
        set(&owner.stats.undrained, counts.undrained);
        set(&owner.stats.ended, 1);
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("tasks", &self.task_count()).finish_non_exhaustive()
    }
}
