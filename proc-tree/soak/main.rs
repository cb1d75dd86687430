//! `cargo xtask soak proc`: storms of processes at every level of containment, until the time is up.
//!
//! A round spawns a storm in a tree, kills the tree while it storms, and asks an oracle that the crate
//! does not know of whether anybody is left. The sums at the end are the claim.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::zombie_processes,
    reason = "a program that reports to a terminal, and spawns the storms that it adopts"
)]

mod storm;

use lastout_proc_tree::{Containment, Level, Tree};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use storm::{LIFELINE, ORACLE, Storm};

/// The rounds of each storm at each level that make a claim.
const ROUNDS: usize = 200;

/// More than anything takes on a slow and busy machine.
const LONG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("--ghost" | "--storm" | "--worker") => work(),
        _ => be_init(&words),
    }
}

/// Runs the soak as a child, and waits for every orphan that the storms leave: the init of a container
/// may be slow at that, and zombies use up the pids of the machine.
fn be_init(words: &[String]) -> ExitCode {
    use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};
    set_child_subreaper(Some(getpid())).expect("orphans can be taken");
    let mut command = Command::new(std::env::current_exe().expect("the own path"));
    let worker = command.arg("--worker").args(words).spawn().expect("the soak starts");
    let mut code = ExitCode::FAILURE;
    while let Ok(ended) = wait(WaitOptions::empty()) {
        let is_worker =
            |pid: rustix::process::Pid| pid.as_raw_nonzero().get() as u32 == worker.id();
        if let Some((_, status)) = ended.filter(|(pid, _)| is_worker(*pid)) {
            let status = status.exit_status().and_then(|status| u8::try_from(status).ok());
            code = status.map_or(ExitCode::FAILURE, ExitCode::from);
        }
    }
    code
}

fn work() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (mut minutes, mut seed, mut rounds, mut only) = (None, 1u64, ROUNDS, None);
    while let Some(word) = words.next() {
        let mut value = || words.next().and_then(|value| value.parse::<u64>().ok());
        match word.as_str() {
            "--worker" => {}
            "--ghost" => storm::be_a_ghost(),
            "--storm" => {
                let (Some(kind), Some(seed)) = (value(), value()) else {
                    return ExitCode::from(2);
                };
                storm::run(Storm::ALL[kind as usize % Storm::ALL.len()], seed)
            }
            "--minutes" => minutes = value(),
            "--seed" => seed = value().unwrap_or(seed),
            "--level" => only = words.next(),
            "--rounds" => rounds = value().unwrap_or(0) as usize,
            _ => {}
        }
    }
    let time = minutes.map(|minutes| Duration::from_secs(minutes * 60));
    soak(time, seed, rounds, only.as_deref())
}

/// What came of the rounds of one storm at one level.
#[derive(Debug, Default)]
struct Sum {
    rounds: usize,
    /// Rounds after which the oracle knew of somebody when the kill had returned.
    with_survivors: usize,
    errors: usize,
    killed: usize,
    slowest: Duration,
}

fn soak(time: Option<Duration>, seed: u64, rounds: usize, only: Option<&str>) -> ExitCode {
    let begin = Instant::now();
    let mut levels = levels();
    levels.retain(|level| only.is_none_or(|only| level.to_string() == only));
    println!("soak proc: seed {seed}, levels {}", names(&levels));
    let mut sums: BTreeMap<(Level, &str), Sum> = BTreeMap::new();
    let mut random = seed;
    for round in 0.. {
        let is_over = match time {
            Some(time) => begin.elapsed() >= time,
            None => round >= rounds,
        };
        if is_over {
            break;
        }
        for level in &levels {
            for (kind, storm) in Storm::ALL.into_iter().enumerate() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let sum = sums.entry((*level, storm.name())).or_default();
                one_round(*level, kind, random >> 1, sum);
            }
        }
    }
    let is_clean = print_sums(&sums);
    println!("{:.0?} in all", begin.elapsed());
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The levels that this machine has.
fn levels() -> Vec<Level> {
    let all = [Level::PidNamespace, Level::Cgroup, Level::Supervisor, Level::Evidence];
    let available =
        |level: &Level| Tree::spawn(&mut Command::new("true"), Containment::demand(*level)).is_ok();
    all.into_iter().filter(available).collect()
}

fn names(levels: &[Level]) -> String {
    let names: Vec<_> = levels.iter().map(Level::to_string).collect();
    names.join(", ")
}

fn one_round(level: Level, kind: usize, seed: u64, sum: &mut Sum) {
    let (mut oracle, theirs) = std::io::pipe().expect("a pipe");
    let (their_lifeline, lifeline) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(std::env::current_exe().expect("the own path"));
    command.args(["--storm", &kind.to_string(), &seed.to_string()]);
    let containment =
        Containment::demand(level).descriptor(ORACLE, theirs).descriptor(LIFELINE, their_lifeline);
    let (tree, _child) = Tree::spawn(&mut command, containment).expect("the storm starts");
    oracle.read_exact(&mut [0]).expect("the storm stands");
    sum.rounds += 1;
    let begin = Instant::now();
    match tree.kill_blocking(LONG) {
        Ok(report) => sum.killed += report.killed,
        Err(error) => {
            println!("{level}: {error}");
            sum.errors += 1;
        }
    }
    sum.slowest = sum.slowest.max(begin.elapsed());
    if !is_over(&mut oracle, Duration::ZERO) {
        sum.with_survivors += 1;
    }
    end_the_rest(lifeline, oracle);
}

/// Whether nobody holds the oracle: its end of file is there.
fn is_over(oracle: &mut PipeReader, patience: Duration) -> bool {
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

fn print_sums(sums: &BTreeMap<(Level, &str), Sum>) -> bool {
    println!(
        "\n{:<14} {:<8} {:>6} {:>10} {:>6} {:>8} {:>9}",
        "level", "storm", "rounds", "survivors", "errors", "killed", "slowest"
    );
    let mut is_clean = true;
    for ((level, storm), sum) in sums {
        let level = level.to_string();
        println!(
            "{level:<14} {storm:<8} {:>6} {:>10} {:>6} {:>8} {:>9.1?}",
            sum.rounds, sum.with_survivors, sum.errors, sum.killed, sum.slowest
        );
        is_clean &= sum.with_survivors == 0 && sum.errors == 0;
    }
    is_clean
}
