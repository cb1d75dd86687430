//! The name of a task, which wakers and abort handles have, and the ways it reaches its owner.

use crate::error::{JoinError, Payload};
use crate::sys::Unpark;
use crate::task::origin::Origin;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake};

/// A future that stores its own output.
pub(super) trait Polled {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Payload>>;
    /// Drops the future; what its destructor panicked with.
    fn drop_future(&mut self) -> Result<(), Payload>;
    /// Stores the error as the output.
    fn fail(&self, error: JoinError);
    /// Wakes the joiner, or drops the output of a detached task.
    fn settle(&self);
    fn is_joined(&self) -> bool;
}

/// What foreign threads reach.
pub(super) struct Inbox {
    pub(super) state: Mutex<InboxState>,
    pub(super) unpark: Arc<dyn Unpark>,
}

#[derive(Default)]
pub(super) struct InboxState {
    pub(super) woken: Vec<Arc<Name>>,
    pub(super) parked: bool,
    pub(super) closed: bool,
}

impl Inbox {
    pub(super) fn new(unpark: Arc<dyn Unpark>) -> Self {
        Self { state: Mutex::default(), unpark }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task, for wakers and abort handles.
pub(super) struct Name {
    pub(super) key: usize,
    /// Never used twice, unlike the key.
    pub(super) number: u64,
    pub(super) aborted: AtomicBool,
    pub(super) in_inbox: AtomicBool,
    pub(super) in_slab: bool,
    /// It serves the runtime and is in no count.
    pub(super) hidden: bool,
    pub(super) inbox: Arc<Inbox>,
}

/// The ready queue, which local wakes reach through the thread.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) queue: RefCell<VecDeque<Arc<Name>>>,
    pub(super) tasks: RefCell<slab::Slab<Task>>,
}

pub(super) struct Task {
    pub(super) number: u64,
    pub(super) ready: bool,
    /// Out of its place while it is polled.
    pub(super) future: Option<Box<dyn Polled>>,
    pub(super) name: Arc<Name>,
    pub(super) origin: Rc<Origin>,
}

/// The engine that runs on this thread.
pub(super) type Here = (Arc<Inbox>, Rc<Ready>);

thread_local! {
    /// Without a destructor, so that it is there while the thread drops its other thread locals.
    pub(super) static CURRENT: ManuallyDrop<RefCell<Option<Here>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

impl Ready {
    pub(super) fn schedule(&self, name: &Arc<Name>) {
        let mut tasks = self.tasks.borrow_mut();
        let Some(task) = tasks.get_mut(name.key).filter(|task| task.number == name.number) else {
            return;
        };
        if !std::mem::replace(&mut task.ready, true) {
            self.queue.borrow_mut().push_back(Arc::clone(name));
        }
    }
}

impl Wake for Name {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let ours = CURRENT.with(|current| {
            let current = current.borrow();
            let (inbox, ready) = current.as_ref()?;
            Arc::ptr_eq(inbox, &self.inbox).then(|| Rc::clone(ready))
        });
        if let Some(ready) = ours {
            return ready.schedule(self);
        }
        let mut state = self.inbox.lock();
        if state.closed || self.in_inbox.swap(true, Ordering::Relaxed) {
            return;
        }
        state.woken.push(Arc::clone(self));
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        if parked {
            self.inbox.unpark.unpark();
        }
    }
}

/// The right to abort.
#[derive(Clone)]
pub(crate) struct RefAbort(pub(super) Arc<Name>);

impl RefAbort {
    pub(crate) fn abort(&self) {
        // Relaxed: the wake that follows orders it, by the lock of the inbox.
        self.0.aborted.store(true, Ordering::Relaxed);
        self.0.wake_by_ref();
    }

    pub(crate) fn id(&self) -> usize {
        self.0.number as usize
    }
}
