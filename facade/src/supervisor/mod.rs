//! The supervisor: owns what a program started, and ends it in order.
//!
//! ```text
//!   builder ── build ──► running ── stop, signal, a member given up ──► draining ──► Report
//!                                                  └── second signal, force ──┘
//! ```
//!
//! One future does everything: it starts the services, watches all members, and ends them. It knows no
//! runtime; the two forms only lend it a thread and a clock. Members are code of somebody else's: their
//! panics end where they are called, and no lock is held while they run.

mod adapt;
mod builder;
mod clock;
mod contain;
pub(crate) mod drain;
mod end;
mod error;
mod handle;
mod member;
pub(crate) mod owner;
pub(crate) mod report;
pub(crate) mod restart;
#[cfg(feature = "tokio")]
mod signals;
mod stats;
mod stop;
mod stopping;
mod table;
#[cfg(feature = "tokio")]
mod task;
mod tend;
mod thread;

use member::Member;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use stop::Stop;

pub use adapt::IntoDrain;
pub use builder::Builder;
pub use drain::{DrainFuture, Drained, FailedFuture, Failure, Left, Tally, Until};
#[cfg(feature = "tokio")]
pub use error::SignalError;
pub use error::{BuildError, BuildReason};
pub use handle::Handle;
pub use report::{Cause, Ending, MemberReport};
pub use stats::{Counters, MemberStats, Phase, Stats, Sum};
pub use stopping::Stopping;
#[cfg(feature = "tokio")]
pub use task::Task;
pub use thread::Thread;

/// What the supervisor and its handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) members: Vec<Member>,
    pub(crate) limits: Limits,
    pub(crate) stop: Stop,
    /// The first signal that came.
    signal: Mutex<Option<String>>,
}

/// What holds for all members.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) grace: Duration,
    pub(crate) total: Duration,
}

impl Shared {
    pub(crate) fn stats(&self) -> Stats {
        let members = self.members.iter().map(Member::stats).collect();
        Stats { members }
    }

    /// A signal came: the first one drains, the next one forces.
    #[cfg(feature = "tokio")]
    fn signalled(&self, name: &str) {
        self.signal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| name.to_owned());
        self.stop.step();
    }

    fn cause(&self) -> Cause {
        let signal = self.signal.lock().unwrap_or_else(PoisonError::into_inner);
        signal.clone().map_or(Cause::Asked, Cause::Signal)
    }
}
