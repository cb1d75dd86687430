//! Tasks of the intrusive core, woken, aborted, joined and dropped from another thread.

use super::{Sleeper, model};
use crate::sys::Unpark;
use crate::task::raw::{Engine, RawJoin};
use crate::task::{EngineConfig, Origin, SlabConfig, Visibility};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Tells of the end of the shared half, which comes after that of each task.
struct Last {
    sleeper: Arc<Sleeper>,
    gone: Arc<std::sync::atomic::AtomicUsize>,
}

impl Unpark for Last {
    fn unpark(&self) {
        self.sleeper.unpark();
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        self.gone.fetch_add(1, Ordering::Relaxed);
    }
}

struct World {
    engine: Engine,
    sleeper: Arc<Sleeper>,
    gone: Arc<std::sync::atomic::AtomicUsize>,
}

impl World {
    fn new() -> Self {
        let (sleeper, gone) = (Sleeper::new(), Arc::default());
        let unpark = Arc::new(Last { sleeper: Arc::clone(&sleeper), gone: Arc::clone(&gone) });
        let slab = Some(SlabConfig { slot_size: 512, count: 1, unbounded: false });
        let engine = Engine::new(EngineConfig { slab, ..EngineConfig::default() }, unpark);
        Self { engine, sleeper, gone }
    }

    /// A task, and the waker of its first poll, which was pending.
    fn spawn<F>(&self, future: F) -> (RawJoin<F::Output>, Waker)
    where
        F: Future + Unpin + 'static,
    {
        let waker = Rc::new(RefCell::new(None));
        let (give, mut future) = (Rc::clone(&waker), future);
        let task = poll_fn(move |cx| {
            give.borrow_mut().get_or_insert_with(|| cx.waker().clone());
            std::pin::Pin::new(&mut future).poll(cx)
        });
        let join = self.engine.spawn(task, Origin::here(None), Visibility::Counted);
        self.engine.enter(|| self.engine.run(1, &Cell::new(false)));
        let waker = waker.borrow_mut().take().unwrap();
        (join, waker)
    }

    /// Runs until the task is done, asleep in between.
    fn finish<T>(&self, join: &RawJoin<T>) {
        self.engine.enter(|| {
            while !join.is_finished() {
                self.engine.run(8, &Cell::new(false));
                if !join.is_finished() && !self.engine.has_ready() {
                    if !self.engine.has_foreign() && self.engine.park() {
                        self.sleeper.sleep();
                    }
                    self.engine.drain(usize::MAX);
                }
            }
        });
    }
}

/// A wake that is folded into one under way is seen by the poll that follows.
#[test]
fn i4_a_folded_wake_is_seen() {
    model(3, || {
        let world = World::new();
        let flag = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&flag);
        let ready = poll_fn(move |_| match seen.load(Ordering::Relaxed) {
            true => Poll::Ready(7),
            false => Poll::Pending,
        });
        let (join, waker) = world.spawn(ready);
        let thread = thread::spawn(move || {
            waker.wake_by_ref();
            flag.store(true, Ordering::Relaxed);
            waker.wake();
        });
        world.finish(&join);
        let output = join.poll(&Context::from_waker(Waker::noop()));
        assert!(matches!(output, Poll::Ready(Some(Ok(7)))), "joined");
        thread.join().unwrap();
    });
}

/// Clones and drops on two threads while the owner completes and forgets the task.
#[test]
fn i5_the_last_reference_frees_on_either_side() {
    model(3, || {
        let world = World::new();
        let (join, waker) = world.spawn(pending::<()>());
        let abort = join.abort_handle();
        let thread = thread::spawn(move || {
            let clone = waker.clone();
            drop(waker);
            clone.wake();
        });
        abort.abort();
        drop(abort);
        drop(join);
        world.engine.enter(|| {
            world.engine.drain(usize::MAX);
            world.engine.run(8, &Cell::new(false));
        });
        drop(world.engine);
        thread.join().unwrap();
        assert_eq!(world.gone.load(Ordering::Relaxed), 1, "the shared half, so each task");
    });
}

/// The owner alone with a foreign drop: the path without an exchange.
#[test]
fn i5_the_owner_sees_the_foreign_drop_before_it_frees() {
    model(3, || {
        let world = World::new();
        let (join, waker) = world.spawn(pending::<()>());
        let thread = thread::spawn(move || drop(waker));
        join.abort();
        world.engine.enter(|| {
            world.engine.drain(usize::MAX);
            world.engine.run(8, &Cell::new(false));
            drop(join);
        });
        drop(world.engine);
        thread.join().unwrap();
        assert_eq!(world.gone.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn i5_a_slot_comes_home_from_another_thread() {
    model(3, || {
        let world = World::new();
        let slot = world.engine.take_slot().unwrap();
        let keep: Rc<RefCell<Option<Waker>>> = Rc::default();
        let give = Rc::clone(&keep);
        let task = poll_fn(move |cx| {
            *give.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(())
        });
        drop(world.engine.spawn_in(slot, task, Origin::here(None)));
        world.engine.enter(|| world.engine.run(1, &Cell::new(false)));
        let waker = keep.borrow_mut().take().unwrap();
        let thread = thread::spawn(move || drop(waker));
        let early = world.engine.take_slot().is_some();
        thread.join().unwrap();
        assert!(early || world.engine.take_slot().is_some(), "the slot is free again");
        drop(world.engine);
        assert_eq!(world.gone.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn i6_an_abort_from_elsewhere_ends_the_task() {
    model(3, || {
        let world = World::new();
        let (join, waker) = world.spawn(pending::<()>());
        drop(waker);
        let abort = join.abort_handle();
        let thread = thread::spawn(move || abort.abort());
        world.finish(&join);
        thread.join().unwrap();
    });
}

/// The runtime ends while wakers are used elsewhere.
#[test]
fn i7_the_shared_half_is_freed_once_after_all_wakes() {
    model(3, || {
        let world = World::new();
        let (join, waker) = world.spawn(pending::<()>());
        drop(join);
        let thread = thread::spawn(move || {
            waker.wake_by_ref();
            waker.wake();
        });
        drop(world.engine);
        thread.join().unwrap();
        assert_eq!(world.gone.load(Ordering::Relaxed), 1);
    });
}
