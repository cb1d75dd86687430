//! One round: a storm, its kill, and what the oracle and the canaries say afterwards.

use crate::canary::Canaries;
use crate::condition::{Condition, Doors};
use crate::storm::{BOMB_DOOR, LIFELINE, ORACLE, Storm};
use crate::{Choice, ROUNDS};
use lastout_proc_tree::{Containment, Level, Program, Tree};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, WaitOptions, getrlimit, setrlimit, wait};
use std::collections::BTreeMap;
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// More than anything takes on a slow and busy machine.
const LONG: Duration = Duration::from_secs(30);

/// What a kill may take. A tree that needs more counts as survived.
const DEADLINE: Duration = Duration::from_secs(10);

/// What came of the rounds of one storm at one level.
#[derive(Debug, Default)]
struct Sum {
    rounds: usize,
    /// The kill said that nobody is left, and the oracle knew of somebody.
    false_successes: usize,
    /// The kill said that it failed, and the oracle knew of somebody.
    survivors: usize,
    /// The kill said that it failed, and nobody was left.
    unsure: usize,
    innocents: usize,
    killed: usize,
    slowest: Duration,
    /// The guarantee of the level claims that no member gets out.
    is_complete: bool,
}

impl Sum {
    fn is_good(&self) -> bool {
        self.false_successes == 0
            && self.innocents == 0
            && (self.survivors == 0 || !self.is_complete)
    }
}

pub(crate) fn soak(choice: &Choice, condition: Condition, doors: &Doors) -> ExitCode {
    let begin = Instant::now();
    let mut levels = levels();
    levels.retain(|level| choice.level.as_ref().is_none_or(|only| level.to_string() == *only));
    let mut storms = Storm::ALL.to_vec();
    storms.retain(|storm| choice.storm.as_ref().is_none_or(|only| storm.name() == only));
    let names: Vec<_> = levels.iter().map(Level::to_string).collect();
    println!("seed {}, levels {}", choice.seed, names.join(", "));
    let time = choice.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let mut sums: BTreeMap<(Level, &str), Sum> = BTreeMap::new();
    let mut random = choice.seed;
    for level in levels {
        let begin = Instant::now();
        let mut canaries = Canaries::new(level);
        let share = time.map(|time| time / names.len().max(1) as u32);
        for round in 0.. {
            let is_over = match share {
                Some(share) => begin.elapsed() >= share,
                None => round >= choice.rounds.unwrap_or(ROUNDS),
            };
            if is_over {
                break;
            }
            for storm in &storms {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let sum = sums.entry((level, storm.name())).or_default();
                one_round(level, *storm, random >> 1, doors, sum);
                sum.innocents += canaries.harmed();
                if condition == Condition::First {
                    reap_orphans();
                }
            }
        }
    }
    let is_good = print_sums(&sums);
    println!("{}: {:.0?}", condition.name(), begin.elapsed());
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The levels that this caller has here.
fn levels() -> Vec<Level> {
    let all = [Level::PidNamespace, Level::Cgroup, Level::Supervisor, Level::Evidence];
    let available =
        |level: &Level| match Tree::spawn(&mut Command::new("true"), Containment::demand(*level)) {
            Ok(_) => true,
            Err(error) => {
                println!("no {level}: {}", said(&error));
                false
            }
        };
    all.into_iter().filter(available).collect()
}

fn one_round(level: Level, storm: Storm, seed: u64, doors: &Doors, sum: &mut Sum) {
    let (mut oracle, theirs) = std::io::pipe().expect("a pipe");
    let (their_lifeline, lifeline) = std::io::pipe().expect("a pipe");
    let (number, soak) = (seed.to_string(), std::process::id().to_string());
    let words = ["--storm-root", storm.name(), &number, &soak];
    let mut containment =
        Containment::demand(level).descriptor(ORACLE, theirs).descriptor(LIFELINE, their_lifeline);
    if let Some(bomb) = doors.bomb.as_ref().filter(|_| storm == Storm::Bomb) {
        containment = containment.descriptor(BOMB_DOOR, bomb.try_clone().expect("a descriptor"));
    }
    // Both ways to start a tree: without a copy of this process, and with one.
    let spawned = if (seed >> 8).is_multiple_of(2) {
        Tree::spawn(Program::new("/proc/self/exe").args(words), containment)
    } else {
        Tree::spawn(Command::new("/proc/self/exe").args(words), containment)
    };
    let (tree, child) = match spawned {
        Ok(spawned) => spawned,
        Err(error) => {
            println!("{level}, {}: {}", storm.name(), said(&error));
            sum.unsure += 1;
            return;
        }
    };
    sum.is_complete = tree.guarantee().is_complete();
    await_storm(&mut oracle, storm);
    sum.rounds += 1;
    let shortage = (storm == Storm::Scarce).then(|| Shortage::of(seed as usize % 2));
    let begin = Instant::now();
    // Every fourth tree is dropped: that must end it as well, and has nobody to tell.
    let is_dropped = storm != Storm::Scarce && seed.is_multiple_of(4);
    let mut outcome = if is_dropped {
        drop((tree.drop_within(DEADLINE), child));
        Ok(0)
    } else {
        let killed = tree.kill_blocking(DEADLINE);
        killed.map(|report| report.killed).map_err(|error| said(&error))
    };
    sum.slowest = sum.slowest.max(begin.elapsed());
    let is_gone = is_over(&mut oracle, Duration::ZERO);
    drop(shortage);
    if is_dropped && !is_gone {
        outcome = Err("the drop has left somebody".into());
    }
    match (&outcome, is_gone) {
        (Ok(killed), true) => sum.killed += killed,
        (Ok(_), false) => sum.false_successes += 1,
        (Err(_), true) => sum.unsure += 1,
        (Err(_), false) => sum.survivors += 1,
    }
    // Of kills that are only unsure, one of each storm is shown: the reason is that of the condition.
    let is_news = if is_gone { outcome.is_err() && sum.unsure == 1 } else { true };
    if is_news {
        let said = match &outcome {
            Ok(_) => "the kill was a success",
            Err(error) => error.get(..200).unwrap_or(error),
        };
        println!("{level}, {}, seed {seed}: gone {is_gone}, {said}", storm.name());
    }
    end_the_rest(lifeline, oracle);
}

/// An error with its causes.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Waits until the storm stands.
fn await_storm(oracle: &mut PipeReader, storm: Storm) {
    let until = Instant::now() + LONG;
    let mut byte = [0];
    while byte[0] != storm.word() {
        let left = until.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::from_borrowed_fd(oracle.as_fd(), PollFlags::IN)];
        let news = poll(&mut fds, Timespec::try_from(left).ok().as_ref()).expect("a pipe");
        assert_ne!(news, 0, "the storm {} does not stand", storm.name());
        oracle.read_exact(&mut byte).expect("the storm stands");
    }
}

/// Whether nobody holds the oracle: its end of file is there.
pub(crate) fn is_over(oracle: &mut PipeReader, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now()));
        let mut fds = [PollFd::from_borrowed_fd(oracle.as_fd(), PollFlags::IN)];
        let news = poll(&mut fds, left.ok().as_ref()).expect("a pipe can be polled");
        if news == 0 {
            return false;
        }
        // Reports of the storm come first.
        if oracle.read(&mut [0; 64]).expect("a pipe can be read") == 0 {
            return true;
        }
    }
}

/// Cuts the lifeline, so that a survivor ends before the next round.
fn end_the_rest(lifeline: PipeWriter, mut oracle: PipeReader) {
    drop(lifeline);
    assert!(is_over(&mut oracle, LONG), "a survivor does not end with its lifeline");
}

/// As the first process of a namespace this one gets all orphans. No tree lives, and canaries do.
fn reap_orphans() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// All descriptors of this process are used up, but so many.
struct Shortage {
    limit: rustix::process::Rlimit,
    _used: Vec<OwnedFd>,
}

impl Shortage {
    fn of(left: usize) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let few = rustix::process::Rlimit { current: Some(128), maximum: limit.maximum };
        setrlimit(Resource::Nofile, few).expect("fewer are allowed");
        let any: OwnedFd = std::io::stdout().as_fd().try_clone_to_owned().expect("a descriptor");
        let mut used = vec![any];
        while let Ok(another) = used[0].try_clone() {
            used.push(another);
        }
        used.truncate(used.len() - left);
        Self { limit, _used: used }
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        let limit = std::mem::replace(&mut self.limit, getrlimit(Resource::Nofile));
        setrlimit(Resource::Nofile, limit).expect("as many as before are allowed");
    }
}

fn print_sums(sums: &BTreeMap<(Level, &str), Sum>) -> bool {
    println!(
        "{:<14} {:<10} {:>6} {:>9} {:>5} {:>6} {:>9} {:>8} {:>9}",
        "level",
        "storm",
        "rounds",
        "survivors",
        "false",
        "unsure",
        "innocents",
        "killed",
        "slowest"
    );
    let mut is_good = true;
    for ((level, storm), sum) in sums {
        let level = level.to_string();
        let mark = if sum.is_good() { "" } else { "  <-" };
        println!(
            "{level:<14} {storm:<10} {:>6} {:>9} {:>5} {:>6} {:>9} {:>8} {:>9.1?}{mark}",
            sum.rounds,
            sum.survivors,
            sum.false_successes,
            sum.unsure,
            sum.innocents,
            sum.killed,
            sum.slowest
        );
        is_good &= sum.is_good();
    }
    is_good
}
