//! The signals that end the command.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;

/// From now on these signals are told to `tell`, on a thread of its own, until it says that nobody listens.
#[expect(clippy::disallowed_methods, reason = "it lives as long as the program")]
pub(crate) fn forward(mut tell: impl FnMut(i32) -> bool + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
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
