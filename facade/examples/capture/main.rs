//! Captures pages as durable jobs on real browsers, while browsers and the worker itself are killed, and
//! proves by its sums that nothing was lost and nothing was left behind.
//!
//! ```text
//!   demo ─ supervisor ─┬─ pages (a server on the loopback)
//!    │                 └─ worker ── kill -9, started again ──┐
//!    │ enqueues, strikes, counts                             ▼
//!    └────────► queue (SQLite, PostgreSQL) ◄── worker ─ supervisor ─┬─ jobs
//!                                                                   ├─ browsers ── kill -9
//!                                                                   └─ cleanup
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod browse;
mod chaos;
mod child;
mod demo;
mod digest;
mod events;
mod html;
mod hub;
mod options;
mod pages;
mod plan;
mod plot;
mod progress;
mod server;
mod settle;
mod store;
mod summary;
mod terminal;
mod worker;

use options::{Options, Role};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("capture: {error}\n\n{}", options::USAGE);
            return ExitCode::from(64);
        }
    };
    let result = match options.role {
        Role::Help => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Role::Digest => digest::child(options.seed).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Role::Worker => with_runtime(worker::run(&options)).map(|report| {
            let code = ExitCode::from(&report);
            let report = Box::new(report);
            events::Event::Report { report }.tell();
            code
        }),
        Role::Demo => with_runtime(demo::run(&options)),
    };
    result.unwrap_or_else(|error| {
        let mut line = format!("capture: {error}");
        let mut source = error.source();
        while let Some(error) = source {
            line.push_str(&format!(": {error}"));
            source = error.source();
        }
        eprintln!("{line}");
        ExitCode::FAILURE
    })
}

type Result<T> = std::result::Result<T, lastout::supervisor::Failure>;

fn with_runtime<T>(run: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run)
}
