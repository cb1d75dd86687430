//! The process-wide worker takes work before it was initialised, outside every runtime, in an unwind,
//! in the destructor of a thread-local, and after the runtime that called first is gone.
//!
//! Each test runs in a process of its own, so that it is the first to touch the worker.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "real threads and processes")]

mod support;

use lastout_cleanup_worker as cleanup;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use support::{LONG, again, is_second_life, until};

/// Submits one more for each drop.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        let count = Arc::clone(&self.0);
        let task = async move {
            count.fetch_add(1, SeqCst);
        };
        cleanup::submit(task).unwrap();
    }
}

fn alone(test: &str, body: fn(Guard, &AtomicUsize)) {
    if is_second_life() {
        let count = Arc::new(AtomicUsize::new(0));
        body(Guard(Arc::clone(&count)), &count);
        cleanup::flush_blocking(LONG).unwrap();
        assert_eq!(count.load(SeqCst), 1);
        assert_eq!(cleanup::handle().stats().completed, 1);
    } else {
        let (status, output) = again(test);
        assert!(status.success(), "{output}");
        assert!(output.contains("1 passed"), "{output}");
    }
}

#[test]
fn before_anything_was_initialised() {
    alone("before_anything_was_initialised", |guard, _| {
        assert!(!cleanup::is_running());
        drop(guard);
        assert!(cleanup::is_running());
    });
}

#[test]
fn in_an_unwind() {
    alone("in_an_unwind", |guard, _| {
        let thread = std::thread::spawn(move || {
            let _guard = guard;
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
    });
}

#[test]
fn in_the_destructor_of_a_thread_local() {
    thread_local!(static LAST: std::cell::RefCell<Option<Guard>> = const { std::cell::RefCell::new(None) });
    alone("in_the_destructor_of_a_thread_local", |guard, _| {
        let thread = std::thread::spawn(move || LAST.set(Some(guard)));
        thread.join().unwrap();
    });
}

#[test]
fn after_the_first_runtime_is_gone() {
    alone("after_the_first_runtime_is_gone", |guard, count| {
        let first = tokio::runtime::Runtime::new().unwrap();
        first.block_on(async {
            cleanup::init_worker();
            cleanup::flush(LONG).await.unwrap();
        });
        drop(first);
        assert!(cleanup::is_running());
        let second = tokio::runtime::Builder::new_current_thread().build().unwrap();
        second.block_on(async move { drop(guard) });
        drop(second);
        cleanup::flush_blocking(LONG).unwrap();
        assert_eq!(count.load(SeqCst), 1);
    });
}

#[test]
fn while_a_runtime_is_dropped() {
    alone("while_a_runtime_is_dropped", |guard, _| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (entered, wait) = tokio::sync::oneshot::channel();
        let task = runtime.spawn(async move {
            let _guard = guard;
            entered.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        runtime.block_on(wait).unwrap();
        drop(runtime);
        until("the task is gone", || task.is_finished());
    });
}

#[test]
fn from_many_threads_at_once_as_the_first_act() {
    const THREADS: usize = 8;
    if is_second_life() {
        let count = Arc::new(AtomicUsize::new(0));
        let start = Arc::new(std::sync::Barrier::new(THREADS));
        let threads = (0..THREADS).map(|_| {
            let (guard, start) = (Guard(Arc::clone(&count)), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                drop(guard);
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        cleanup::flush_blocking(LONG).unwrap();
        assert_eq!(count.load(SeqCst), THREADS);
        assert_eq!(cleanup::handle().stats().starts, 1);
    } else {
        let (status, output) = again("from_many_threads_at_once_as_the_first_act");
        assert!(status.success(), "{output}");
    }
}

#[test]
fn init_worker_is_idempotent() {
    if is_second_life() {
        cleanup::init_worker();
        cleanup::init_worker();
        assert!(cleanup::is_running());
        assert_eq!(cleanup::handle().stats().starts, 1);
    } else {
        let (status, output) = again("init_worker_is_idempotent");
        assert!(status.success(), "{output}");
    }
}
