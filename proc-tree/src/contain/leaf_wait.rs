//! [`LeafWait`]: waits for a leaf to be empty, after killing every member when asked to.
//!
//! ```text
//!   strike ── the kernel kills all ─ empty? ──────────────────────────────► done
//!                                      │ members are left
//!                                      ▼
//!                each listed member by its pidfd, at every look
//!                                      │ half of the time is over
//!                                      ▼
//!                  the same, once, while the leaf is frozen
//! ```
//!
//! The kernel's own kill misses a process whose first thread has ended, and a cgroup that a member has made
//! threaded.

use super::cgroup::Leaf;
use crate::engine::Step;
use crate::id::Pid;
use crate::sys::{Pidfd, WaitSet, sparing};
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How often the leaf is looked at when nothing announces a change: the kernel limits the rate of
/// its notifications to one in 10 ms.
const LOOK: Duration = Duration::from_millis(10);

/// What a member more adds to the time that the kernel has before members are killed one by one: it takes
/// less, and to hold each of a thousand while they die would take the processor from them.
const PER_MEMBER: Duration = Duration::from_micros(150);

/// A wait for a leaf to be empty.
#[derive(Debug)]
pub(crate) struct LeafWait<'a> {
    leaf: &'a Leaf,
    /// Missing when there was no descriptor for it: then steps look without being told.
    news: Option<WaitSet>,
    /// The member whose end is awaited, so that a slow notification costs no time.
    awaited: Option<Pidfd>,
    strikes: bool,
    /// When members that are left are killed one by one next.
    next_strike: Instant,
    /// When they are frozen for that, once.
    freezes_at: Option<Instant>,
    deadline: Instant,
    members: HashSet<Pid>,
    pub(crate) rounds: u32,
    /// Nobody was left at the last step.
    pub(crate) is_empty: bool,
}

impl<'a> LeafWait<'a> {
    /// Strikes before it prepares to wait: members die meanwhile, and who has no descriptor left to wait
    /// with can still kill. Nothing that fails here ends a kill: the leaf stays populated then, and who is in
    /// it is found and killed by the layers below.
    pub(crate) fn new(leaf: &'a Leaf, strikes: bool, deadline: Instant) -> Self {
        let begin = Instant::now();
        let mut listed = Vec::new();
        if strikes {
            // The list is not needed to kill: without it less is counted.
            listed = leaf.listed(deadline).unwrap_or_default();
            let _ = leaf.strike(deadline);
        }
        let news = sparing(WaitSet::new).ok();
        let news = news.filter(|news| news.watch_notice(leaf.events()).is_ok());
        let mut wait = Self {
            leaf,
            news,
            awaited: None,
            strikes,
            next_strike: begin + patience(listed.len()),
            freezes_at: Some(begin + deadline.saturating_duration_since(begin) / 2),
            deadline,
            members: HashSet::new(),
            rounds: u32::from(strikes),
            is_empty: false,
        };
        wait.await_one_of(&listed);
        wait.members.extend(listed);
        wait
    }

    /// Who was seen in the leaf since the kill began.
    pub(crate) fn seen(&self) -> &HashSet<Pid> {
        &self.members
    }

    /// The same, for the one who counts them once the wait is over.
    pub(crate) fn take_seen(&mut self) -> HashSet<Pid> {
        std::mem::take(&mut self.members)
    }

    pub(crate) fn news(&self) -> Option<BorrowedFd<'_>> {
        self.news.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if let Some(news) = &self.news {
            news.take(&mut Vec::new());
        }
        // One that cannot be asked is not empty.
        if !self.leaf.is_populated().unwrap_or(true) {
            self.is_empty = true;
            return Step::Done;
        }
        if self.strikes && now >= self.next_strike {
            self.strike(now);
        }
        if self.awaited.as_ref().is_none_or(Pidfd::is_dead) {
            let listed = self.leaf.listed(self.deadline).unwrap_or_default();
            self.await_one_of(&listed);
        }
        let next = if self.strikes { self.next_strike.min(now + LOOK) } else { now + LOOK };
        Step::Wait(next.max(now + LOOK / 10))
    }

    /// Kills who is left, one by one. What fails is tried again at the next strike.
    fn strike(&mut self, now: Instant) {
        self.rounds += 1;
        // Somebody may have come in meanwhile.
        let _ = self.leaf.strike(self.deadline);
        match self.freezes_at.filter(|at| now >= *at) {
            Some(_) => {
                self.freezes_at = None;
                let _ = self.leaf.strike_frozen(self.deadline);
            }
            None => {
                let struck = self.leaf.strike_each(self.deadline);
                self.members.extend(struck.unwrap_or_default());
            }
        }
        self.next_strike = Instant::now() + patience(self.members.len());
    }

    /// Lets the end of the youngest member wake us: it was killed last. One whose pid means another
    /// process by now costs a look too many, and nothing else.
    fn await_one_of(&mut self, members: &[Pid]) {
        let Some(news) = &self.news else { return };
        let held = members.last().map(|pid| Pidfd::open_sparing(*pid));
        self.awaited = held.and_then(Result::ok);
        if let Some(member) = &self.awaited {
            // Without it the next look finds out.
            let _ = news.watch_end(member, 0);
        }
    }
}

/// How long the kernel has to kill so many members, before they are killed one by one.
fn patience(members: usize) -> Duration {
    LOOK / 2 + PER_MEMBER.saturating_mul(u32::try_from(members).unwrap_or(u32::MAX))
}
