//! `Mutex` and `RwLock` of one thread: exclusive, fair, and passed on by cancellation and panic.
#![allow(clippy::unwrap_used, reason = "a test")]

use lastout_async_rt::lock::{Mutex, RwLock};
use lastout_async_rt::{Runtime, spawn_boxed, time::yield_now};
use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_mutex_is_had_in_the_order_in_which_it_was_asked_for() {
    Runtime::new().unwrap().block_on(async {
        let order = Rc::new(Mutex::new(Vec::new()));
        let held = order.lock().await;
        let tasks: Vec<_> = (0..5)
            .map(|n| {
                let order = Rc::clone(&order);
                spawn_boxed(async move {
                    let mut order = order.lock().await;
                    yield_now().await;
                    order.push(n);
                })
            })
            .collect();
        yield_now().await;
        assert!(order.try_lock().is_none());
        tasks[1].abort();
        drop(held);
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.is_ok(), n != 1);
        }
        assert_eq!(*order.lock().await, [0, 2, 3, 4]);
    });
}

#[test]
fn a_task_that_panics_with_the_value_passes_it_on() {
    Runtime::new().unwrap().block_on(async {
        let value = Rc::new(Mutex::new(1));
        let holder = Rc::clone(&value);
        let task = spawn_boxed(async move {
            let mut value = holder.lock().await;
            *value = 2;
            panic!("on purpose");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(*value.lock().await, 2);
    });
}

#[test]
fn a_grant_to_a_cancelled_waiter_goes_to_the_next() {
    let value = Mutex::new(0);
    let held = value.try_lock().unwrap();
    let (mut first, mut second) = (Box::pin(value.lock()), Box::pin(value.lock()));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    drop(held);
    drop(first);
    assert!(poll(second.as_mut()).is_ready());
}

#[test]
fn readers_share_and_writers_are_not_starved() {
    let value = RwLock::new(0);
    let (one, two) = (value.try_read().unwrap(), value.try_read().unwrap());
    let (mut write, mut late) = (Box::pin(value.write()), Box::pin(value.read()));
    assert!(poll(write.as_mut()).is_pending());
    assert!(poll(late.as_mut()).is_pending(), "a reader that comes after a writer waits");
    assert!(value.try_read().is_none() && value.try_write().is_none());
    drop(one);
    assert!(poll(write.as_mut()).is_pending());
    drop(two);
    let Poll::Ready(mut guard) = poll(write.as_mut()) else { panic!("no reader is left") };
    *guard = 5;
    assert!(poll(late.as_mut()).is_pending());
    drop(guard);
    let Poll::Ready(guard) = poll(late.as_mut()) else { panic!("the writer is done") };
    assert_eq!(*guard, 5);
    drop((guard, write, late));
    let seen = RefCell::new(value.into_inner());
    assert_eq!(*seen.borrow(), 5);
    let mut brief = Mutex::new(3);
    *brief.get_mut() += 1;
    assert_eq!(poll(pin!(brief.lock())).map(|value| *value), Poll::Ready(4));
}

/// A value whose `Debug` uses the lock that it is in.
struct Curious(std::rc::Weak<Locks>);

type Locks = (Mutex<Option<Curious>>, RwLock<Option<Curious>>);

impl std::fmt::Debug for Curious {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let locks = self.0.upgrade().unwrap();
        write!(f, "{} {}", locks.0.try_lock().is_some(), locks.1.try_write().is_some())
    }
}

#[test]
fn a_value_that_is_formatted_may_use_its_lock() {
    let locks = Rc::new((Mutex::new(None), RwLock::new(None)));
    *locks.0.try_lock().unwrap() = Some(Curious(Rc::downgrade(&locks)));
    *locks.1.try_write().unwrap() = Some(Curious(Rc::downgrade(&locks)));
    assert_eq!(format!("{:?}", locks.0), "Mutex { value: Some(false true) }");
    assert_eq!(format!("{:?}", locks.1), "RwLock { value: Some(true false) }");
    let held = (locks.0.try_lock(), locks.1.try_write());
    assert_eq!(format!("{:?}", locks.0), "Mutex { .. }");
    assert_eq!(format!("{:?}", locks.1), "RwLock { .. }");
    drop(held);
    locks.0.try_lock().unwrap().take();
    locks.1.try_write().unwrap().take();
}
