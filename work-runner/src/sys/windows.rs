//! Windows: the time since the start of the machine.

/// The system's boot clock, in milliseconds.
pub(crate) fn boot_ms() -> i64 {
    crate::job::millis(lastout_proc_tree::uptime())
}
