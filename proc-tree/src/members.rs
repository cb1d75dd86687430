//! Who is in a tree: one look by every means, and the signals that follow from it.

use crate::contain::Leaf;
use crate::error::{SignalError, WaitError};
use crate::id::{Pid, ProcId};
use crate::inner::Inner;
use crate::signal::Signal;
use rustix::io::Errno;
use std::io;
use std::time::{Duration, Instant};

/// How long a single look at a tree may go on finding new members.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// How long the members are counted that are alive at the deadline of a wait.
const COUNTING: Duration = Duration::from_millis(100);

/// What one look has found.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) ids: Vec<ProcId>,
    /// Members that fork on may take the processor from a look until its time is over.
    pub(crate) is_whole: bool,
}

impl Inner {
    /// Looks for members by every means, until then. An empty answer means that no member is left: a look that
    /// has not seen every process fails, unless it has found a member.
    pub(crate) fn look(&self, until: Instant) -> io::Result<Seen> {
        let mut engine = self.engine(until)?.looking_only();
        loop {
            let (listed, is_list_whole) = self.list_leaf(until)?;
            let (mut ids, are_named) = named(&listed, until)?;
            let known = engine.count();
            engine.know(&listed);
            engine.look();
            let prevented = engine.was_prevented();
            match prevented {
                Some(error) if error != Errno::TIMEDOUT => return Err(error.into()),
                _ => ids.extend(engine.ids()),
            }
            let is_whole =
                is_list_whole && are_named && prevented.is_none() && !engine.is_cut_short();
            // Whoever has ended during the look may have started another one behind it.
            let is_quiet = listed.is_empty() && engine.count() == known;
            if !ids.is_empty() || (is_quiet && is_whole) {
                return Ok(Seen { ids, is_whole });
            }
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Looks for everybody but those that are known, and stops each when it is found: who they are, and
    /// whether each stood still before.
    pub(crate) fn stop_others(
        &self,
        known: &[Pid],
        until: Instant,
    ) -> io::Result<Vec<(ProcId, bool)>> {
        let mut engine = self.engine(until)?;
        engine.know(known);
        engine.look();
        let prevented = engine.was_prevented().or(engine.is_cut_short().then_some(Errno::TIMEDOUT));
        if let Some(error) = prevented.filter(|error| *error != Errno::TIMEDOUT) {
            return Err(error.into());
        }
        let mut others = engine.leave_stopped();
        for (id, was_still) in &mut others {
            // Those that others have stopped stay stopped when the tree is thawed.
            *was_still = *was_still || !self.stopped.note(*id);
        }
        match prevented {
            Some(error) => Err(error.into()),
            None => Ok(others),
        }
    }

    /// Who is in the leaf, and whether that is everybody. The list is one of several looks, which have to
    /// follow in the same time.
    fn list_leaf(&self, until: Instant) -> io::Result<(Vec<Pid>, bool)> {
        let now = Instant::now();
        let half = now + until.saturating_duration_since(now) / 2;
        self.means.leaf.as_ref().map_or_else(|| Ok((Vec::new(), true)), |leaf| leaf.members(half))
    }

    /// Who is in the leaf now, as far as that can be read.
    pub(crate) fn listed_in_leaf(&self, until: Instant) -> Vec<Pid> {
        let listed = |leaf: &Leaf| leaf.members(until).map(|(pids, _)| pids);
        let leaf = self.means.leaf.as_ref().filter(|_| self.is_in_leaf());
        leaf.map(listed).and_then(Result::ok).unwrap_or_default()
    }

    /// The outcome of a wait that knows of so many members, and whether no member is left as far as it knows.
    pub(crate) fn awaited(&self, mut alive: usize, mut is_over: bool) -> Result<(), WaitError> {
        let until = Instant::now() + COUNTING;
        if self.is_in_leaf() {
            (alive, is_over) = (alive.max(self.listed_in_leaf(until).len()).max(1), false);
        }
        if alive == 0 && !is_over {
            // A look that is whole tells as well.
            match self.look(until) {
                Ok(seen) => (alive, is_over) = (seen.ids.len(), seen.ids.is_empty()),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => return Err(WaitError::Io(error)),
            }
        }
        self.reap_orphans();
        match alive {
            0 if is_over && self.guarantee_now().can_confirm() => {
                self.after_the_end();
                Ok(())
            }
            0 => Err(WaitError::Unconfirmed),
            alive => Err(WaitError::Deadline { alive }),
        }
    }

    pub(crate) fn signal_all(&self, signal: Signal) -> io::Result<usize> {
        self.note_signal(signal);
        let until = Instant::now() + LOOK;
        let (known, _) = self.list_leaf(until)?;
        // Found before the signal breaks the chain of their parents.
        let mut others = self.engine(until)?.looking_only();
        others.know(&known);
        others.look();
        let prevented = others.was_prevented();
        let mut reached = 0;
        if let Some(leaf) = &self.means.leaf {
            let visited = leaf.visit_members(Instant::now() + LOOK, &mut |_, pidfd| {
                reached += usize::from(pidfd.signal(signal).is_ok());
            });
            match visited {
                Err(error) if error.kind() == io::ErrorKind::TimedOut && reached > 0 => {}
                outcome => outcome?,
            }
        }
        reached += others.signal_all(signal);
        match prevented {
            // Those that were reached are an answer.
            Some(error) if error != Errno::TIMEDOUT || reached == 0 => Err(error.into()),
            _ => Ok(reached),
        }
    }

    pub(crate) fn signal_member(&self, id: ProcId, signal: Signal) -> Result<(), SignalError> {
        // Held first, so that what is judged and what is signalled are the same process.
        let pidfd = match id.hold().filter(|pidfd| !pidfd.is_dead()) {
            Some(pidfd) => pidfd,
            None if id.is_running() => return Err(SignalError::Io(Errno::MFILE.into())),
            None => return Err(SignalError::Gone(id)),
        };
        let seen = self.look(Instant::now() + LOOK).map_err(SignalError::Io)?;
        if pidfd.is_dead() {
            return Err(SignalError::Gone(id));
        }
        if !seen.ids.iter().any(|seen| seen.pid() == id.pid()) {
            return Err(match seen.is_whole {
                true => SignalError::NoMember(id),
                false => SignalError::Io(Errno::TIMEDOUT.into()),
            });
        }
        if self.root.is_some_and(|root| root.is_same(&id)) {
            self.note_signal(signal);
        }
        match pidfd.signal(signal) {
            Ok(()) => Ok(()),
            Err(Errno::SRCH) => Err(SignalError::Gone(id)),
            Err(error) => Err(SignalError::Io(error.into())),
        }
    }
}

/// Who has these pids now, as far as the time goes; whether it went to the end.
fn named(pids: &[Pid], until: Instant) -> io::Result<(Vec<ProcId>, bool)> {
    let mut ids = Vec::new();
    for (place, pid) in pids.iter().enumerate() {
        if place % 16 == 15 && Instant::now() >= until {
            return Ok((ids, false));
        }
        ids.extend(ProcId::seen(*pid)?);
    }
    Ok((ids, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naming_ends_with_its_time_and_says_that_it_did_not_name_all() {
        let me = std::process::id();
        let (ids, is_whole) = named(&vec![me; 10_000], Instant::now()).unwrap();
        assert!(!is_whole && ids.len() < 100, "{} named", ids.len());
        let (ids, is_whole) = named(&[me; 100], Instant::now() + 30 * LOOK).unwrap();
        assert!(is_whole && ids.len() == 100 && ids.iter().all(|id| id.pid() == me));
    }
}
