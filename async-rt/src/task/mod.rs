//! The task engine: two implementations of one contract.
//!
//! `raw` is the one that ships. `reference` does the same without `unsafe`, from a slab of boxed
//! futures and `Arc` wakers; it is there to be compared with, behind the feature `testing`, and a
//! runtime chooses it when it is built. Every behaviour test runs on both.
//!
//! The contract, in the owner's words:
//! - `spawn` admits a future; each admitted future ends in exactly one of completed, panicked,
//!   cancelled, and is dropped on this thread.
//! - `run` polls ready tasks in the order in which they were woken.
//! - `park` answers `false` when a foreign wake arrived, and from `true` on until the next `drain`
//!   the first foreign wake unparks.
//! - `shutdown` drops every future; afterwards wakers do nothing, from any thread. It ends whatever
//!   state a task is in: what it cannot drop it keeps for ever, and counts.
//! - Foreign code runs between two whole states of the engine alone; `raw` lists where.

#[cfg(feature = "testing")]
pub(crate) mod order;
pub(crate) mod origin;
pub(crate) mod plan;
pub(crate) mod raw;
#[cfg(feature = "testing")]
mod reference;

pub(crate) use origin::Origin;
#[cfg(feature = "insight")]
pub(crate) use origin::TaskView;
pub(crate) use plan::{EngineConfig, SlabConfig, Visibility};

use crate::error::{JoinError, Payload};
use crate::stats::{ShutdownCounts, TaskCounts};
use crate::sys::Unpark;
use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Poll};

/// One of the two engines.
#[allow(clippy::large_enum_variant, reason = "there is one for each runtime")]
pub(crate) enum Engine {
    Raw(raw::Engine),
    #[cfg(feature = "testing")]
    Reference(reference::Engine),
}

/// The claim on an output, of one of the two engines.
pub(crate) enum Join<T> {
    Raw(raw::RawJoin<T>),
    #[cfg(feature = "testing")]
    Reference(reference::RefJoin<T>),
}

/// The right to abort, of one of the two engines.
#[derive(Clone)]
pub(crate) enum Abort {
    Raw(raw::RawAbort),
    #[cfg(feature = "testing")]
    Reference(reference::RefAbort),
}

/// A reserved slot, of one of the two engines.
pub(crate) enum Claimed {
    Raw(raw::Slot),
    #[cfg(feature = "testing")]
    Reference,
}

/// The same call on either variant.
macro_rules! either {
    ($of:expr, $name:ident => $call:expr) => {
        match $of {
            Self::Raw($name) => $call,
            #[cfg(feature = "testing")]
            Self::Reference($name) => $call,
        }
    };
}

impl Engine {
    pub(crate) fn raw(config: EngineConfig, unpark: Arc<dyn Unpark>) -> Self {
        Self::Raw(raw::Engine::new(config, unpark))
    }

    #[cfg(feature = "testing")]
    pub(crate) fn reference(config: EngineConfig, unpark: Arc<dyn Unpark>) -> Self {
        Self::Reference(reference::Engine::new(config, unpark))
    }

    pub(crate) fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        either!(self, engine => engine.enter(work))
    }

    pub(crate) fn spawn<F: Future + 'static>(
        &self,
        future: F,
        origin: Origin,
        visibility: Visibility,
    ) -> Join<F::Output> {
        match self {
            Self::Raw(engine) => Join::Raw(engine.spawn(future, origin, visibility)),
            #[cfg(feature = "testing")]
            Self::Reference(engine) => {
                Join::Reference(engine.spawn(future, origin, visibility, false))
            }
        }
    }

    pub(crate) fn spawn_in<F>(&self, slot: Claimed, future: F, origin: Origin) -> Join<F::Output>
    where
        F: Future + 'static,
    {
        match (self, slot) {
            (Self::Raw(engine), Claimed::Raw(slot)) => {
                Join::Raw(engine.spawn_in(slot, future, origin))
            }
            #[cfg(feature = "testing")]
            (Self::Reference(engine), _) => {
                Join::Reference(engine.spawn(future, origin, Visibility::Counted, true))
            }
            #[cfg(feature = "testing")]
            (Self::Raw(_), Claimed::Reference) => unreachable!("a claim stays with its engine"),
        }
    }

    pub(crate) fn take_slot(&self) -> Option<Claimed> {
        match self {
            Self::Raw(engine) => engine.take_slot().map(Claimed::Raw),
            #[cfg(feature = "testing")]
            Self::Reference(engine) => engine.take_slot().then_some(Claimed::Reference),
        }
    }

    pub(crate) fn return_slot(&self, slot: Claimed) {
        match (self, slot) {
            (Self::Raw(engine), Claimed::Raw(slot)) => engine.return_slot(slot),
            #[cfg(feature = "testing")]
            (Self::Reference(engine), _) => engine.return_slot(),
            #[cfg(feature = "testing")]
            (Self::Raw(_), Claimed::Reference) => unreachable!("a claim stays with its engine"),
        }
    }

    pub(crate) fn slab_shape(&self) -> Option<(usize, usize)> {
        either!(self, engine => engine.slab_shape())
    }

    pub(crate) fn run(&self, budget: usize, stop: &Cell<bool>) -> usize {
        either!(self, engine => engine.run(budget, stop))
    }

    pub(crate) fn has_ready(&self) -> bool {
        either!(self, engine => engine.has_ready())
    }

    pub(crate) fn has_foreign(&self) -> bool {
        either!(self, engine => engine.has_foreign())
    }

    pub(crate) fn drain(&self, limit: usize) -> usize {
        either!(self, engine => engine.drain(limit))
    }

    pub(crate) fn park(&self) -> bool {
        either!(self, engine => engine.park())
    }

    pub(crate) fn live(&self) -> usize {
        either!(self, engine => engine.live())
    }

    pub(crate) fn counts(&self) -> TaskCounts {
        either!(self, engine => engine.counts())
    }

    pub(crate) fn has_escaped(&self) -> bool {
        either!(self, engine => engine.has_escaped())
    }

    pub(crate) fn take_escaped(&self) -> Option<Payload> {
        either!(self, engine => engine.take_escaped())
    }

    pub(crate) fn outstanding(&self) -> usize {
        either!(self, engine => engine.outstanding())
    }

    pub(crate) fn shutdown(&self, time_is_up: impl FnMut() -> bool) -> ShutdownCounts {
        either!(self, engine => engine.shutdown(time_is_up))
    }

    #[cfg(feature = "insight")]
    pub(crate) fn each(&self, see: impl FnMut(TaskView<'_>)) {
        either!(self, engine => engine.each(see));
    }
}

impl<T: 'static> Join<T> {
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        either!(self, join => join.poll(cx))
    }

    pub(crate) fn is_finished(&self) -> bool {
        either!(self, join => join.is_finished())
    }

    pub(crate) fn abort(&self) {
        either!(self, join => join.abort());
    }

    pub(crate) fn abort_handle(&self) -> Abort {
        match self {
            Self::Raw(join) => Abort::Raw(join.abort_handle()),
            #[cfg(feature = "testing")]
            Self::Reference(join) => Abort::Reference(join.abort_handle()),
        }
    }

    pub(crate) fn id(&self) -> usize {
        either!(self, join => join.id())
    }
}

impl Abort {
    pub(crate) fn abort(&self) {
        either!(self, abort => abort.abort());
    }

    pub(crate) fn id(&self) -> usize {
        either!(self, abort => abort.id())
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    #[derive(Default)]
    struct Unparks(AtomicUsize);

    impl Unpark for Unparks {
        fn unpark(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn only_the_first_foreign_wake_of_a_sleep_unparks(engine: &Engine, unparks: &Unparks) {
        let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
        let stop = Cell::new(false);
        for _ in 0..8 {
            let wakers = Rc::clone(&wakers);
            let wait = poll_fn(move |cx| {
                wakers.borrow_mut().push(cx.waker().clone());
                Poll::<()>::Pending
            });
            drop(engine.spawn(wait, Origin::here(None), Visibility::Counted));
        }
        engine.enter(|| {
            assert_eq!(engine.run(100, &stop), 8);
            assert!(engine.park(), "nothing is due");
            wakers.take().into_iter().for_each(Waker::wake);
            assert_eq!(engine.run(100, &stop), 8, "woken without the inbox");
        });
        assert_eq!(unparks.0.load(Ordering::Relaxed), 0, "the owner's thread was awake");

        let burst = wakers.take();
        let thread = std::thread::Builder::new();
        #[expect(clippy::disallowed_methods, reason = "joined in the next line")]
        let thread =
            thread.spawn(move || burst.iter().for_each(Waker::wake_by_ref)).expect("a thread");
        thread.join().expect("no panic");
        engine.enter(|| assert_eq!((engine.drain(100), engine.run(100, &stop)), (8, 8)));
        assert_eq!(unparks.0.load(Ordering::Relaxed), 1, "once for the burst");
    }

    #[test]
    fn only_the_first_foreign_wake_of_a_sleep_unparks_intrusive() {
        let unparks = Arc::new(Unparks::default());
        let engine = Engine::raw(EngineConfig::default(), unparks.clone());
        only_the_first_foreign_wake_of_a_sleep_unparks(&engine, &unparks);
    }

    #[cfg(feature = "testing")]
    #[test]
    fn only_the_first_foreign_wake_of_a_sleep_unparks_reference() {
        let unparks = Arc::new(Unparks::default());
        let engine = Engine::reference(EngineConfig::default(), unparks.clone());
        only_the_first_foreign_wake_of_a_sleep_unparks(&engine, &unparks);
    }
}
