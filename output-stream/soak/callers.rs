//! Callers that SIGKILL ends while they start, read and end processes: this very binary, run again. Whatever
//! they have started carries their mark in its environment.

use crate::Sums;
use crate::children::script;
use crate::dice::Dice;
use crate::pipelines::pipeline;
use lastout_output_stream::{Keep, Process};
use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Its value is the seed of the caller and a number that no other caller has.
const MARK: &str = "LASTOUT_SOAK_CALLER";
const LONG: Duration = Duration::from_secs(60);

/// How many processes or pipelines a caller has at once.
const AT_ONCE: usize = 4;

/// What this process does when it is a caller: it goes on until it is killed. `None` in the soak itself.
pub(crate) fn called() -> Option<std::convert::Infallible> {
    let mark = std::env::var(MARK).ok()?;
    let (seed, _) = mark.split_once('.').unwrap();
    let mut dice = Dice::new(seed.parse().unwrap());
    let runtime = crate::runtime(&mut dice);
    runtime.block_on(async {
        let (mut processes, mut pipelines) = (VecDeque::new(), VecDeque::new());
        loop {
            let bytes = dice.roll(500_000);
            match dice.roll(4) {
                0 => pipelines.push_back(
                    pipeline(bytes, Process::builder("cat"), &mut dice).spawn().unwrap(),
                ),
                #[cfg(feature = "pty")]
                1 => {
                    let builder =
                        crate::terminals::on_terminal(bytes, crate::terminals::STAYS, &mut dice);
                    processes.push_back(builder.spawn().unwrap());
                }
                _ => {
                    let process = Process::shell(script(bytes, dice.roll(9))).spawn().unwrap();
                    let mut all = process.stdout().collect(Keep::nothing()).unwrap();
                    tokio::spawn(async move { all.wait().await.total() });
                    processes.push_back(process);
                }
            }
            while processes.len() + pipelines.len() > AT_ONCE {
                drop((processes.pop_front(), pipelines.pop_front()));
            }
            println!("one more");
            std::io::stdout().flush().unwrap();
        }
    })
}

/// One caller, killed at some time; nothing that it has started is left.
pub(crate) fn storm(dice: &mut Dice, sums: &mut Sums) {
    let mark = format!("{}.{}-{}", dice.roll(1 << 30), std::process::id(), sums.callers);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(MARK, &mark).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut caller = command.spawn().unwrap();
    let mut lines = BufReader::new(caller.stdout.take().unwrap()).lines();
    for _ in 0..dice.roll(12) {
        lines.next().expect("the caller ended by itself").unwrap();
    }
    caller.kill().unwrap();
    caller.wait().unwrap();
    let until = Instant::now() + LONG;
    loop {
        let left = marked(&mark);
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "{left:?} outlived the caller {mark}");
        std::thread::yield_now();
    }
    sums.callers += 1;
}

/// The processes that carry the mark.
fn marked(mark: &str) -> Vec<String> {
    let mark = format!("{MARK}={mark}");
    let carries = |folder: &fs::DirEntry| {
        let environment = fs::read(folder.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let folders = fs::read_dir("/proc").unwrap().map(Result::unwrap).filter(carries);
    folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect()
}
