//! The supervisor: owns what a program started, and ends it in order.
//!
//! ```text
//!   builder ── build ──► running ── stop, signal, a member given up, all done ──► draining ──► Report
//!                                      second signal: force · third signal: nothing is waited for
//! ```
//!
//! One future does everything: it starts the services, watches all members, and ends them. It is polled
//! on a thread that only it uses, so that nothing else can keep it from a deadline. Members are code of
//! others: their starts, ends and destructors run on threads of their own, which are left behind when they
//! do not return; their panics end where they are called; no lock is held while they run.

mod adapt;
pub(crate) mod apart;
mod builder;
mod clock;
pub(crate) mod contain;
pub(crate) mod drain;
mod end;
pub(crate) mod error;
mod handle;
mod health;
mod member;
mod notify;
mod order;
pub(crate) mod owner;
mod reload;
pub(crate) mod report;
pub(crate) mod restart;
#[cfg(feature = "signals")]
mod signals;
mod stats;
mod stop;
mod stopping;
mod table;
#[cfg(feature = "tokio")]
mod task;
mod tend;
mod thread;
mod tracker;
mod waiters;

use member::Member;
use reload::Reloads;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use stop::Stop;

pub use adapt::IntoDrain;
#[cfg(feature = "proc-tree")]
pub use adapt::WithSignals;
pub use builder::Builder;
pub use drain::{DrainFuture, Drained, EndedFuture, Failure, Left, Tally, Until};
#[cfg(feature = "tokio")]
pub use error::SignalError;
pub use error::{BuildError, BuildReason};
pub use handle::Handle;
pub use health::Health;
pub use report::{Cause, Ending, MemberReport};
pub use restart::Strategy;
pub use stats::{Counters, MemberStats, Phase, Stats, Sum};
pub use stopping::Stopping;
#[cfg(feature = "tokio")]
pub use task::Task;
pub use thread::Thread;
pub use tracker::{Tracked, Tracker};

/// What the supervisor and its handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) members: Vec<Member>,
    pub(crate) strategy: Strategy,
    pub(crate) limits: Limits,
    pub(crate) stop: Arc<Stop>,
    pub(crate) reloads: Arc<Reloads>,
    /// When an outer supervisor wants the end to be over.
    pub(crate) until: Mutex<Option<Instant>>,
    pub(crate) notifier: Option<notify::Notifier>,
}

/// What holds for all members.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) grace: Duration,
    pub(crate) total: Duration,
    /// How long nothing is ended yet after a stop of a run.
    pub(crate) lame_duck: Duration,
}

impl Shared {
    pub(crate) fn stats(&self) -> Stats {
        let members = self.members.iter().map(Member::stats).collect();
        Stats { members }
    }

    /// The members by their places, in the order in which they end: those of one stage at the same time.
    fn stages(&self) -> Vec<Vec<usize>> {
        let places = (0..self.members.len()).rev();
        let (last, others): (Vec<_>, Vec<_>) = places.partition(|at| self.members[*at].is_last);
        let mut stages: Vec<Vec<usize>> = Vec::new();
        for at in others.into_iter().chain(last) {
            let group = self.members[at].group;
            let same =
                |stage: &Vec<usize>| group.is_some() && self.members[stage[0]].group == group;
            match stages.last_mut().filter(|stage| same(stage)) {
                Some(stage) => stage.push(at),
                None => stages.push(vec![at]),
            }
        }
        stages
    }

    /// Tells the service manager, if there is one.
    fn notify(&self, tell: impl FnOnce(&notify::Notifier)) {
        if let Some(notifier) = &self.notifier {
            tell(notifier);
        }
    }

    fn cause(&self) -> Cause {
        self.stop.signal().map_or(Cause::Asked, |name| Cause::Signal(name.to_owned()))
    }
}
