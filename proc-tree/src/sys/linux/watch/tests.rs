//! A strike on processes that fork, die, and whose numbers are reused, in a family that is made up.

use super::*;
use std::collections::BTreeMap;

/// Processes that fork whenever the supervisor looks away, up to a limit on how many there may be.
#[derive(Default)]
struct Fake {
    /// Each with its parent, and whether it is stopped.
    living: BTreeMap<RawPid, (RawPid, bool)>,
    limit: usize,
    next: RawPid,
    time: u64,
    holds: Vec<i32>,
    /// How many descriptors there are.
    descriptors: usize,
    /// This pid goes to a stranger between the look at it and the hold.
    reused: Option<RawPid>,
    innocents: Vec<RawPid>,
}

const SUPERVISOR: RawPid = 2;
const INIT: RawPid = 1;

impl Fake {
    fn new(members: &[(RawPid, RawPid)], limit: usize) -> Self {
        let living = members.iter().map(|(pid, parent)| (*pid, (*parent, false))).collect();
        Self { living, limit, next: 1000, descriptors: 4096, ..Self::default() }
    }

    /// Everybody who runs forks once, as long as there is room.
    fn let_fork(&mut self) {
        let running = self.living.iter().filter(|(_, (_, is_stopped))| !is_stopped);
        let parents: Vec<_> = running.map(|(pid, _)| *pid).collect();
        for parent in parents.into_iter().filter(|pid| !self.innocents.contains(pid)) {
            if self.living.len() < self.limit {
                self.living.insert(self.next, (parent, false));
                self.next += 1;
            }
        }
    }

    fn die(&mut self, pid: RawPid) {
        assert!(!self.innocents.contains(&pid), "{pid} is no member");
        self.living.remove(&pid);
        for (parent, _) in self.living.values_mut().filter(|(parent, _)| *parent == pid) {
            *parent = SUPERVISOR;
        }
    }

    fn members(&self) -> usize {
        self.living.len() - self.innocents.len()
    }

    fn run(&mut self, strike: impl Fn(&mut Self, &mut [i32], &mut [i32], &mut [i32])) {
        strike(self, &mut [0; 512], &mut [0; 512], &mut [0; 512]);
        assert_eq!(self.holds.len(), 0, "every descriptor was closed");
    }
}

impl Family for Fake {
    fn children(&mut self, of: Option<RawPid>, list: &mut [RawPid]) -> usize {
        let parent = of.unwrap_or(SUPERVISOR);
        let children = self.living.iter().filter(|(_, (p, _))| *p == parent);
        let children: Vec<_> = children.map(|(pid, _)| *pid).take(list.len()).collect();
        list[..children.len()].copy_from_slice(&children);
        self.let_fork();
        children.len()
    }

    fn parent(&mut self, pid: RawPid) -> RawPid {
        self.living.get(&pid).map_or(-1, |(parent, _)| *parent)
    }

    fn hold(&mut self, pid: RawPid) -> i32 {
        if self.reused == Some(pid) {
            self.living.insert(pid, (INIT, false));
            self.innocents.push(pid);
            self.reused = None;
        }
        if self.holds.len() >= self.descriptors || !self.living.contains_key(&pid) {
            return -1;
        }
        self.holds.push(pid);
        pid
    }

    fn is_over(&mut self, hold: i32) -> bool {
        !self.living.contains_key(&hold)
    }

    fn signal(&mut self, hold: i32, signal: i32) {
        assert!(!self.innocents.contains(&hold), "{hold} is no member");
        match signal {
            SIGKILL => self.die(hold),
            _ => drop(self.living.get_mut(&hold).map(|(_, is_stopped)| *is_stopped = true)),
        }
    }

    fn release(&mut self, hold: i32) {
        self.holds.retain(|held| *held != hold);
    }

    fn kill_child(&mut self, pid: RawPid) {
        self.die(pid);
    }

    fn now(&mut self) -> u64 {
        self.time += 1;
        self.time
    }
}

fn thorough(fake: &mut Fake, pids: &mut [i32], holds: &mut [i32], list: &mut [i32]) {
    stop_and_kill(fake, Table { pids, holds, list });
}

#[test]
fn a_fork_bomb_at_its_limit_is_stopped_before_anybody_dies() {
    let bomb = || Fake::new(&[(10, SUPERVISOR), (11, 10), (12, 11), (13, 12)], 400);
    let mut fake = bomb();
    fake.run(|fake, _, _, list| strike_children(fake, list));
    assert!(fake.members() > 0, "killing alone makes room for others");
    let mut fake = bomb();
    fake.run(thorough);
    assert_eq!(fake.members(), 0);
}

#[test]
fn a_number_that_went_to_a_stranger_is_not_signalled() {
    let mut fake = Fake::new(&[(10, SUPERVISOR), (11, 10), (12, 11)], 0);
    fake.reused = Some(12);
    fake.run(thorough);
    assert_eq!((fake.members(), fake.innocents.as_slice()), (0, &[12][..]));
}

#[test]
fn without_descriptors_the_children_die_and_the_next_round_has_theirs() {
    let mut fake = Fake::new(&[(10, SUPERVISOR), (11, 10), (12, 11)], 0);
    fake.descriptors = 0;
    for left in [2, 1, 0] {
        fake.run(thorough);
        assert_eq!(fake.members(), left);
    }
}

#[test]
fn a_tree_larger_than_the_table_is_gone_after_some_rounds() {
    let members: Vec<_> = (0..2000).map(|n| (100 + n, SUPERVISOR)).collect();
    let mut fake = Fake::new(&members, 0);
    for _ in 0..10 {
        fake.run(thorough);
    }
    assert_eq!(fake.members(), 0);
}
