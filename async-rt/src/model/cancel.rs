//! Cancellation against registration, against the end of a waiter, and against a new child.

use super::model;
use crate::cancel::CancellationToken;
use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

#[test]
fn i8_a_waiter_is_woken() {
    model(3, || {
        let token = CancellationToken::new();
        let theirs = token.clone();
        let thread = thread::spawn(move || theirs.cancel());
        block_on(token.cancelled());
        thread.join().unwrap();
    });
}

#[test]
fn i8_a_waiter_that_ends_does_not_take_the_wake_of_another() {
    model(3, || {
        let token = CancellationToken::new();
        let (one, two) = (token.clone(), token.clone());
        let thread = thread::spawn(move || one.cancel());
        let brief = thread::spawn(move || {
            let mut waiter = two.cancelled();
            let _ = Pin::new(&mut waiter).poll(&mut Context::from_waker(Waker::noop()));
        });
        block_on(token.cancelled());
        brief.join().unwrap();
        thread.join().unwrap();
    });
}

#[test]
fn i9_a_child_made_meanwhile_is_cancelled_too() {
    model(3, || {
        let token = CancellationToken::new();
        let theirs = token.clone();
        let thread = thread::spawn(move || theirs.cancel());
        let child = token.child();
        thread.join().unwrap();
        assert!(child.is_cancelled());
        assert!(child.child().is_cancelled());
    });
}

#[test]
fn i9_who_sees_the_cancellation_sees_what_came_before() {
    model(3, || {
        let token = CancellationToken::new();
        let written = Arc::new(AtomicUsize::new(0));
        let (theirs, mine) = (token.clone(), Arc::clone(&written));
        let thread = thread::spawn(move || {
            mine.store(1, Ordering::Relaxed);
            mine.store(2, Ordering::Relaxed);
            theirs.cancel();
        });
        // Loom explores a race only with the latest access, and `cancel` looks before it marks:
        // so this thread looks until it sees. What was there before it yielded it never reads again,
        // which leaves it the choice of the two writes.
        while !token.is_cancelled() {
            thread::yield_now();
        }
        assert_eq!(written.load(Ordering::Relaxed), 2);
        thread.join().unwrap();
    });
}
