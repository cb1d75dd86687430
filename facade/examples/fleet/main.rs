//! Several worker processes on one PostgreSQL: some are killed, all are replaced one by one under load,
//! and every job still ends exactly once.
//!
//! ```text
//! LASTOUT_POSTGRES=… cargo run --release --example fleet --all-features -- --jobs 2000 --workers 4
//! ```
//!
//! The worker processes are services of one supervisor, which starts those again that end: after a
//! `kill -9`, and after the SIGTERM by which they are replaced.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod coordinator;
mod worker;

use lastout::supervisor::Failure;
use lexopt::prelude::*;
use std::process::ExitCode;

/// What the caller wants.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) jobs: u32,
    pub(crate) workers: u32,
    pub(crate) kills: u32,
    /// Of a worker: the queue, which is the run.
    pub(crate) queue: Option<String>,
}

fn main() -> Result<ExitCode, Failure> {
    let options = parse(lexopt::Parser::from_env())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match options.queue.clone() {
            Some(queue) => worker::run(&queue).await,
            None => coordinator::run(&options).await,
        }
    })
}

fn parse(mut parser: lexopt::Parser) -> Result<Options, lexopt::Error> {
    let mut options = Options { jobs: 2000, workers: 4, kills: 3, queue: None };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("jobs") => options.jobs = parser.value()?.parse()?,
            Long("workers") => options.workers = parser.value()?.parse()?,
            Long("kills") => options.kills = parser.value()?.parse()?,
            Long("queue") => options.queue = Some(parser.value()?.string()?),
            _ => return Err(arg.unexpected()),
        }
    }
    if options.jobs == 0 || options.workers == 0 {
        return Err("--jobs and --workers must be at least 1".into());
    }
    Ok(options)
}

/// The address of the database.
pub(crate) fn database() -> Result<String, Failure> {
    std::env::var("LASTOUT_POSTGRES")
        .map_err(|_| "set LASTOUT_POSTGRES to the address of a PostgreSQL database".into())
}
