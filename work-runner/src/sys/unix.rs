//! Unix: the clocks of `clock_gettime`.

/// The system's boot clock, in milliseconds.
pub(crate) fn boot_ms() -> i64 {
    // Linux has a monotonic clock that stands still while the machine sleeps, and this one, which does not.
    // Elsewhere the monotonic clock is the one that all processes share.
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(id);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}
