//! A process job: a child whose output is read as it comes, and counted to the byte.

use crate::events::Event;
use lastout::output_stream::{LineOptions, Policy, Position, Process};
use lastout::supervisor::Failure;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::process::Command;

/// Lines that the child prints.
pub(crate) const LINES: u64 = 2_000;
/// Of these, every so many are shown by the demo.
const SHOWN: u64 = 500;

/// The result of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Digested {
    pub(crate) lines: u64,
    pub(crate) ingested: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
}

/// Runs the child to its end. When this is dropped, the child and all it started are killed.
pub(crate) async fn run(n: u32) -> Result<Digested, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--role", "digest", "--seed", &n.to_string()]);
    let mut process = Process::builder(command).spawn()?;
    let subscriber = process.stdout().subscribe(Position::Start, Policy::Block)?;
    let mut lines = subscriber.lines(LineOptions::default());
    let mut read = 0;
    while let Some(line) = lines.next().await {
        read += 1;
        if read % SHOWN == 0 {
            let text = line.text().into_owned();
            Event::Line { n, text }.tell();
        }
    }
    let exit = process.wait().await?;
    if !exit.success() {
        return Err(format!("the child ended with {}", exit.status).into());
    }
    let stats = process.stdout().stats();
    let reader = stats.subscribers.first().ok_or("nobody reads")?;
    Ok(Digested {
        lines: read,
        ingested: stats.ingested,
        delivered: reader.delivered,
        lost: reader.lost,
    })
}

/// The child itself.
pub(crate) fn child(seed: u64) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut dice = crate::plan::Dice::new(seed);
    for line in 0..LINES {
        writeln!(out, "digest {line:>5} {:016x}", dice.below(u64::MAX))?;
    }
    out.flush()
}
