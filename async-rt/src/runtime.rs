//! `Runtime`: the owner of tasks, and `block_on`, which runs them.

use crate::config::Idle;
use crate::coop;
use crate::handle::Handle;
use crate::owner::Owner;
use crate::shutdown::ShutdownHandle;
use crate::stats::{RuntimeStats, ShutdownStatsAtomics};
use crate::task::{Join, Origin};
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Runs tasks on the thread that built it.
///
/// A thread may have several, one after the other or side by side; only one of them is inside
/// [`block_on`](Self::block_on) at a time. Dropping a runtime drops the future of every task, with
/// the runtime's context in place, so that destructors may spawn, wake and create timers; it waits
/// for no thread and no callback, and wakers that other threads hold do nothing from then on.
///
/// A runtime does not survive `fork`: the child shares the parent's kernel objects, so `block_on`
/// panics there. Dropping it in the child is harmless to the parent.
#[must_use = "a runtime that is dropped drops its tasks"]
pub struct Runtime {
    pub(crate) owner: Rc<Owner>,
    pub(crate) root: Root,
}

/// The task that stands for the future of `block_on`: its wakers are what that future gets.
pub(crate) struct Root {
    due: Rc<Cell<bool>>,
    waker: Waker,
    /// Kept so that the task is not detached; gone when the runtime ends.
    task: Option<Join<()>>,
}

impl Root {
    fn new(owner: &Rc<Owner>) -> Self {
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
        let task = owner.spawn_hidden(stand_in, Origin::here(Some("block_on")));
        owner.enter(|| owner.engine.run(1, &Cell::new(false)));
        let waker = taken.take().expect("the stand-in was polled");
        Self { due, waker, task: Some(task) }
    }

    /// Lets go of the stand-in, which the end of the engine drops.
    pub(crate) fn end(&mut self) {
        self.waker = Waker::noop().clone();
        self.task = None;
    }
}

impl Runtime {
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
        self.owner.assert_may_run("block_on");
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
                self.owner.raise_escaped();
            }
        })
    }

    /// Does what [`block_on`](Self::block_on) does, without ever sleeping in the kernel.
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
        let (owner, never) = (&self.owner, Cell::new(false));
        owner.assert_may_run("run_until_stalled");
        owner.enter(|| {
            loop {
                owner.cycle(&never, false);
                owner.raise_escaped();
                if !owner.has_work() {
                    owner.look();
                    if !owner.has_work() {
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
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("tasks", &self.task_count()).finish_non_exhaustive()
    }
}
