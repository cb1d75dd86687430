//! [`Ending`]: one kill or one wait in progress, whatever holds the tree. It never waits itself.

use crate::contain::{LeafWait, Link};
use crate::engine::{Engine, Outcome, Step};
use crate::guarantee::Level;
use crate::inner::Inner;
use crate::signal::Signal;
use crate::sys::SystemTable;
use crate::wait::ready;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

/// A kill, or a wait for the tree to be empty.
pub(crate) struct Ending<'a> {
    inner: &'a Inner,
    deadline: Instant,
    kills: bool,
    /// What the ways before the present one have done.
    sum: Outcome,
    /// The supervisor counts whom it kills, and tells at its end.
    is_counted: bool,
    way: Way<'a>,
}

/// The leaf comes first, then the supervisor, then the evidence: as far as the tree has them.
enum Way<'a> {
    Leaf(LeafWait<'a>),
    Link(&'a Link),
    Engine(Box<Engine<SystemTable>>),
    Census(Box<Engine<SystemTable>>, Option<Instant>),
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
            inner.note_usage();
            inner.note_signal(Signal::KILL);
        }
        let way = match (&inner.means.leaf, &inner.means.link) {
            (Some(leaf), _) => Way::Leaf(LeafWait::new(leaf, kills)?),
            (None, Some(link)) => Way::Link(link),
            (None, None) => by_evidence(inner, deadline, kills)?,
        };
        let mut sum = Outcome::default();
        let mut is_counted = false;
        if let (Way::Link(link), true) = (&way, kills) {
            // The first process of a namespace ends at once, and the kernel does not count.
            match inner.guarantee.level() {
                Level::PidNamespace => sum.killed = crate::sys::count_descendants(link.id()),
                _ => is_counted = !link.end().is_dead(),
            }
            link.strike();
        }
        Ok(Self { inner, deadline, kills, sum, is_counted, way })
    }

    /// Does what can be done without waiting. `Done` also when the deadline has come.
    pub(crate) fn step(&mut self, now: Instant) -> io::Result<Step> {
        let step = match &mut self.way {
            Way::Leaf(wait) => match wait.step(now)? {
                Step::Done => self.after_leaf(),
                step => step,
            },
            Way::Link(link) => match link.conclude() {
                None => Step::Wait(self.deadline),
                Some(true) => Step::Done,
                // It was killed: nobody waits for its children now, and they carry evidence.
                Some(false) => {
                    self.way = by_evidence(self.inner, self.deadline, self.kills)?;
                    Step::Again
                }
            },
            Way::Engine(engine) => engine.step(now),
            Way::Census(engine, looked) => engine.await_empty(looked, now),
        };
        Ok(match step {
            // The engine heeds the deadline itself: it has to strike before it gives up.
            Step::Wait(_) if now >= self.deadline && !matches!(self.way, Way::Engine(_)) => {
                Step::Done
            }
            Step::Wait(until) => Step::Wait(until.min(self.deadline)),
            step => step,
        })
    }

    /// Nobody is left in the leaf. A supervisor has to wait for the zombies, and ends then.
    fn after_leaf(&mut self) -> Step {
        let Some(link) = &self.inner.means.link else {
            return Step::Done;
        };
        if let Way::Leaf(wait) = &self.way {
            self.sum.killed = wait.seen;
            self.sum.rounds = wait.rounds;
        }
        if self.kills {
            link.strike();
        }
        self.way = Way::Link(link);
        Step::Again
    }

    /// Readable when a step has something to do before the time that the last one asked for.
    pub(crate) fn news(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Leaf(wait) => wait.news().as_fd(),
            Way::Link(link) => link.end().as_fd(),
            Way::Engine(engine) | Way::Census(engine, _) => engine.table().as_fd(),
        }
    }

    /// Steps to the end on this thread.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        loop {
            match self.step(Instant::now())? {
                Step::Again => {}
                Step::Wait(until) => {
                    crate::sys::wait_readable(self.news(), until)?;
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

    /// What has come of it. Whoever is alive now is a survivor.
    pub(crate) fn outcome(self) -> io::Result<Outcome> {
        let mut outcome = match self.way {
            Way::Engine(engine) => engine.outcome(),
            Way::Census(engine, _) => Outcome {
                is_open: !engine.is_concluded(),
                survivors: self.inner.survivors(engine.pids()),
                ..Outcome::default()
            },
            Way::Leaf(wait) => {
                let members = if wait.is_empty { Vec::new() } else { self.inner.member_pids()? };
                let survivors = self.inner.survivors(members);
                Outcome {
                    killed: wait.seen.saturating_sub(survivors.len()),
                    rounds: wait.rounds,
                    is_open: !wait.is_empty,
                    survivors,
                    ..Outcome::default()
                }
            }
            Way::Link(link) => {
                let gone = link.conclude() == Some(true);
                let members = if gone { Vec::new() } else { self.inner.member_pids()? };
                let survivors = self.inner.survivors(members);
                let counted = if self.is_counted { link.killed() } else { 0 };
                Outcome {
                    killed: (self.sum.killed + counted).saturating_sub(survivors.len()),
                    is_open: !gone,
                    survivors,
                    ..self.sum
                }
            }
        };
        if outcome.survivors.is_empty() && !outcome.is_open && self.kills {
            self.inner.after_the_end();
        }
        outcome.rounds = outcome.rounds.max(1);
        Ok(outcome)
    }
}

fn by_evidence<'a>(inner: &'a Inner, deadline: Instant, kills: bool) -> io::Result<Way<'a>> {
    let engine = inner.engine(deadline)?;
    Ok(match kills {
        true => Way::Engine(Box::new(engine)),
        false => Way::Census(Box::new(engine.looking_only()), None),
    })
}
