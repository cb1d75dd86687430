//! The scheduler of a worker: what it does next, as a pure state machine. No clock, no I/O, no async.
//!
//! The engine tells it what happened, asks [`Plan::next`] until nothing is left to do, and sleeps until
//! [`Plan::wake_at`] or the next event. There is no other scheduler: pokes, polls, drives, due times and
//! housekeeping all end here.
//!
//! Invariants, which the property test below checks in virtual time:
//! - L1: a ready job of a queue with a free place is claimed within one poll, one pause after a failure,
//!   and three calls to the store, whatever became of pokes; after a poke without the poll.
//! - L2: what was said while a call was under way is not answered by that call.
//! - L3: no call of one sort waits for another sort, except that turns wait for a reconciliation.

use super::action::{Action, Asked, Bounds, Chore, Load};
use crate::lease::WorkerId;
use crate::registry::{Peek, PeriodicRecord};
use crate::retry::jittered;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A turn beside another one must carry at least this share of a full one.
const WORTH: usize = 4;
/// A turn that takes longer than this no longer keeps a small one from being sent beside it.
pub(super) const SLOW: Duration = Duration::from_millis(50);
/// First and longest pause after the store failed.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// The pause between two prunings of which the first one left something over.
const PRUNE_GAP: Duration = Duration::from_millis(100);
/// No due time is trusted for longer than this.
const FAR: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct Plan {
    bounds: Bounds,
    poll: Option<Duration>,
    enlisted: bool,
    /// The worker stops: nothing is claimed any more, reports are still written.
    closing: bool,
    /// For each queue, whether the store may have more.
    hungry: Vec<bool>,
    /// The next claim makes ready what has come due.
    promote: bool,
    /// The last guess was right: a poke is worth a claim without a look.
    trust: bool,
    guess: bool,
    /// Goes up with each sign of work: an answer is about what was there when it was asked for.
    epoch: u64,
    look: bool,
    house: bool,
    reconcile: bool,
    /// One call besides turns is under way at a time, except looks.
    busy: bool,
    looking: bool,
    /// Looks sent and answered.
    sent_looks: u64,
    answered_looks: u64,
    under_way: Vec<usize>,
    turns: Vec<Instant>,
    chores: VecDeque<Chore>,
    due_at: Option<Instant>,
    poll_at: Option<Instant>,
    house_at: Instant,
    prune_at: Option<Instant>,
    resume_at: Option<Instant>,
    pause: Duration,
}

impl Plan {
    pub(super) fn new(bounds: Bounds, now: Instant) -> Self {
        let queues = bounds.places.len();
        Self {
            bounds,
            poll: None,
            enlisted: false,
            closing: false,
            hungry: vec![false; queues],
            promote: false,
            trust: false,
            guess: false,
            epoch: 0,
            look: false,
            house: false,
            reconcile: false,
            busy: false,
            looking: false,
            sent_looks: 0,
            answered_looks: 0,
            under_way: vec![0; queues],
            turns: Vec::new(),
            chores: VecDeque::new(),
            due_at: None,
            poll_at: None,
            house_at: now,
            prune_at: None,
            resume_at: None,
            pause: PAUSE.0,
        }
    }

    /// The next call to send; asked again until there is none.
    pub(super) fn next(&mut self, now: Instant, load: Load<'_>) -> Option<Action> {
        if self.resume_at.is_some_and(|at| now < at) {
            return None;
        }
        self.resume_at = None;
        if !self.enlisted {
            let enlist = !self.closing && !std::mem::replace(&mut self.busy, true);
            return enlist.then_some(Action::Enlist);
        }
        self.tick(now);
        if self.look && !self.looking {
            self.look = false;
            self.looking = true;
            self.sent_looks += 1;
            return Some(Action::Look);
        }
        if !self.busy && self.reconcile {
            if !self.turns.is_empty() {
                return None;
            }
            self.busy = true;
            return Some(Action::Reconcile);
        }
        if !self.busy {
            if let Some(chore) = self.chores.pop_front() {
                self.busy = true;
                return Some(Action::Chore(chore));
            }
        }
        // A claim that is answered beside a reconciliation would be given back by it.
        if self.reconcile { None } else { self.turn(now, load).map(Action::Turn) }
    }

    /// What has become due by itself.
    fn tick(&mut self, now: Instant) {
        let due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        self.look |= due(&mut self.due_at);
        self.look |= due(&mut self.poll_at);
        if due(&mut self.prune_at) && !self.closing {
            self.chores.push_back(Chore::Prune);
        }
        if now >= self.house_at && !self.closing {
            self.house_at = now + self.bounds.house;
            self.look = true;
            self.house = true;
            self.reconcile = true;
        }
    }

    fn turn(&mut self, now: Instant, load: Load<'_>) -> Option<Asked> {
        if self.turns.len() >= self.bounds.turns {
            return None;
        }
        let alone = self.turns.iter().all(|sent| now >= *sent + SLOW);
        let least = if alone { 1 } else { (self.bounds.size / WORTH).max(1) };
        let mut left = self.bounds.size;
        let mut claims = vec![0; self.hungry.len()];
        for (queue, claim) in claims.iter_mut().enumerate() {
            if self.hungry[queue] && !self.closing {
                *claim = self.room(queue, load).min(left);
                left -= *claim;
            }
        }
        let wanted: usize = claims.iter().sum();
        if wanted < least && load.reports < least {
            return None;
        }
        for (under_way, claim) in self.under_way.iter_mut().zip(&claims) {
            *under_way += claim;
        }
        self.turns.push(now);
        let promote = wanted > 0 && std::mem::take(&mut self.promote);
        let guess = wanted > 0 && std::mem::take(&mut self.guess);
        Some(Asked { claims, promote, guess, epoch: self.epoch, sent: now })
    }

    fn room(&self, queue: usize, load: Load<'_>) -> usize {
        self.bounds.places[queue].saturating_sub(load.taken[queue] + self.under_way[queue])
    }

    /// When there is something to do again if nothing happens until then.
    pub(super) fn wake_at(&self, load: Load<'_>) -> Option<Instant> {
        if let Some(at) = self.resume_at {
            return Some(at);
        }
        let room = (0..self.hungry.len()).any(|q| self.hungry[q] && self.room(q, load) > 0);
        let slow = self.turns.iter().max().map(|sent| *sent + SLOW);
        let slow =
            slow.filter(|_| (room || load.reports > 0) && self.turns.len() < self.bounds.turns);
        let house = self.enlisted && !self.closing;
        let times =
            [self.due_at, self.poll_at, self.prune_at, slow, house.then_some(self.house_at)];
        times.into_iter().flatten().min()
    }

    /// There may be work: a poke, or jobs that were taken back.
    pub(super) fn poked(&mut self) {
        if self.closing {
            return;
        }
        if self.trust {
            self.guess = true;
            self.found();
        } else {
            self.look = true;
        }
    }

    /// Somebody asks what is due.
    pub(super) fn driven(&mut self) {
        self.look |= !self.closing;
    }

    /// A runner attends to the worker: it looks every `poll` from now on.
    pub(super) fn attended(&mut self, poll: Option<Duration>, now: Instant) {
        self.poll = poll;
        self.poll_at = poll.map(|poll| now + poll);
    }

    /// Nothing is claimed from now on; `poll` is how often to look who is cancelled.
    pub(super) fn close(&mut self, poll: Duration, now: Instant) {
        self.closing = true;
        self.hungry.fill(false);
        self.chores.clear();
        (self.due_at, self.prune_at) = (None, None);
        self.look = true;
        self.attended(Some(poll), now);
    }

    fn found(&mut self) {
        if !self.closing {
            self.epoch += 1;
            self.hungry.fill(true);
        }
    }

    pub(super) fn enlisted(&mut self) {
        self.busy = false;
        self.enlisted = true;
        self.reconcile = false;
        self.look = true;
        self.pause = PAUSE.0;
    }

    /// The lease is gone: a new one comes first.
    pub(super) fn fenced(&mut self) {
        self.enlisted = false;
        self.chores.clear();
    }

    pub(super) fn reconciled(&mut self, given_back: usize) {
        self.busy = false;
        self.reconcile = false;
        if given_back > 0 {
            self.found();
        }
    }

    /// A look was answered; `dead` are the peers that are proven dead.
    pub(super) fn looked(&mut self, peek: &Peek, dead: Vec<WorkerId>, now: Instant, random: u64) {
        self.looking = false;
        self.answered_looks += 1;
        self.pause = PAUSE.0;
        let poll = |poll| now + if self.closing { poll } else { jittered(poll, random) };
        self.poll_at = self.poll.map(poll);
        if self.closing || !peek.live {
            return;
        }
        if peek.ready || peek.promotable {
            self.trust = true;
            self.promote |= peek.promotable;
            self.found();
        }
        if let Some(ms) = peek.next_due_ms {
            self.due_in(ms, now);
        }
        let house = std::mem::take(&mut self.house);
        if house || peek.expired || !dead.is_empty() {
            self.chores.push_back(Chore::Sweep(dead));
        }
        let fire = |periodic: &PeriodicRecord| Chore::Fire(periodic.clone(), peek.now_ms);
        self.chores.extend(peek.periodic.iter().map(fire));
        if house && self.bounds.prunes {
            self.prune_at = Some(now);
        }
    }

    /// More can be claimed in `ms`.
    pub(super) fn due_in(&mut self, ms: i64, now: Instant) {
        // A millisecond later: a time of whole milliseconds may lie in this one.
        let ms = ms.clamp(0, i64::MAX - 1).unsigned_abs() + 1;
        self.due(now + Duration::from_millis(ms).min(FAR));
    }

    /// A job comes due at `at`.
    pub(super) fn due(&mut self, at: Instant) {
        if !self.closing {
            self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
        }
    }

    /// A chore is done. `found` when jobs came of it, `more` when it left something over.
    pub(super) fn kept(&mut self, chore: &Chore, found: bool, more: bool, now: Instant) {
        self.busy = false;
        if found {
            self.found();
        }
        match chore {
            _ if !more || self.closing => {}
            Chore::Sweep(_) => self.chores.push_back(Chore::Sweep(Vec::new())),
            Chore::Prune => self.prune_at = Some(now + PRUNE_GAP),
            Chore::Fire(..) => {}
        }
    }

    /// A turn was answered: so many were claimed from each queue.
    pub(super) fn turned(&mut self, asked: &Asked, got: &[usize], live: bool) {
        self.end_turn(asked);
        self.pause = PAUSE.0;
        for (queue, hungry) in self.hungry.iter_mut().enumerate() {
            // L2: what came after the turn was sent is not what it looked at.
            if asked.claims[queue] > got[queue] && asked.epoch == self.epoch || !live {
                *hungry = false;
            }
        }
        if got.iter().any(|got| *got > 0) {
            self.trust = true;
        } else if asked.guess {
            self.trust = false;
        }
    }

    fn end_turn(&mut self, asked: &Asked) {
        for (under_way, claim) in self.under_way.iter_mut().zip(&asked.claims) {
            *under_way -= claim;
        }
        if let Some(at) = self.turns.iter().position(|sent| *sent == asked.sent) {
            self.turns.swap_remove(at);
        }
    }

    /// The store failed; it gets a pause.
    pub(super) fn failed(&mut self, action: &Action, now: Instant) {
        match action {
            Action::Turn(asked) => {
                self.end_turn(asked);
                self.promote |= asked.promote;
                // Whether it was applied is unknown: the store may think we hold more than we know of.
                self.reconcile = true;
                self.look |= asked.is_claim();
            }
            Action::Look => {
                self.looking = false;
                self.look = true;
            }
            Action::Enlist | Action::Reconcile | Action::Chore(_) => self.busy = false,
        }
        self.resume_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// A lease was asked for and not answered.
    pub(super) fn is_enlisting(&self) -> bool {
        !self.enlisted && self.busy
    }

    pub(super) fn is_hungry(&self, queue: usize) -> bool {
        self.hungry[queue]
    }

    /// No place of the queue is free; what is being claimed does not count yet.
    pub(super) fn is_full(&self, queue: usize, taken: &[usize]) -> bool {
        self.bounds.places[queue] <= taken[queue]
    }

    /// How many looks were sent, and how many of them were answered.
    pub(super) fn looks(&self) -> (u64, u64) {
        (self.sent_looks, self.answered_looks)
    }

    /// Housekeeping that a look asked for is not done yet.
    pub(super) fn keeps_house(&self) -> bool {
        self.busy || !self.chores.is_empty()
    }

    /// No turn and no housekeeping is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.turns.is_empty() && !self.keeps_house()
    }
}
