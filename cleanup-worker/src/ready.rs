//! Which tasks in flight asked to be polled, and how the driver is woken for anything but a submit.
//!
//! Each slot of the worker has one waker for its whole life, so polling allocates nothing. A waker
//! that a former task kept wakes the slot's present task once in vain, which every future allows.

use crate::sync::process::AtomicBool;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The slots that are ready, and the driver's waker.
pub(crate) struct Ready {
    /// Each slot once at most, so it never grows beyond the number of slots.
    queue: Mutex<VecDeque<usize>>,
    pub(crate) kick: Kick,
}

impl Ready {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { queue: Mutex::new(VecDeque::new()), kick: Kick(Mutex::new(None)) })
    }

    pub(crate) fn pop(&self) -> Option<usize> {
        let queue = self.queue.lock();
        queue.unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn push(&self, slot: usize) {
        let queue = self.queue.lock();
        queue.unwrap_or_else(PoisonError::into_inner).push_back(slot);
        self.kick.wake();
    }
}

/// The waker of one slot.
pub(crate) struct SlotWaker {
    slot: usize,
    /// Whether the slot is in the queue already.
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl SlotWaker {
    pub(crate) fn new(slot: usize, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { slot, queued: AtomicBool::new(false), ready: Arc::clone(ready) })
    }

    /// The slot was taken from the queue and is about to be polled: a wake from here on counts anew.
    pub(crate) fn rearm(&self) {
        // ORDERING: the swap acquires what the waking thread did before `wake`.
        self.queued.swap(false, AcqRel);
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDERING: releases what this thread did to the poll that follows `rearm`.
        if !self.queued.swap(true, AcqRel) {
            self.ready.push(self.slot);
        }
    }
}

/// The waker of the driver, whichever thread or runtime it runs on.
pub(crate) struct Kick(Mutex<Option<Waker>>);

impl Kick {
    pub(crate) fn register(&self, waker: &Waker) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = match &*slot {
            Some(old) if old.will_wake(waker) => None,
            _ => slot.replace(waker.clone()),
        };
        drop(slot);
        drop(old);
    }

    pub(crate) fn wake(&self) {
        let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waker = slot.clone();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Parks one thread; for the driver of a dedicated worker and for blocking waits.
///
/// The flag decides, not the park token: a cleanup that parks the thread itself takes no wake away.
pub(crate) struct Parker {
    thread: std::thread::Thread,
    notified: AtomicBool,
}

impl Parker {
    /// A parker of the calling thread.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { thread: std::thread::current(), notified: AtomicBool::new(false) })
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Waits until woken, or until `until`.
    pub(crate) fn park(&self, until: Option<std::time::Instant>) {
        // ORDERING: acquires what the waking thread did before it woke us.
        while !self.notified.swap(false, AcqRel) {
            match until {
                None => std::thread::park(),
                Some(until) => {
                    let left = until.saturating_duration_since(std::time::Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    std::thread::park_timeout(left);
                }
            }
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDERING: releases to the swap in `park`.
        self.notified.store(true, Release);
        self.thread.unpark();
    }
}
