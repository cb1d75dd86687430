//! What an orchestrator asks: has it started, is it ready, is it live.

use crate::supervisor::Shared;
use crate::supervisor::contain::{call, discard};
use crate::supervisor::member::Member;
use crate::supervisor::stats::Phase;
use crate::supervisor::stop::Level;

/// The answers to the three probes of an orchestrator. A handler of your web server only translates them.
///
/// ```
/// use lastout::Supervisor;
/// use lastout::supervisor::Thread;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let thread = Thread::spawn("meter", |stopping| {
///     stopping.asked_blocking();
///     Ok(())
/// })?;
/// let supervisor = Supervisor::builder().member("meter", thread).build()?;
/// let handle = supervisor.handle();
/// assert!(handle.health().ready);
/// let _ = supervisor.shutdown_blocking();
/// assert!(!handle.health().ready && handle.health().live);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Health {
    /// Whether every service has started at least once.
    pub started: bool,
    /// Whether every member runs or is done, and nothing is being ended.
    pub ready: bool,
    /// Whether no member was given up, and each that runs says that it [is live](crate::Drain::is_live).
    pub live: bool,
}

impl Shared {
    /// Asks every member: what it answers is code of a member.
    pub(crate) fn health(&self) -> Health {
        let (started, ready) = self.readiness();
        Health { started, ready, live: self.members.iter().all(is_live) }
    }

    /// Whether it has started, and whether it is ready. Calls no code of a member.
    pub(crate) fn readiness(&self) -> (bool, bool) {
        let started = self.members.iter().all(Member::was_up);
        let runs = |member: &Member| matches!(member.phase(), Phase::Running | Phase::Done);
        let ready = started && self.stop.level() == Level::Run && self.members.iter().all(runs);
        (started, ready)
    }
}

/// A panic is no sign of life.
pub(crate) fn is_live(member: &Member) -> bool {
    if member.phase() == Phase::GaveUp {
        return false;
    }
    let Some(instance) = member.instance().filter(|_| member.phase() == Phase::Running) else {
        return true;
    };
    let live = call(|| instance.is_live()).unwrap_or(false);
    discard(instance);
    live
}
