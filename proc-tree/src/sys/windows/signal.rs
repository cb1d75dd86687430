//! [`Signal`]: what a policy may ask for, of the two requests that Windows has.

use std::fmt;

/// A request that can be made of the members of a tree.
///
/// Windows has no signals. Each of these is the console event `CTRL_BREAK`, the only one that reaches a single
/// process group: that of the root, if the root was started as the leader of one and shares the console of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(Request);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Request {
    Term,
    Int,
}

impl Signal {
    /// Asks to end. A program that does not handle the event ends by it.
    pub const TERM: Self = Self(Request::Term);
    /// Asks to interrupt what is done. `CTRL_C` cannot be sent to one process group, so it is the same event.
    pub const INT: Self = Self(Request::Int);
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Request::Term => "SIGTERM",
            Request::Int => "SIGINT",
        })
    }
}
