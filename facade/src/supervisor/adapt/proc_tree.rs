//! A process tree as a member.

use crate::supervisor::drain::{Drain, DrainFuture, Drained, Until};
use crate::supervisor::error::chain;
use crate::supervisor::stats::Counters;
use lastout_proc_tree::{KillError, Policy, Report, Signal, Tree};

/// The part of the deadline that is kept for the kill after the request.
const KILL: u32 = 4;

impl Drain for Tree {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        Box::pin(async move {
            let name = self.root().map_or_else(|| "tree".to_owned(), |root| root.to_string());
            drained(&name, self.terminate(&policy(until)).await)
        })
    }

    fn force(&self, until: Until) -> DrainFuture<'_> {
        Box::pin(async move { drained("tree", self.kill(until.deadline()).await) })
    }

    fn stats(&self) -> Counters {
        let alive = self.members().map_or(0, |members| members.len());
        Counters::new().count("processes.alive", alive as u64)
    }
}

/// SIGTERM to the whole tree, and the kill in time. A shell passes no signal on: a server behind it must
/// be asked itself.
pub(super) fn policy(until: Until) -> Policy {
    let kill = until.remaining() / KILL;
    Policy::new().ask_all(Signal::TERM, until.remaining() - kill).kill_within(kill)
}

pub(super) fn drained(name: &str, result: Result<Report, KillError>) -> Drained {
    let mut drained = Drained::new();
    let report = match &result {
        Ok(report) | Err(KillError::Survivors(report)) => Some(report),
        // Nobody is named: the tree is, because it was not seen empty.
        Err(error) => {
            drained = drained.left(name, chain(error));
            error.report()
        }
    };
    let Some(report) = report else {
        return drained;
    };
    drained = drained
        .ended("processes", report.already_gone as u64)
        .forced("processes", report.killed as u64);
    for survivor in report.left_behind() {
        let what = format!("process {} ({})", survivor.id.pid(), survivor.name);
        drained = drained.left(what, survivor.reason);
    }
    drained
}
