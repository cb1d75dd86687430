//! The kill engine: stops a tree to a fixed point, kills it, waits for it, and looks again.
//!
//! ```text
//!            nothing moves, nothing new          all dead, or denied
//!   freeze ────────── strike ─────────────► reap ─── verify ──────────► done
//!     ▲ │ stop, walk, scan                   │          │
//!     └─┘                                    │          │ somebody new
//!     ▲                                      │          │
//!     └──────────────────────────────────────┼──────────┘
//!                                            └── deadline ────────────► done, with survivors
//! ```
//!
//! - A process is taken hold of before it is judged, and judged by what is read afterwards: so what
//!   was judged and what is signalled are the same process.
//! - A member that is stopped cannot fork, and nobody can wait for its children: its list of
//!   children is the truth. A signal to stop takes effect later, so the state is awaited.
//! - What was stopped is killed or continued: [`Engine`] does that in its `Drop`, too.
//! - No step waits. The caller waits, until the time that a step asked for.

mod admit;
#[cfg(test)]
mod any_race;
mod census;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod races;
mod refusal;
mod scan;
#[cfg(test)]
mod scarce;
mod strike;
mod table;
mod walk;

pub(crate) use refusal::Refusal;
pub(crate) use table::{GroupSent, Listing, Opened, Sent, Stat, State, Table};

use crate::evidence::Evidence;
use crate::id::{Pid, ProcId};
use crate::report::Survivor;
use crate::signal::Signal;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How long members may take to stop before they are killed while they move.
///
/// A spinning process was seen stopped after 9 ms in the median and 88 ms at worst on a loaded machine.
/// A parent inside `vfork` never stops while its stopped child exists: this bound ends that.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a look that is due at the deadline may take beyond it.
const LAST_LOOK: Duration = Duration::from_millis(5);

/// The pauses between two looks at members that are about to stop. A look without a pause would take
/// the processor that they need to get there.
const PAUSES: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(1)];

/// At how many looks once a storm of orphans is given chase, while others are about to stop.
const CATCH_EVERY: usize = 8;

/// What the caller of [`Engine::step`] does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is more to do right now.
    Again,
    /// Wait until then, or until a watched process ends.
    Wait(Instant),
    /// The engine is done: [`Engine::outcome`] tells.
    Done,
}

/// A process that belongs to the tree.
struct Member<H> {
    id: ProcId,
    /// `None` when descriptors ran short: it is taken hold of anew for each use, and its identity is
    /// compared each time.
    handle: Option<H>,
    hold: Hold,
    /// It was stopped before we came, and goes back to that when the kill is given up.
    was_stopped: bool,
    /// Its children were listed since it reached its present state.
    walked: bool,
    watched: bool,
    /// A SIGKILL of ours was accepted for it.
    struck: bool,
}

/// How far a member has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// It is only looked at.
    Seen,
    Stopping,
    Stopped,
    /// A signal to it was refused.
    Denied,
    Killed,
    Dead,
}

enum Phase {
    Freeze { since: Instant, looks: usize },
    Reap,
    Done,
}

/// What the engine has done.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) killed: usize,
    pub(crate) already_gone: usize,
    pub(crate) rounds: u32,
    pub(crate) survivors: Vec<Survivor>,
    /// The deadline came before it was known that nobody is left.
    pub(crate) is_open: bool,
}

/// Takes one tree down. Made for one kill.
pub(crate) struct Engine<T: Table> {
    table: T,
    refusal: Refusal,
    evidence: Evidence,
    deadline: Instant,
    members: Vec<Member<T::Handle>>,
    /// The place in `members` of the newest member with this pid.
    index: HashMap<Pid, usize>,
    /// Holds the root. Its number is never asked while this is there.
    root: Option<T::Handle>,
    /// The root leads a group that belongs to the tree as a whole.
    leads_group: bool,
    group_is_stopped: bool,
    /// The system does not list children: walks go over the whole table.
    scans_for_children: bool,
    phase: Phase,
    /// Members are stopped when they are found.
    stops: bool,
    /// Members get this mark when they are found.
    marks: Option<u64>,
    /// How many members could not be marked.
    unmarked: usize,
    /// A supervisor of the tree: its children are members, and it is none.
    keeper: Option<(Pid, T::Handle)>,
    /// Members that another layer has named.
    known: HashSet<Pid>,
    /// Members that the layer before this one has killed, and counts.
    dying: HashSet<Pid>,
    /// Who was looked at while members were dying, and carried nothing; and when.
    cleared: Option<(Instant, HashSet<Pid>)>,
    /// Until when members are stopped before they are killed. The rest of the time is for their end.
    freeze_until: Instant,
    /// Where the loop that runs now ends.
    limit: Instant,
    /// The layer before this one has struck everybody: who ends unasked was killed, and who is dead already
    /// was counted there.
    follows_strike: bool,
    /// The deadline came before the last scan had seen everybody: it does not prove that nobody is left.
    is_cut_short: bool,
    /// No descriptor was free for a look at somebody, although every handle was given up.
    ran_short: bool,
    /// A process that is claimed to be a member could not be held or looked at, and never will be.
    is_blind: bool,
    /// A wait has seen that nobody is left.
    is_concluded: bool,
    /// The look at the deadline has run. Whoever it found may have started others, whom nobody looks for.
    was_late: bool,
    already_gone: usize,
    rounds: u32,
}

impl<T: Table> Engine<T> {
    /// Starts nothing yet. `root` holds the root of the evidence; if that is evidence as a group, too,
    /// it leads that group, which belongs to the tree as a whole.
    pub(crate) fn new(
        mut table: T,
        evidence: Evidence,
        root: Option<T::Handle>,
        now: Instant,
        deadline: Instant,
    ) -> Self {
        let refusal = Refusal::new(&mut table);
        let pid = evidence.root.map(|root| root.pid());
        let leads = pid.filter(|pid| evidence.groups.contains(pid) && !refusal.of_group(*pid));
        let root = root.filter(|_| pid.is_some_and(|pid| !refusal.of_pid(pid)));
        Self {
            table,
            refusal,
            evidence,
            deadline,
            members: Vec::new(),
            index: HashMap::new(),
            leads_group: root.is_some() && leads.is_some(),
            root,
            group_is_stopped: false,
            scans_for_children: false,
            phase: Phase::Freeze { since: now, looks: 0 },
            stops: true,
            marks: None,
            unmarked: 0,
            keeper: None,
            known: HashSet::new(),
            dying: HashSet::new(),
            cleared: None,
            freeze_until: now + deadline.saturating_duration_since(now) / 2,
            limit: deadline,
            follows_strike: false,
            is_cut_short: false,
            ran_short: false,
            is_blind: false,
            is_concluded: false,
            was_late: false,
            already_gone: 0,
            rounds: 0,
        }
    }

    /// Begins with the look that ends a kill: the layers before this one should have left nobody.
    pub(crate) fn confirming(mut self) -> Self {
        self.phase = Phase::Reap;
        self.following()
    }

    /// The layer before this one has struck everybody it knew.
    pub(crate) fn following(mut self) -> Self {
        self.follows_strike = true;
        self
    }

    /// The children of this supervisor are members, whatever they carry. It is spared itself.
    pub(crate) fn keeping(mut self, pid: Pid, keeper: T::Handle) -> Self {
        self.keeper = Some((pid, keeper));
        self
    }

    pub(crate) fn table(&self) -> &T {
        &self.table
    }

    /// Does what can be done without waiting.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        match self.phase {
            Phase::Freeze { since, looks } => self.freeze(now, since, looks),
            Phase::Reap => self.reap(now),
            Phase::Done => Step::Done,
        }
    }

    fn freeze(&mut self, now: Instant, since: Instant, looks: usize) -> Step {
        if looks == 0 {
            self.begin_round();
        }
        let late = now >= self.freeze_until;
        self.bound_loops(self.freeze_until);
        let mut found = self.walk();
        let moving = self.settle();
        found += self.walk();
        if !late && looks % CATCH_EVERY == 0 {
            found += self.catch_marked();
        }
        let since = if found > 0 { now } else { since };
        let looks = looks.saturating_add(1);
        self.phase = Phase::Freeze { since, looks };
        if !late && found > 0 {
            return Step::Again;
        }
        let patience = (since + PATIENCE).min(self.freeze_until);
        if !late && moving > 0 && now < patience {
            let pause = PAUSES[usize::from(looks > 20)];
            return Step::Wait((now + pause).min(patience));
        }
        if !late && self.scan(false) > 0 {
            self.phase = Phase::Freeze { since: now, looks };
            return Step::Again;
        }
        self.strike();
        self.phase = Phase::Reap;
        Step::Again
    }

    /// Lets the loops run until then, and even a kill without time look once.
    fn bound_loops(&mut self, until: Instant) {
        self.limit = until.max(self.table.now() + LAST_LOOK);
    }

    /// Whether a loop that has come to its `place` has to end. Not every turn asks for the time.
    fn is_over_limit(&self, place: usize) -> bool {
        place % 16 == 15 && self.table.now() >= self.limit
    }

    fn begin_round(&mut self) {
        self.rounds += 1;
        let sent = self.signal_group(Some(Signal::STOP));
        self.group_is_stopped = sent == Some(GroupSent::Delivered);
        for member in &mut self.members {
            member.walked &= member.hold != Hold::Denied;
        }
        self.admit_root();
    }

    /// Signals the group of the tree, if it has one.
    fn signal_group(&mut self, signal: Option<Signal>) -> Option<GroupSent> {
        let leader = self.root.as_ref().filter(|_| self.leads_group)?;
        Some(self.table.signal_group(leader, signal))
    }

    /// Looks which members have stopped; returns how many have not.
    fn settle(&mut self) -> usize {
        let mut moving = 0;
        for place in 0..self.members.len() {
            if self.members[place].hold != Hold::Stopping {
                continue;
            }
            if self.is_over_limit(place) {
                return moving + 1;
            }
            let id = self.members[place].id;
            let pid = id.pid();
            let stat = self.table.stat(pid).filter(|stat| stat.start == id.start());
            let hold = match stat {
                _ if stat.is_none_or(|stat| stat.state.is_zombie())
                    && self.member_is_dead(place) =>
                {
                    Hold::Dead
                }
                None => Hold::Stopping,
                Some(stat) if stat.state.is_stopped() && stat.threads <= 1 => Hold::Stopped,
                Some(stat) if !stat.state.is_stopped() && !stat.state.is_zombie() => Hold::Stopping,
                Some(_) if self.table.all_threads_stopped(pid) => Hold::Stopped,
                Some(_) => Hold::Stopping,
            };
            let member = &mut self.members[place];
            match hold {
                Hold::Dead => self.already_gone += usize::from(!member.struck),
                Hold::Stopped => member.walked = false,
                _ => moving += 1,
            }
            member.hold = hold;
        }
        moving
    }

    /// Signals a member, taking hold of it anew when its handle was given up.
    fn signal_member(&mut self, place: usize, signal: Signal) -> Sent {
        if let Some(handle) = &self.members[place].handle {
            return self.table.signal(handle, signal);
        }
        match self.hold_again(place) {
            Opened::Held(handle) => self.table.signal(&handle, signal),
            Opened::Gone => Sent::Gone,
            Opened::Exhausted | Opened::Refused => Sent::Unheld,
        }
    }

    fn member_is_dead(&mut self, place: usize) -> bool {
        if let Some(handle) = &self.members[place].handle {
            return self.table.is_dead(handle);
        }
        match self.hold_again(place) {
            Opened::Held(handle) => self.table.is_dead(&handle),
            Opened::Gone => true,
            Opened::Exhausted | Opened::Refused => false,
        }
    }

    /// A handle for this one use.
    fn hold_again(&mut self, place: usize) -> Opened<T::Handle> {
        let id = self.members[place].id;
        let handle = match self.open_sparing(id.pid()) {
            Opened::Held(handle) => handle,
            other => return other,
        };
        if let (Some(before), Some(now)) = (id.inode(), self.table.inode(&handle)) {
            return if before == now { Opened::Held(handle) } else { Opened::Gone };
        }
        match self.table.stat(id.pid()) {
            Some(stat) if stat.start == id.start() => Opened::Held(handle),
            None if !self.table.is_dead(&handle) => Opened::Exhausted,
            _ => Opened::Gone,
        }
    }
}

impl<T: Table> Drop for Engine<T> {
    /// Lets everybody go on who was stopped and was not killed.
    fn drop(&mut self) {
        for place in 0..self.members.len() {
            let member = &self.members[place];
            if matches!(member.hold, Hold::Stopping | Hold::Stopped) && !member.was_stopped {
                self.signal_member(place, Signal::CONT);
            }
        }
        if self.group_is_stopped {
            self.signal_group(Some(Signal::CONT));
        }
    }
}
