//! The `lastout` command: runs a command of which nothing survives, and looks into what runs.
//!
//! It holds no mechanism of its own: it shows and calls the crates.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a program for the terminal")]

mod answer;
mod jobs;
mod measure;
mod processes;
mod queues;
mod run;
mod store;

use answer::{Answer, Failed};
use std::ffi::OsString;
use std::process::ExitCode;

const HELP: &str = "\
lastout COMMAND

  run [OPTIONS] [--] COMMAND [ARGUMENT…]   runs a command of which nothing survives
  ps PID… [--json]                         shows processes with everything that descends from them
  jobs …, queues …, workers, cron …        look into a job store, and give orders
  help                                     this text
  version                                  the version

on a store: --store FILE, or a PostgreSQL address, or LASTOUT_STORE; --json for JSON
  jobs enqueue KIND [JSON] [--queue Q] [--priority N] [--delay TIME] [--timeout TIME]
                           [--attempts N] [--unique KEY]
  jobs list [--queue Q] [--kind K] [--state S] [--error TEXT] [--limit N] [--after ID]
  jobs show ID | stats
  jobs cancel|retry|run-now|delete ID… | abandon ID… --reason TEXT
  queues [list] | pause Q [--by NAME] | resume Q | limit Q N|none
  workers
  cron [list] | drop NAME

run
  --timeout TIME      ends the tree when this time is over
  --grace TIME        how long it may take to end when it is asked to (2s)
  --memory SIZE       limits the memory of the whole tree
  --processes N       limits its processes and threads
  --keep-output FILE  writes stdout and stderr to this new file
  --usage             prints what the whole tree used to stderr
  --json              prints the report as JSON to stderr

A TIME is a number with ms, s, m, h or d; a SIZE one with K, M or G (of 1024).

Exit status of run
  that of the command, or 128 and the signal that ended it
  120   something was left behind; stderr names it
  124   the time was over         125   lastout itself failed
  126   COMMAND cannot be executed 127   COMMAND is not found
  128+n lastout got the signal n  137   the time was over, and the tree had to be killed
Exit status of the others
  0     done                      1     failed
  2     not understood            3     refused, or nothing to do
  4     there is no such job";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let command = words.next().unwrap_or_default();
    let rest: Vec<OsString> = words.collect();
    let answer = match command.to_str().unwrap_or_default() {
        "run" => return ExitCode::from(run::main(rest)),
        "ps" => processes::main(rest),
        "jobs" => jobs::main(rest),
        "queues" => queues::queues(rest),
        "workers" => queues::workers(rest),
        "cron" => queues::cron(rest),
        "help" | "--help" | "-h" => Answer::say(HELP),
        "version" | "--version" | "-V" => {
            Answer::say(concat!("lastout ", env!("CARGO_PKG_VERSION")))
        }
        "" => Err(Failed::usage("no command is given")),
        _ => Err(Failed::usage(format!("there is no command {command:?}"))),
    };
    answer::give(answer)
}
