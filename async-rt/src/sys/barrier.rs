//! A full fence on every thread of the process, made by the one thread that needs it: so a thread that
//! runs often can leave its own fence out, and one that rarely sleeps makes it for both.
//!
//! On Linux this is `membarrier`. Where it is not to be had, no thread leaves its fence out.
#![cfg_attr(
    all(target_os = "linux", not(lastout_loom)),
    expect(unsafe_code, reason = "the system call has no safe wrapper in std")
)]

#[cfg(not(all(target_os = "linux", not(lastout_loom))))]
pub(crate) use everywhere::{can_be_left_out, left_out, on_all_threads};
#[cfg(all(target_os = "linux", not(lastout_loom)))]
pub(crate) use linux::{can_be_left_out, left_out, on_all_threads};

#[cfg(all(target_os = "linux", not(lastout_loom)))]
mod linux {
    use std::sync::OnceLock;
    use std::sync::atomic::{Ordering, compiler_fence, fence};
    use std::time::Duration;

    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: takes three numbers and touches no memory of this process.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    /// Whether [`on_all_threads`] makes the fence of a thread that leaves its own out.
    pub(crate) fn can_be_left_out() -> bool {
        static REGISTERED: OnceLock<bool> = OnceLock::new();
        *REGISTERED
            .get_or_init(|| membarrier(REGISTER_PRIVATE_EXPEDITED) && membarrier(PRIVATE_EXPEDITED))
    }

    /// The place of a fence that is left out: only the compiler keeps the order here.
    #[inline]
    pub(crate) fn left_out() {
        compiler_fence(Ordering::SeqCst);
    }

    /// A full fence on this thread, and one on every other that left its own out.
    pub(crate) fn on_all_threads() {
        fence(Ordering::SeqCst);
        if !membarrier(PRIVATE_EXPEDITED) {
            forbidden_since();
        }
        fence(Ordering::SeqCst);
    }

    /// The process has forbidden itself the call after its registration. A store leaves the buffer of
    /// its core within nanoseconds, and at the latest when the core changes threads.
    #[cold]
    #[expect(clippy::disallowed_methods, reason = "nothing can be waited for")]
    fn forbidden_since() {
        // SLEEP: there is no condition to wait for; only time empties the buffers.
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(not(all(target_os = "linux", not(lastout_loom))))]
mod everywhere {
    use crate::sync::{Ordering, fence};

    /// In models the fence that is left out is one, so that they have the states in which it is.
    pub(crate) fn can_be_left_out() -> bool {
        cfg!(lastout_loom)
    }

    pub(crate) fn left_out() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn on_all_threads() {
        fence(Ordering::SeqCst);
    }
}
