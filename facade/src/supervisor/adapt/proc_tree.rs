//! A process tree as a member.

use super::with_signals::Signals;
use crate::supervisor::drain::{Drain, DrainFuture, Drained, Until};
use crate::supervisor::error::chain;
use crate::supervisor::stats::Counters;
use lastout_proc_tree::{KillError, Report, Tree};

impl Drain for Tree {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        end(self, Signals::default(), until)
    }

    fn force(&self, until: Until) -> DrainFuture<'_> {
        Box::pin(async move { drained("tree", self.kill(until.deadline()).await) })
    }

    fn stats(&self) -> Counters {
        let alive = self.members().map_or(0, |members| members.len());
        Counters::new().count("processes.alive", alive as u64)
    }
}

pub(super) fn end(tree: &Tree, signals: Signals, until: Until) -> DrainFuture<'_> {
    Box::pin(async move {
        let name = tree.root().map_or_else(|| "tree".to_owned(), |root| root.to_string());
        drained(&name, tree.terminate(&signals.policy(until)).await)
    })
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
