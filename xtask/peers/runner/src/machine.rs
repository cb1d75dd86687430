//! What the kernel tells: CPU time of this process, and where its threads may run.

use std::time::{Duration, Instant};

/// User and system time of this process so far, by `getrusage`.
pub fn cpu_time() -> Duration {
    // SAFETY: all-zero bytes are a valid `rusage`, a struct of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a live, writable `rusage`.
    let outcome = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    assert_eq!(outcome, 0, "getrusage of this process cannot fail");
    let part = |t: libc::timeval| {
        Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64)
    };
    part(usage.ru_utime) + part(usage.ru_stime)
}

/// Keeps the calling thread on one core; threads started by it inherit that.
///
/// Returns whether the kernel agreed: a machine may have fewer cores.
pub fn pin_to_core(core: usize) -> bool {
    set_affinity(|set| {
        // SAFETY: `set` is a live `cpu_set_t`; an out-of-range core is ignored by the macro's bound.
        unsafe { libc::CPU_SET(core, set) }
    })
}

/// Lets the calling thread run on any core again.
pub fn unpin() -> bool {
    set_affinity(|set| {
        for core in 0..libc::CPU_SETSIZE as usize {
            // SAFETY: `core` is below `CPU_SETSIZE` and `set` is a live `cpu_set_t`.
            unsafe { libc::CPU_SET(core, set) }
        }
    })
}

fn set_affinity(fill: impl FnOnce(&mut libc::cpu_set_t)) -> bool {
    // SAFETY: all-zero bytes are the empty `cpu_set_t`.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    fill(&mut set);
    // SAFETY: `set` is live for the call and its size is the one passed.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0 }
}

/// Nanoseconds for each of `n` calls of `op`, which gets the index of the call.
pub fn per_op(n: u64, mut op: impl FnMut(u64)) -> f64 {
    let start = Instant::now();
    for index in 0..n {
        op(index);
    }
    start.elapsed().as_nanos() as f64 / n as f64
}
