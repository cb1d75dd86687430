//! [`Signal`]: what a policy may send, checked once when it is made.

use std::fmt;

/// A signal that can be sent to the members of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// Asks to end. Most programs clean up and do so.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// What Ctrl-C sends.
    pub const INT: Self = Self(libc::SIGINT);
    /// The terminal is gone; many daemons reload instead.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// Asks to end with a core dump.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// For the program's own use.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// For the program's own use.
    pub const USR2: Self = Self(libc::SIGUSR2);
    pub(crate) const KILL: Self = Self(libc::SIGKILL);
    pub(crate) const STOP: Self = Self(libc::SIGSTOP);
    pub(crate) const CONT: Self = Self(libc::SIGCONT);

    /// The signal with this number; `None` for numbers that no signal has.
    ///
    /// `SIGKILL` is made by [`Tree::kill`](crate::Tree::kill) alone, which makes it complete: it is
    /// `None` here, and so is `SIGSTOP`, because a stopped member cannot answer anything else.
    pub fn from_raw(number: i32) -> Option<Self> {
        let sendable = (1..=64).contains(&number);
        let reserved = number == libc::SIGKILL || number == libc::SIGSTOP;
        (sendable && !reserved).then_some(Self(number))
    }

    /// The number.
    pub fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            libc::SIGTERM => "SIGTERM",
            libc::SIGINT => "SIGINT",
            libc::SIGHUP => "SIGHUP",
            libc::SIGQUIT => "SIGQUIT",
            libc::SIGUSR1 => "SIGUSR1",
            libc::SIGUSR2 => "SIGUSR2",
            libc::SIGKILL => "SIGKILL",
            libc::SIGSTOP => "SIGSTOP",
            libc::SIGCONT => "SIGCONT",
            other => return write!(f, "signal {other}"),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kill_stop_and_numbers_without_signal_are_refused() {
        for number in [i32::MIN, -1, 0, libc::SIGKILL, libc::SIGSTOP, 65, i32::MAX] {
            assert_eq!(Signal::from_raw(number), None, "{number}");
        }
        assert_eq!(Signal::from_raw(libc::SIGTERM), Some(Signal::TERM));
    }
}
