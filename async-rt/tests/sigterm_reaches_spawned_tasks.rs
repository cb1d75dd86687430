//! SIGTERM wakes every task that listens, spawned or not, and the handlers go with the runtimes.
#![allow(clippy::unwrap_used, reason = "a test")]

use lastout_async_rt::time::{timeout, yield_now};
use lastout_async_rt::{Runtime, ShutdownSignal, spawn_boxed};
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
            #[expect(unsafe_code, reason = "std sends no signals")]
            // SAFETY: the handler of this runtime is in place, and it is async-signal-safe.
            unsafe {
                libc::raise(libc::SIGTERM)
            };
            for listener in listeners {
                timeout(Duration::from_secs(60), listener).await.unwrap().unwrap();
            }
        });
        second.block_on(async {
            timeout(Duration::from_secs(60), ShutdownSignal::current()).await.unwrap();
        });
        drop(runtime);
        assert_ne!(action_of_sigterm(), before, "another runtime still listens");
        drop(second);
        assert_eq!(action_of_sigterm(), before);
    }
}
