//! Runs commands of somebody who is not trusted to write good ones, as a coding agent does: each with a time limit,
//! bounded output, limits where the machine has them, and nothing left of it.
//!
//! One command a line comes from standard input; one report a command goes to standard output.
//!
//! ```text
//! echo 'sleep 600 & yes | head -c 10000000' |
//!     cargo run -p lastout-output-stream --features process --example agent -- 5
//! ```
#![allow(clippy::print_stdout, reason = "it is a program")]

use lastout_output_stream::tree::{Limits, SpawnError};
use lastout_output_stream::{Keep, Output, OutputError, Process, ProcessBuilder};
use std::error::Error;
use std::time::Duration;

/// What an agent gets to see of each output.
const KEEP: Keep = Keep::head_tail(2_000, 2_000);

fn command(line: &str, time: Duration) -> ProcessBuilder {
    Process::shell(line)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .timeout(time)
        .grace(Duration::from_millis(500))
        .measured()
}

async fn run(line: &str, time: Duration) -> Result<Output, OutputError> {
    let limits = Limits::new().memory(512 << 20).tasks(100);
    match command(line, time).tree_limits(limits).output_within(KEEP).await {
        // Limits need cgroups that this user may write to: without them there are time and output.
        Err(OutputError::Spawn(SpawnError::Limit(_))) => {
            command(line, time).output_within(KEEP).await
        }
        result => result,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let seconds = match std::env::args_os().nth(1) {
        Some(word) => word.to_str().ok_or("SECONDS is no number")?.parse()?,
        None => 10,
    };
    for line in std::io::stdin().lines() {
        let line = line?;
        println!("$ {line}");
        match run(&line, Duration::from_secs(seconds)).await {
            Ok(output) => report(&output),
            Err(error) => println!("[{error}]"),
        }
    }
    Ok(())
}

fn report(output: &Output) {
    for (name, kept) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if kept.total() > 0 {
            println!(
                "{name}, {} bytes, {} left out:\n{}",
                kept.total(),
                kept.omitted(),
                kept.text()
            );
        }
    }
    let why = if output.exit.timed_out { ", out of time" } else { "" };
    println!("[{}{why}; ended with it: {}]", output.exit.status, output.tree.killed);
    if let Some(usage) = &output.usage {
        println!("[{usage}]");
    }
}
