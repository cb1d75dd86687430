//! `cargo xtask soak proc`: storms of processes at every level of containment, under every condition
//! that this machine can make, until the time is up.
//!
//! A round spawns a storm in a tree, kills the tree while it storms, and asks an oracle that the crate
//! does not know of whether a member is left. Innocent processes beside the tree must live on. The sums at
//! the end are the claim: survivors 0, false successes 0, innocents 0.
//!
//! `--minutes N`, `--rounds N`, `--seed S`, `--level NAME`, `--storm NAME` and `--condition NAME` choose.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that reports to a terminal, and spawns its workers and canaries"
)]

mod canary;
mod condition;
mod hostile;
mod round;
mod storm;

use condition::{Condition, Group};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use storm::Storm;

/// The rounds of each storm at each level, when no time is given.
const ROUNDS: usize = 20;

/// What the command line chose.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choice {
    minutes: Option<u64>,
    rounds: Option<usize>,
    seed: u64,
    level: Option<String>,
    storm: Option<String>,
    condition: Option<String>,
    /// Where a worker keeps its processes.
    group: Option<String>,
}

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let word = |place: usize| words.get(place).map(String::as_str);
    match word(0) {
        Some("--ghost") => storm::be_a_ghost(),
        Some("--storm-root") => {
            let storm = word(1).and_then(Storm::named);
            let number = |place: usize| word(place).and_then(|word| word.parse::<u64>().ok());
            match (storm, number(2), number(3)) {
                (Some(storm), Some(seed), Some(soak)) => storm::run(storm, seed, soak as u32),
                _ => ExitCode::from(2),
            }
        }
        Some("--worker") => match choice(&words[1..]) {
            Ok(choice) => worker(&choice),
            Err(code) => code,
        },
        _ => match choice(&words) {
            Ok(choice) => all_conditions(&choice, &words),
            Err(code) => code,
        },
    }
}

fn choice(words: &[String]) -> Result<Choice, ExitCode> {
    let mut choice = Choice { seed: 1, ..Choice::default() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(value) = words.next() else {
            println!("soak proc: {word} needs a value");
            return Err(ExitCode::from(2));
        };
        let text = Some(value.clone());
        match word.as_str() {
            "--minutes" => choice.minutes = value.parse().ok(),
            "--rounds" => choice.rounds = value.parse().ok(),
            "--seed" => choice.seed = value.parse().unwrap_or(1),
            "--level" => choice.level = text,
            "--storm" => choice.storm = text,
            "--condition" => choice.condition = text,
            "--group" => choice.group = text,
            _ => {
                println!("soak proc: unknown word {word}");
                return Err(ExitCode::from(2));
            }
        }
    }
    Ok(choice)
}

/// Runs a worker for each condition, one after the other, and waits for every orphan that the storms
/// leave: the init of a container may be slow at that, and zombies use up the pids of the machine.
fn all_conditions(choice: &Choice, words: &[String]) -> ExitCode {
    set_child_subreaper(Some(getpid())).expect("orphans can be taken");
    let begin = Instant::now();
    let chosen = |condition: &Condition| {
        choice.condition.as_deref().is_none_or(|name| name == condition.name())
    };
    let conditions: Vec<_> = Condition::ALL.into_iter().filter(chosen).collect();
    let mut words: Vec<_> = words.to_vec();
    if let Some(minutes) = choice.minutes {
        // A share of the time each, in whole minutes.
        let share = minutes.div_ceil(conditions.len().max(1) as u64).max(1);
        words.extend(["--minutes".into(), share.to_string()]);
    }
    let mut failed = Vec::new();
    let mut skipped = Vec::new();
    for condition in conditions {
        if let Err(why) = condition.is_possible() {
            println!("\n== {}: skipped, {why}", condition.name());
            skipped.push(condition.name());
            continue;
        }
        println!("\n== {}", condition.name());
        let group = Group::make();
        let mut command = Command::new("/proc/self/exe");
        command.arg("--worker").args(&words).args(["--condition", condition.name()]);
        command.args(group.iter().flat_map(|group| ["--group", group.path()]));
        let worker = command.spawn().expect("the soak starts").id();
        let is_good = wait_for(worker);
        condition::remove_delegated(worker);
        if !is_good {
            failed.push(condition.name());
        }
    }
    println!("\n{:.0?} in all; skipped: {skipped:?}; failed: {failed:?}", begin.elapsed());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits for the worker and for all that it leaves; whether it ended well and left nothing.
fn wait_for(worker: u32) -> bool {
    let mut is_good = false;
    while let Ok(Some((pid, status))) = wait(WaitOptions::empty()) {
        if Pid::from_raw(worker as i32) == Some(pid) {
            is_good = status.exit_status() == Some(0);
            break;
        }
    }
    is_good & leaves_nothing()
}

/// What a worker leaves ends within this: canaries and members end with their lifelines.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for the processes that fell to this one; names and ends those that stay.
fn leaves_nothing() -> bool {
    let until = Instant::now() + PATIENCE;
    let mut is_good = true;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => continue,
            Err(_) => return is_good,
            Ok(None) if Instant::now() < until => {}
            Ok(None) => {
                is_good = false;
                let list = std::fs::read_to_string("/proc/thread-self/children");
                for child in list.unwrap_or_default().split_ascii_whitespace() {
                    let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
                    println!("left behind: {}", stat.unwrap_or_default().trim_end());
                    // A child of this process that nobody has waited for: its number is its own.
                    if let Some(pid) = child.parse().ok().and_then(Pid::from_raw) {
                        let _ = kill_process(pid, Signal::KILL);
                    }
                }
            }
        }
        // SLEEP: between two looks at the condition.
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn worker(choice: &Choice) -> ExitCode {
    let name = choice.condition.as_deref().unwrap_or_default();
    let condition = Condition::named(name).expect("the soak names a condition");
    let doors = condition.enter(choice.group.as_deref());
    round::soak(choice, condition, &doors)
}
