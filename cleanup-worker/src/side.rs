//! The side of a worker that producers never touch: its lock, its threads, its timers.
//!
//! A forked child gets a side of its own, because a lock of the parent may be held for ever there.
//! The parent's stays where it is, behind the new one, and is neither used nor dropped.

use crate::alarm::Alarm;
use crate::config::Config;
use crate::launch::Placed;
use crate::pool::Pool;
use crate::ready::Ready;
use crate::state::State;
use crate::sync::Mutex;
use std::mem::ManuallyDrop;
use std::sync::{Arc, OnceLock};

pub(crate) struct Side {
    pub(crate) state: Mutex<State>,
    pub(crate) ready: Arc<Ready>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) alarm: Arc<Alarm>,
    /// The thread or runtime task that drives, to be joined.
    pub(crate) placed: Mutex<Option<Placed>>,
}

impl Side {
    pub(crate) fn new(config: &Config) -> Self {
        let ready = Ready::new();
        config.clock.follow(&ready);
        Self {
            state: Mutex::new(State::new(config.concurrency)),
            ready,
            pool: Pool::new(config.blocking_threads, &config.name),
            alarm: Alarm::new(),
            placed: Mutex::new(None),
        }
    }
}

/// The sides of this process and of those it was forked from; the last one is in use.
pub(crate) struct Sides {
    side: Side,
    next: OnceLock<Box<ManuallyDrop<Self>>>,
}

impl Sides {
    pub(crate) fn new(config: &Config) -> Self {
        Self::of(Side::new(config))
    }

    fn of(side: Side) -> Self {
        Self { side, next: OnceLock::new() }
    }

    #[inline]
    pub(crate) fn last(&self) -> &Side {
        let mut sides = self;
        while let Some(next) = sides.next.get() {
            sides = next;
        }
        &sides.side
    }

    /// Puts a new side to use. The caller is the only one who does so at a time.
    pub(crate) fn add(&self, side: Side) {
        let mut sides = self;
        while let Some(next) = sides.next.get() {
            sides = next;
        }
        let _ = sides.next.set(Box::new(ManuallyDrop::new(Self::of(side))));
    }
}
