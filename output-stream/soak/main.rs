//! `cargo xtask soak stream`: random sources, children, pipelines, terminals, killed callers, readers, policies
//! and drops until the time is up. Every reader keeps books of its own, and they must agree with those of the stream, to the byte.
//! It ends with the sums.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "real processes, and the sums are its output"
)]

mod callers;
mod children;
mod dice;
mod ledger;
mod pipelines;
mod readers;
#[cfg(feature = "pty")]
mod terminals;

use dice::Dice;
use lastout_proc_tree::audit::Audit;
use std::time::{Duration, Instant};

/// No storm takes longer, or something hangs.
const HUNG: Duration = Duration::from_secs(120);

/// What all storms came to.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) streams: u64,
    pub(crate) readers: u64,
    pub(crate) dropped_early: u64,
    pub(crate) detached: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) children: u64,
    pub(crate) timed_out: u64,
    pub(crate) writers_left: u64,
    pub(crate) child_bytes: u64,
    pub(crate) pipelines: u64,
    pub(crate) terminals: u64,
    pub(crate) callers: u64,
}

fn main() {
    if let Some(never) = callers::called() {
        match never {}
    }
    let (minutes, seed) = arguments();
    println!("seed {seed}");
    // A first runtime opens what tokio keeps for the whole process. Directories are left out: other
    // programs write to the shared one for minutes, too.
    drop(runtime(&mut Dice::new(seed)));
    let audit = Audit::begin_in([]);
    let start = Instant::now();
    let mut sums = Sums::default();
    let mut storms = 0;
    while storms == 0 || start.elapsed() < Duration::from_secs_f64(minutes * 60.0) {
        let mut dice = Dice::new(seed.wrapping_add(storms));
        let runtime = runtime(&mut dice);
        runtime.block_on(async {
            let storm = async {
                readers::storm(&mut dice, &mut sums).await;
                children::storm(&mut dice, &mut sums).await;
                pipelines::storm(&mut dice, &mut sums).await;
                #[cfg(feature = "pty")]
                terminals::storm(&mut dice, &mut sums).await;
            };
            let ended = tokio::time::timeout(HUNG, storm).await;
            assert!(ended.is_ok(), "storm {storms} of seed {seed} hangs");
        });
        drop(runtime);
        callers::storm(&mut dice, &mut sums);
        storms += 1;
    }
    audit.assert_clean(HUNG);
    println!("{storms} storms in {:.0} s: {sums:?}", start.elapsed().as_secs_f64());
    println!("ok: attached at + delivered + lost + lag = ingested, and 0 processes are left");
}

/// Sometimes one thread, on which orders are fixed, and sometimes two.
fn runtime(dice: &mut Dice) -> tokio::runtime::Runtime {
    let mut builder = match dice.roll(2) {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(2).enable_all().build().unwrap()
}

fn arguments() -> (f64, u64) {
    let (mut minutes, mut seed) = (1.0, 1);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        match word.as_str() {
            "--minutes" => minutes = value.parse().expect("--minutes takes a number"),
            "--seed" => seed = value.parse().expect("--seed takes a number"),
            other => panic!("unknown argument {other}"),
        }
    }
    (minutes, seed)
}
