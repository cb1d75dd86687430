//! The signals that end the command.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;

/// Whether this program was started with SIGHUP ignored, as `nohup` does: it and what it runs stay deaf to it.
fn is_deaf_to_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}

/// From now on these signals are told to `tell`, on a thread of its own, until it says that nobody listens.
#[expect(clippy::disallowed_methods, reason = "it lives as long as the program")]
pub(crate) fn forward(mut tell: impl FnMut(i32) -> bool + Send + 'static) -> io::Result<()> {
    let hangup = Some(SIGHUP).filter(|_| !is_deaf_to_hangup());
    let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM].into_iter().chain(hangup))?;
    let forward = move || {
        for number in signals.forever() {
            if !tell(number) {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(forward).map(drop)
}

/// The exit status of a program that a signal has ended, as a shell says it.
pub(crate) fn status(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}
