//! [`Inner`]: what a tree is made of, and what the calls that block and the futures share.

use crate::child::Root;
use crate::contain::Means;
use crate::engine::{Engine, Outcome};
use crate::error::KillError;
use crate::evidence::Evidence;
use crate::guarantee::{Gap, Guarantee, Level};
use crate::id::{Pid, ProcId};
use crate::identity::Maker;
use crate::members::LOOK;
use crate::report::{Report, Survivor, SurvivorReason};
use crate::root_end::SentSignals;
use crate::signal::Signal;
use crate::sys::{Account, Pidfd, Reserve, SystemTable};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a tree is made of; shared with the futures that wait for it.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) maker: Maker,
    pub(crate) root: Option<ProcId>,
    pub(crate) pidfd: Option<Pidfd>,
    pub(crate) evidence: Evidence,
    pub(crate) means: Means,
    pub(crate) guarantee: Guarantee,
    /// The root as our child, to be waited for by whoever comes first.
    pub(crate) process: Option<Arc<Root>>,
    /// The usage of the tree was asked for at its spawn.
    pub(crate) measured: bool,
    /// What the members had used when the last kill began, if they had to be asked.
    pub(crate) before: Mutex<Option<Account>>,
    /// The signals that were sent to the root.
    pub(crate) sent: SentSignals,
    /// The members that a freeze has stopped.
    pub(crate) stopped: Stopped,
    /// It was confirmed that nobody is left, and nobody can come.
    pub(crate) is_over: AtomicBool,
    /// What a kill needs when no descriptor is free. Missing when none was free at the spawn.
    pub(crate) _reserve: Option<Arc<Reserve>>,
}

/// The members that this tree has stopped by a signal, to be continued when it thaws.
#[derive(Debug, Default)]
pub(crate) struct Stopped(Mutex<Vec<ProcId>>);

impl Stopped {
    fn list(&self) -> MutexGuard<'_, Vec<ProcId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was not in the list yet.
    pub(crate) fn note(&self, id: ProcId) -> bool {
        let mut list = self.list();
        let is_new = !list.contains(&id);
        if is_new {
            list.push(id);
        }
        is_new
    }

    pub(crate) fn contains(&self, id: ProcId) -> bool {
        self.list().contains(&id)
    }
}

impl Inner {
    /// The engine that finds members by all that they carry, and below a supervisor that is alive.
    pub(crate) fn engine(&self, deadline: Instant) -> io::Result<Engine<SystemTable>> {
        let (evidence, root) = (self.evidence.clone(), self.pidfd.clone());
        let engine = Engine::new(SystemTable::open()?, evidence, root, Instant::now(), deadline);
        Ok(match &self.means.link {
            Some(link) if !link.end().is_dead() => {
                engine.keeping(link.id().pid(), link.end().clone())
            }
            _ => engine,
        })
    }

    /// Who carries the mark, dead or alive, by one quick look.
    pub(crate) fn marked(&self) -> Vec<Pid> {
        self.evidence.mark.map_or_else(Vec::new, crate::sys::marked)
    }

    /// Whether a member is alive in the leaf. One that cannot be asked is not empty.
    pub(crate) fn is_in_leaf(&self) -> bool {
        let leaf = self.means.leaf.as_ref();
        leaf.is_some_and(|leaf| leaf.is_populated().unwrap_or(true))
    }

    /// Names processes that were alive a moment ago and still are.
    pub(crate) fn survivors(&self, pids: Vec<Pid>) -> Vec<Survivor> {
        pids.into_iter().filter_map(survivor).collect()
    }

    pub(crate) fn thaw(&self) -> io::Result<()> {
        for id in std::mem::take(&mut *self.stopped.list()) {
            if let Some(pidfd) = id.hold() {
                let _ = pidfd.signal(Signal::CONT);
            }
        }
        match &self.means.leaf {
            Some(leaf) => leaf.set_frozen(false),
            None => Ok(()),
        }
    }

    pub(crate) fn ask(&self, request: crate::policy::Request) -> io::Result<()> {
        // A frozen member could not follow the request.
        self.thaw()?;
        self.note_signal(request.signal);
        let root = self.pidfd.as_ref().filter(|root| !request.to_all && !root.is_dead());
        match root {
            Some(root) => {
                // A root that ends meanwhile, or may not be signalled, is dealt with after the grace.
                let _ = root.signal(request.signal);
                Ok(())
            }
            None => self.signal_all(request.signal).map(drop),
        }
    }

    /// The guarantee of the tree, and what the caller cannot see since it has given up privileges.
    pub(crate) fn guarantee_now(&self) -> Guarantee {
        match crate::sys::hides_processes() {
            true => self.guarantee.clone().with(Gap::Hidden),
            false => self.guarantee.clone(),
        }
    }

    pub(crate) fn report(&self, outcome: Outcome, begin: Instant) -> Result<Report, KillError> {
        let guarantee = self.guarantee_now();
        let can_confirm = guarantee.can_confirm();
        let mut report = Report::new(guarantee);
        report.killed = outcome.killed;
        report.already_gone = outcome.already_gone;
        report.forced = outcome.killed > 0 || !outcome.survivors.is_empty();
        report.rounds = outcome.rounds;
        report.elapsed = begin.elapsed();
        report.survivors = outcome.survivors;
        report.usage = Box::new(self.usage_at_the_end());
        match report.is_clean() {
            true if outcome.is_open || !can_confirm => Err(KillError::Unconfirmed(report)),
            true => Ok(report),
            false => Err(KillError::Survivors(report)),
        }
    }

    pub(crate) fn ended_by_itself(&self, begin: Instant) -> Report {
        self.after_the_end();
        let mut report = Report::new(self.guarantee_now());
        report.elapsed = begin.elapsed();
        report.usage = Box::new(self.usage_at_the_end());
        report
    }

    /// Nobody is left: leaves no zombie of the root, nor of orphans that fell to this process. An empty
    /// leaf is removed with the tree.
    pub(crate) fn after_the_end(&self) {
        // Only evidence that strangers can carry, too, makes members of an empty tree.
        let evidence = &self.evidence;
        let takes_strangers = self.process.is_none()
            && (evidence.is_written()
                || !evidence.groups.is_empty()
                || !evidence.sessions.is_empty());
        if self.guarantee_now().can_confirm() && !takes_strangers {
            // ORDERING: no other memory is handed over by it; whoever does not see it looks once more.
            self.is_over.store(true, Ordering::Relaxed);
        }
        if let Some(root) = &self.process {
            let _ = root.try_wait();
        }
        self.reap_orphans();
    }

    /// Waits for members that became children of this process, and for nobody else: orphans that fell to it,
    /// and children that its child made as siblings. An adopted tree may have members that the caller
    /// started and waits for itself, so of those none is touched.
    pub(crate) fn reap_orphans(&self) {
        let has_siblings = self.process.is_some() && self.means.link.is_none();
        let may_reap = has_siblings || self.guarantee.level() == Level::Subreaper;
        if let Some(mark) = self.evidence.mark.filter(|_| may_reap) {
            crate::sys::reap_marked_children(mark, self.root.map(|root| root.pid()));
        }
    }

    pub(crate) fn let_live(&self) {
        let _ = self.thaw();
        if let Some(link) = &self.means.link {
            link.let_live();
        }
    }

    /// Gives the places of the mark back to trees that come later.
    pub(crate) fn unmark(&self) {
        if let Some(mark) = self.evidence.mark {
            crate::sys::unmark_all(mark);
        }
    }

    /// Marks every member, so that what it starts from now on is found even as an orphan. Whether all
    /// could be marked in time: it takes no longer than a look, also among members that fork on.
    pub(crate) fn mark_members(&self) -> io::Result<bool> {
        let Some(mark) = self.evidence.mark.filter(|_| !self.evidence.unmarked) else {
            return Ok(true);
        };
        let engine = self.engine(Instant::now() + LOOK)?;
        Ok(engine.looking_only().marking(mark).mark_all())
    }
}

/// Names the process that has `pid`, if it runs. One that cannot be looked at counts as running.
fn survivor(pid: Pid) -> Option<Survivor> {
    let unseen = ProcId::from_parts(crate::sys::boot(), pid, 0, None);
    let id = ProcId::seen(pid).unwrap_or(Some(unseen))?;
    let seen = crate::sys::Lookout::open().ok().and_then(|mut table| table.look(pid));
    let state = seen.as_ref().map(|(_, stat, _)| stat.state);
    let reason = match id.hold() {
        Some(pidfd) if !pidfd.may_be_signalled() => SurvivorReason::Permission,
        None => SurvivorReason::Descriptors,
        _ if state.is_some_and(|state| state.is_uninterruptible()) => {
            SurvivorReason::Uninterruptible
        }
        _ => SurvivorReason::Deadline,
    };
    let name = seen.map(|(_, _, name)| name).unwrap_or_default();
    let state = state.map_or('?', |state| char::from(state.0));
    id.is_running().then(|| Survivor::new(id, &name, state, reason))
}
