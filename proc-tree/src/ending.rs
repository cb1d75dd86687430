//! [`Ending`]: one kill or one wait in progress, through all layers. It never waits itself.
//!
//! ```text
//!              empty, or no time            ended, or no answer
//!   leaf ────────────────────────► link ────────────────────────► evidence ──────► done
//!   the kernel kills,              the supervisor kills           one look by every other means;
//!   each member by its pidfd       its children                   whoever it finds is stopped and killed
//! ```
//!
//! A layer that holds the tree comes first, as far as the tree has it. None is trusted alone: the end is
//! confirmed by what members carry, and by the layers before.

use crate::contain::{LeafWait, Link};
use crate::engine::{Engine, Outcome, Step};
use crate::error::WaitError;
use crate::guarantee::Level;
use crate::id::Pid;
use crate::inner::Inner;
use crate::members::LOOK;
use crate::report::Survivor;
use crate::signal::Signal;
use crate::sys::SystemTable;
use crate::wait::{ready, wait_blocking};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How long a supervisor may take before the caller does its work: an honest one needs less for a thousand
/// members, and one that a member has stopped never answers.
const LINK_PATIENCE: Duration = Duration::from_millis(250);

/// How many members of a PID namespace are counted one by one before they are killed; more are counted by
/// their mark. In a storm of forks each step of a longer look waits for its turn at the processor.
const COUNTED: usize = 32;

/// How long a supervisor that has nobody left may take to end.
const RELEASE: Duration = Duration::from_millis(50);

/// A kill, or a wait for the tree to be empty.
pub(crate) struct Ending<'a> {
    inner: &'a Inner,
    begin: Instant,
    deadline: Instant,
    kills: bool,
    /// What the layers before the present one have done.
    sum: Outcome,
    /// The supervisor counts whom it kills, and tells at its end.
    is_counted: bool,
    /// Who was in the leaf when it was told to kill, or came in since.
    in_leaf: HashSet<Pid>,
    /// Who carried the mark before the supervisor was told to kill.
    marked: Vec<Pid>,
    way: Way<'a>,
}

enum Way<'a> {
    Leaf(LeafWait<'a>, Option<Box<Engine<SystemTable>>>),
    Link(&'a Link),
    Engine(Box<Engine<SystemTable>>),
    Census(Box<Engine<SystemTable>>, Option<Instant>),
    /// Nobody is left below the supervisor, and it does not end by itself.
    Release(&'a Link, Box<Engine<SystemTable>>),
}

impl<'a> Ending<'a> {
    /// Prepares to kill everybody.
    pub(crate) fn kill(inner: &'a Inner, deadline: Instant) -> io::Result<Self> {
        Self::new(inner, deadline, true)
    }

    /// Prepares to wait for nobody to be left.
    pub(crate) fn wait(inner: &'a Inner, deadline: Instant) -> io::Result<Self> {
        Self::new(inner, deadline, false)
    }

    fn new(inner: &'a Inner, deadline: Instant, kills: bool) -> io::Result<Self> {
        if kills {
            inner.note_usage(deadline);
            inner.note_signal(Signal::KILL);
        }
        let begin = Instant::now();
        // The engine counts the zombies of a tree without a leaf itself.
        let leaf = inner.means.leaf.as_ref().filter(|_| kills);
        let root = inner.pidfd.as_ref().filter(|root| root.is_dead() && root.has_its_pid());
        let already_gone = usize::from(leaf.is_some() && root.is_some());
        let mut ending = Self {
            inner,
            begin,
            deadline,
            kills,
            sum: Outcome { already_gone, ..Outcome::default() },
            is_counted: false,
            in_leaf: HashSet::new(),
            marked: Vec::new(),
            way: match &inner.means.leaf {
                Some(leaf) => Way::Leaf(LeafWait::new(leaf, kills, deadline), None),
                None => match &inner.means.link {
                    Some(link) => Way::Link(link),
                    None => by_evidence(inner, deadline, kills)?,
                },
            },
        };
        match &ending.way {
            // Members die meanwhile: most of the look that confirms it is had while nothing can be done.
            Way::Leaf(wait, _) if kills => {
                // Without it the whole look is had at the end.
                let engine = inner.engine(deadline).ok().map(|engine| {
                    let mut engine = engine.confirming();
                    engine.look_ahead(wait.seen());
                    Box::new(engine)
                });
                if let Way::Leaf(_, ahead) = &mut ending.way {
                    *ahead = engine;
                }
            }
            Way::Link(link) if kills => ending.strike_link(link),
            _ => {}
        }
        Ok(ending)
    }

    fn strike_link(&mut self, link: &Link) {
        // The first process of a namespace ends at once, and the kernel does not count.
        match self.inner.guarantee.level() {
            Level::PidNamespace => {
                self.sum.killed += match crate::sys::count_descendants(link.id(), COUNTED) {
                    Some(count) => count,
                    None => {
                        let marked = self.inner.marked().into_iter();
                        marked.filter(|pid| *pid != link.id().pid()).count()
                    }
                };
                // It needs no turn at the processor to read an order first.
                let _ = link.end().signal(Signal::KILL);
            }
            Level::Cgroup => {}
            _ => self.is_counted = !link.end().is_dead(),
        }
        // A supervisor with a member that it may not signal does not come to its end, and tells no count.
        if self.is_counted && !crate::sys::may_signal_everybody() {
            self.marked = self.inner.marked();
        }
        link.strike();
    }

    /// Does what can be done without waiting. `Done` also when the deadline has come.
    pub(crate) fn step(&mut self, now: Instant) -> io::Result<Step> {
        let is_late = now >= self.deadline;
        let step = match &mut self.way {
            Way::Leaf(wait, _) => match wait.step(now) {
                Step::Done => self.after_leaf()?,
                _ if self.kills && now >= self.leaf_until() => self.after_leaf()?,
                step => step,
            },
            Way::Link(link) => match link.conclude() {
                None if self.kills && now >= self.link_until() => {
                    let left = self.inner.marked();
                    let ended = self.marked.iter().filter(|pid| !left.contains(pid)).count();
                    self.sum.killed += ended;
                    self.is_counted &= self.marked.is_empty();
                    self.way = Way::Engine(Box::new(self.engine_after_strike()?));
                    Step::Again
                }
                None => Step::Wait(if self.kills { self.link_until() } else { self.deadline }),
                Some(ended_well) => self.after_link(ended_well)?,
            },
            Way::Engine(engine) => match engine.step(now) {
                Step::Done => self.after_engine(),
                step => step,
            },
            Way::Census(engine, looked) => engine.await_empty(looked, now),
            Way::Release(link, _) => match link.conclude() {
                Some(_) => Step::Done,
                None if is_late || now >= self.begin + RELEASE => {
                    // Nobody is left whom it could wait for: a member has stopped it.
                    let _ = link.end().signal(Signal::KILL);
                    Step::Wait(self.deadline)
                }
                None => Step::Wait(self.begin + RELEASE),
            },
        };
        Ok(match step {
            // The engine heeds the deadline itself: it has to strike before it gives up.
            Step::Wait(_) if is_late && !matches!(self.way, Way::Engine(_)) => Step::Done,
            Step::Wait(until) => Step::Wait(until.min(self.deadline)),
            step => step,
        })
    }

    /// Until when the leaf is trusted to become empty.
    fn leaf_until(&self) -> Instant {
        self.begin + self.deadline.saturating_duration_since(self.begin) / 4 * 3
    }

    fn link_until(&self) -> Instant {
        // A member may have stopped a supervisor; the first process of a namespace was killed itself.
        if self.inner.guarantee.level() == Level::PidNamespace {
            return self.leaf_until();
        }
        let all = self.deadline.saturating_duration_since(self.begin);
        self.begin + LINK_PATIENCE.min(all / 4)
    }

    /// Nobody is left in the leaf, or it does not become empty. A supervisor has to wait for the zombies,
    /// and ends then.
    fn after_leaf(&mut self) -> io::Result<Step> {
        let Way::Leaf(wait, ahead) = &mut self.way else {
            return Ok(Step::Again);
        };
        if self.kills {
            (self.in_leaf, self.sum.rounds) = (wait.take_seen(), wait.rounds);
        }
        let ahead = ahead.take();
        if let Some(link) = &self.inner.means.link {
            self.begin = Instant::now();
            if self.kills {
                self.strike_link(link);
            }
            self.way = Way::Link(link);
            return Ok(Step::Again);
        }
        self.way = match ahead {
            Some(engine) => Way::Engine(engine),
            None if self.kills => Way::Engine(Box::new(self.engine_after_strike()?.confirming())),
            None => by_evidence(self.inner, self.deadline, false)?,
        };
        if let Way::Engine(engine) = &mut self.way {
            engine.leave_to_others(&self.in_leaf);
        }
        Ok(Step::Again)
    }

    /// The supervisor has ended: because nobody is left, or it was killed, and then nobody waits for its
    /// children, who carry evidence.
    fn after_link(&mut self, ended_well: bool) -> io::Result<Step> {
        let has_struck = self.is_counted || self.inner.means.leaf.is_some();
        let counted = match &self.way {
            Way::Link(link) if self.is_counted => link.killed(),
            _ => 0,
        };
        self.sum.killed += counted;
        self.is_counted = false;
        // However the first process of a namespace ends, the kernel ends all others with it.
        let is_first = self.inner.guarantee.level() == Level::PidNamespace;
        self.way = match self.kills {
            true if ended_well || is_first => {
                Way::Engine(Box::new(self.engine_after_strike()?.confirming()))
            }
            true if has_struck => Way::Engine(Box::new(self.engine_after_strike()?)),
            kills => by_evidence(self.inner, self.deadline, kills)?,
        };
        Ok(Step::Again)
    }

    /// The last layer of a kill, after one that has struck everybody it knew.
    fn engine_after_strike(&self) -> io::Result<Engine<SystemTable>> {
        let mut engine = self.inner.engine(self.deadline)?.following();
        engine.leave_to_others(&self.in_leaf);
        Ok(engine)
    }

    /// The last layer is done. A supervisor that was passed over ends now, or is ended.
    fn after_engine(&mut self) -> Step {
        let Way::Engine(engine) = &mut self.way else {
            return Step::Done;
        };
        let link = self.inner.means.link.as_ref();
        let Some(link) = link.filter(|link| engine.is_clear() && link.conclude().is_none()) else {
            return Step::Done;
        };
        let placeholder = Way::Link(link);
        if let Way::Engine(engine) = std::mem::replace(&mut self.way, placeholder) {
            self.begin = Instant::now();
            self.way = Way::Release(link, engine);
        }
        Step::Again
    }

    /// Readable when a step has something to do before the time that the last one asked for. Nothing
    /// announces it when there was no descriptor for that: then steps have to look.
    pub(crate) fn news(&self) -> Option<BorrowedFd<'_>> {
        match &self.way {
            Way::Leaf(wait, _) => wait.news(),
            Way::Link(link) | Way::Release(link, _) => Some(link.end().as_fd()),
            Way::Engine(engine) | Way::Census(engine, _) => engine.table().news(),
        }
    }

    /// Steps to the end on this thread.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        loop {
            match self.step(Instant::now())? {
                Step::Again => {}
                Step::Wait(until) => {
                    wait_blocking(self.news(), until)?;
                }
                Step::Done => return Ok(()),
            }
        }
    }

    /// Steps to the end as a future.
    pub(crate) async fn drive(&mut self) -> io::Result<()> {
        loop {
            match self.step(Instant::now())? {
                Step::Again => {}
                Step::Wait(until) => {
                    ready(self.news(), until).await;
                }
                Step::Done => return Ok(()),
            }
        }
    }

    /// Whether it is known that nobody is left, without a word on who is.
    pub(crate) fn conclude(mut self) -> bool {
        let is_over = match &mut self.way {
            Way::Engine(engine) | Way::Release(_, engine) => engine.is_clear(),
            Way::Census(engine, _) => engine.is_concluded(),
            Way::Leaf(..) | Way::Link(_) => false,
        };
        let is_over = is_over && !self.inner.is_in_leaf();
        if is_over {
            self.inner.after_the_end();
        }
        is_over
    }

    /// What has come of a wait.
    pub(crate) fn awaited(mut self) -> Result<(), WaitError> {
        let (alive, is_over) = match &mut self.way {
            Way::Census(engine, _) => (engine.pids().len(), engine.is_concluded()),
            // The deadline came before the layers had told.
            _ => (0, false),
        };
        self.inner.awaited(alive, is_over)
    }

    /// What has come of a kill. Whoever is alive now is a survivor.
    pub(crate) fn outcome(self) -> io::Result<Outcome> {
        let Self { inner, sum, way, is_counted, in_leaf, .. } = self;
        let mut outcome = match way {
            Way::Engine(engine) | Way::Release(_, engine) => engine.outcome(),
            // A kill comes to its engine, however late it is.
            Way::Census(..) | Way::Leaf(..) | Way::Link(_) => {
                Outcome { is_open: true, ..Outcome::default() }
            }
        };
        outcome.already_gone += sum.already_gone;
        outcome.rounds = (outcome.rounds + sum.rounds).max(1);
        // A member that shed everything it carried is still in the leaf, unless it left that, too.
        if inner.is_in_leaf() {
            let known = pids(&outcome.survivors);
            let others = inner
                .listed_in_leaf(Instant::now() + LOOK)
                .into_iter()
                .filter(|pid| !known.contains(pid));
            outcome.survivors.extend(inner.survivors(others.collect()));
            outcome.is_open = true;
        }
        let left = pids(&outcome.survivors);
        let link = inner.means.link.as_ref().filter(|_| is_counted);
        outcome.killed = match inner.guarantee.level() {
            // The members were counted before they were killed.
            Level::PidNamespace => outcome.killed.max(sum.killed.saturating_sub(left.len())),
            // A supervisor that was passed over has counted the same members once more.
            _ => sum.killed + outcome.killed.max(link.map_or(0, |link| link.killed())),
        };
        outcome.killed += in_leaf.difference(&left).count();
        if outcome.survivors.is_empty() && !outcome.is_open {
            inner.after_the_end();
        }
        Ok(outcome)
    }
}

fn pids(survivors: &[Survivor]) -> HashSet<Pid> {
    survivors.iter().map(|survivor| survivor.id.pid()).collect()
}

fn by_evidence<'a>(inner: &'a Inner, deadline: Instant, kills: bool) -> io::Result<Way<'a>> {
    let engine = inner.engine(deadline)?;
    Ok(match kills {
        true => Way::Engine(Box::new(engine)),
        false => Way::Census(Box::new(engine.looking_only()), None),
    })
}
