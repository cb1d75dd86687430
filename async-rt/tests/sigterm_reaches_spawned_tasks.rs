//! SIGTERM wakes every task that listens, spawned or not, and the handlers go with the runtimes.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

use lastout_async_rt::time::{timeout, yield_now};
use lastout_async_rt::{Runtime, ShutdownSignal, spawn_boxed};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

fn action_of_sigterm() -> usize {
    #[expect(unsafe_code, reason = "std does not tell of handlers")]
    // SAFETY: all zeros are a valid action.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    #[expect(unsafe_code, reason = "std does not tell of handlers")]
    // SAFETY: it only reads the action, into memory of ours.
    unsafe {
        libc::sigaction(libc::SIGTERM, std::ptr::null(), &raw mut now)
    };
    now.sa_sigaction
}

/// To this process, while a runtime of it listens.
fn raise() {
    #[expect(unsafe_code, reason = "std sends no signals")]
    // SAFETY: the handler of a runtime is in place, and it is async-signal-safe.
    unsafe {
        libc::raise(libc::SIGTERM)
    };
}

/// Counts, then panics.
#[derive(Default)]
struct Panics(AtomicUsize);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("a waker");
    }
}

/// The signal goes to this process alone, and this is the only test of its binary.
#[test]
fn a_spawned_task_hears_of_sigterm() {
    let before = action_of_sigterm();
    for _ in 0..3 {
        let runtime = Runtime::builder().signal_handlers(true).build().unwrap();
        let second = Runtime::builder().signal_handlers(true).build().unwrap();
        assert_ne!(action_of_sigterm(), before);
        runtime.block_on(async {
            let listeners: Vec<_> =
                (0..2).map(|_| spawn_boxed(ShutdownSignal::current())).collect();
            yield_now().await;
            raise();
            for listener in listeners {
                timeout(Duration::from_secs(60), listener).await.unwrap().unwrap();
            }
        });
        second.block_on(async {
            timeout(Duration::from_secs(60), ShutdownSignal::current()).await.unwrap();
        });
        // One signal between two calls of `block_on`, to a waker that panics; the others still hear.
        let wakes = Arc::new(Panics::default());
        let third = Runtime::builder().signal_handlers(true).build().unwrap();
        let mut listener = Box::pin(third.shutdown_handle().signal());
        let waker = Waker::from(Arc::clone(&wakes));
        assert!(listener.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        raise();
        third.block_on(async {
            timeout(Duration::from_secs(60), ShutdownSignal::current()).await.unwrap();
        });
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        drop((third, runtime));
        assert_ne!(action_of_sigterm(), before, "another runtime still listens");
        drop(second);
        assert_eq!(action_of_sigterm(), before);
    }
}
