//! `Handle` and the free functions: how tasks reach the runtime that runs them.

use crate::error::{SlabError, SlabErrorKind};
use crate::join::JoinHandle;
use crate::owner::Owner;
use crate::shutdown::{ShutdownHandle, ShutdownSignal};
use crate::stats::RuntimeStats;
use crate::task::{Claimed, Origin, raw};
use std::fmt;
use std::rc::Rc;

/// Refers to a runtime of this thread; cheap to clone, and harmless after the runtime's end.
#[derive(Clone)]
pub struct Handle {
    pub(crate) owner: Rc<Owner>,
}

impl Handle {
    pub(crate) fn new(owner: Rc<Owner>) -> Self {
        Self { owner }
    }

    /// The runtime that runs on this thread.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn current() -> Self {
        Self::try_current().expect("no runtime runs on this thread: call this inside `block_on`")
    }

    /// The runtime that runs on this thread, if one does.
    pub fn try_current() -> Option<Self> {
        Owner::current().map(Self::new)
    }

    /// Spawns a task in a box of its own. After the runtime's end the future is dropped at once,
    /// and the handle says that it was cancelled.
    #[track_caller]
    pub fn spawn_boxed<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        JoinHandle::new(self.owner.spawn(future, Origin::here(None)))
    }

    /// Does what [`spawn_boxed`](Self::spawn_boxed) does, with a name for the dump of the feature `insight`.
    #[track_caller]
    pub fn spawn_named<F: Future + 'static>(&self, name: &str, future: F) -> JoinHandle<F::Output> {
        JoinHandle::new(self.owner.spawn(future, Origin::here(Some(name))))
    }

    /// Spawns a task into a slot of the slab, without an allocation.
    ///
    /// # Panics
    /// Where [`try_spawn_slab`](Self::try_spawn_slab) returns an error.
    #[track_caller]
    pub fn spawn_slab<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        match self.try_spawn_slab(future) {
            Ok(handle) => handle,
            Err(error) => panic!("the slab did not take the task: {error}"),
        }
    }

    /// Spawns a task into a slot of the slab, without an allocation.
    ///
    /// # Errors
    /// When there is no slab, no free slot, or the task does not fit one. The future comes back.
    #[track_caller]
    pub fn try_spawn_slab<F>(&self, future: F) -> Result<JoinHandle<F::Output>, SlabError<F>>
    where
        F: Future + 'static,
    {
        let origin = Origin::here(None);
        match self.fits::<F>().and_then(|()| self.claim()) {
            Ok(slot) => Ok(JoinHandle::new(self.owner.engine.spawn_in(slot, future, origin))),
            Err(kind) => Err(SlabError { kind, future }),
        }
    }

    /// Reserves a slot of the slab, to spawn into later.
    ///
    /// # Panics
    /// Where [`try_claim_slab`](Self::try_claim_slab) returns an error.
    #[track_caller]
    pub fn claim_slab(&self) -> SlabClaim {
        match self.try_claim_slab() {
            Ok(claim) => claim,
            Err(kind) => panic!("the slab has no slot to claim: {kind}"),
        }
    }

    /// Reserves a slot of the slab, to spawn into later.
    ///
    /// # Errors
    /// When there is no slab or no free slot.
    pub fn try_claim_slab(&self) -> Result<SlabClaim, SlabErrorKind> {
        let slot = Some(self.claim()?);
        Ok(SlabClaim { handle: self.clone(), slot })
    }

    fn claim(&self) -> Result<Claimed, SlabErrorKind> {
        if self.owner.ended.get() {
            return Err(SlabErrorKind::Ended);
        }
        let (_, capacity) = self.owner.engine.slab_shape().ok_or(SlabErrorKind::NoSlab)?;
        self.owner.engine.take_slot().ok_or(SlabErrorKind::Full { capacity })
    }

    fn fits<F: Future>(&self) -> Result<(), SlabErrorKind> {
        let (slot_size, _) = self.owner.engine.slab_shape().ok_or(SlabErrorKind::NoSlab)?;
        let (needed, align) = raw::layout_of::<F>();
        if align > raw::SLOT_ALIGN {
            return Err(SlabErrorKind::OverAligned { needed: align, slot_align: raw::SLOT_ALIGN });
        }
        if needed > slot_size {
            return Err(SlabErrorKind::TooLarge { needed, slot_size });
        }
        Ok(())
    }

    /// Tasks that have not ended.
    pub fn task_count(&self) -> usize {
        self.owner.live()
    }

    /// What the runtime has done so far.
    pub fn stats(&self) -> RuntimeStats {
        let (owner, counts) = (&self.owner, self.owner.engine.counts());
        RuntimeStats {
            spawned: counts.spawned,
            live: owner.live() as u64,
            completed: counts.completed,
            panicked: counts.panicked,
            cancelled: counts.cancelled,
            timers: owner.wheel.borrow().armed(),
            descriptors: owner.reactor.watched(),
        }
    }

    /// Triggers and observes the end of what runs here; any thread may hold it.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.owner.shutdown.clone()
    }
}

impl ShutdownSignal {
    /// The signal of the runtime that runs on this thread.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn current() -> Self {
        Handle::current().shutdown_handle().signal()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("ended", &self.owner.ended.get()).finish_non_exhaustive()
    }
}

/// A reserved slot; it goes back when dropped, even after the runtime's end.
#[must_use = "a claim that is dropped gives its slot back"]
pub struct SlabClaim {
    handle: Handle,
    slot: Option<Claimed>,
}

impl SlabClaim {
    /// Spawns a task into the slot.
    ///
    /// # Panics
    /// When the task does not fit the slot.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(self, future: F) -> JoinHandle<F::Output> {
        match self.try_spawn(future) {
            Ok(handle) => handle,
            Err(error) => panic!("the slab did not take the task: {error}"),
        }
    }

    /// Spawns a task into the slot.
    ///
    /// # Errors
    /// When the task does not fit the slot, which goes back; so does the future, inside the error.
    #[expect(clippy::missing_panics_doc, reason = "what it expects is an invariant of the type")]
    #[track_caller]
    pub fn try_spawn<F>(mut self, future: F) -> Result<JoinHandle<F::Output>, SlabError<F>>
    where
        F: Future + 'static,
    {
        let origin = Origin::here(None);
        if let Err(kind) = self.handle.fits::<F>() {
            return Err(SlabError { kind, future });
        }
        let slot = self.slot.take().expect("a claim spawns once");
        Ok(JoinHandle::new(self.handle.owner.engine.spawn_in(slot, future, origin)))
    }

    /// Bytes of the slot; a task needs some of them for its header.
    pub fn slot_size(&self) -> usize {
        self.handle.owner.engine.slab_shape().map_or(0, |(size, _)| size)
    }
}

impl Drop for SlabClaim {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.handle.owner.engine.return_slot(slot);
        }
    }
}

impl fmt::Debug for SlabClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlabClaim").field("slot_size", &self.slot_size()).finish()
    }
}

/// Spawns a task on the runtime of this thread; see [`Handle::spawn_boxed`].
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn spawn_boxed<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    Handle::current().spawn_boxed(future)
}

/// Spawns a task into the slab of the runtime of this thread; see [`Handle::spawn_slab`].
///
/// # Panics
/// Outside a runtime, and where [`try_spawn_slab`] returns an error.
#[track_caller]
pub fn spawn_slab<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    Handle::current().spawn_slab(future)
}

/// Spawns a task into the slab of the runtime of this thread; see [`Handle::try_spawn_slab`].
///
/// # Errors
/// When there is no slab, no free slot, or the task does not fit one. The future comes back.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn try_spawn_slab<F>(future: F) -> Result<JoinHandle<F::Output>, SlabError<F>>
where
    F: Future + 'static,
{
    Handle::current().try_spawn_slab(future)
}

/// Reserves a slot in the slab of the runtime of this thread; see [`Handle::claim_slab`].
///
/// # Panics
/// Outside a runtime, and where [`try_claim_slab`] returns an error.
#[track_caller]
pub fn claim_slab() -> SlabClaim {
    Handle::current().claim_slab()
}

/// Reserves a slot in the slab of the runtime of this thread; see [`Handle::try_claim_slab`].
///
/// # Errors
/// When there is no slab or no free slot.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn try_claim_slab() -> Result<SlabClaim, SlabErrorKind> {
    Handle::current().try_claim_slab()
}
