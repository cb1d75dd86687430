//! The `lastout` command: runs a command of which nothing survives, and looks into what runs.
//!
//! It holds no mechanism of its own: it shows and calls the crates. The table in `commands.rs` says what there is.

#![forbid(unsafe_code)]

mod answer;
mod browsers;
mod commands;
mod console;
mod doctor;
mod help;
mod jobs;
mod manual;
mod measure;
mod orders;
mod processes;
mod queues;
mod run;
mod shells;
mod signals;
mod store;
mod words;

use answer::{Answer, Failed};
use std::ffi::OsString;
use std::process::ExitCode;
use words::Words;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.first().is_some_and(|word| word == "run") {
        return ExitCode::from(run::main(words));
    }
    answer::give(answer_to(words))
}

fn answer_to(words: Vec<OsString>) -> Result<Answer, Failed> {
    let text = |at: usize| words.get(at).and_then(|word| word.to_str());
    if words.is_empty() {
        return Err(Failed::usage("no command is given"));
    }
    let first = match text(0).ok_or_else(|| Failed::usage("the command is not UTF-8"))? {
        "--help" | "-h" => "help",
        "--version" | "-V" => "version",
        first => first,
    };
    let Some((command, taken)) = commands::find(first, text(1)) else {
        if words.iter().any(|word| word == "--help" || word == "-h") {
            return help::main(&[first]);
        }
        let second = help::help(&[first]).and(text(1)).unwrap_or_default();
        let name = format!("{first} {second}");
        return Err(Failed::usage(format!("there is no command {:?}", name.trim_end())));
    };
    let words = Words::parse(command, words.into_iter().skip(taken), false)?;
    if words.asks_for_help {
        return help::main(&[command.name]);
    }
    if command.arguments.is_empty() && !words.values.is_empty() {
        return Err(Failed::usage(format!("{} takes no words", command.name)));
    }
    match command.name {
        "ps" => processes::main(&words),
        "queues" => queues::list(&words),
        "workers" => queues::workers(&words),
        "cron" => queues::cron(&words),
        "queues rates" => queues::rates(&words),
        "console" => console::main(&words),
        "completions" => shells::main(&words),
        "man" => Answer::say(manual::page()),
        "help" => help::main(&words.list()?),
        "version" => Answer::say(concat!("lastout ", env!("CARGO_PKG_VERSION"))),
        name => match name.split_once(' ') {
            Some(("browsers", verb)) => browsers::main(verb, &words),
            Some(("jobs" | "queues", verb @ ("pause" | "resume" | "limit" | "rate"))) => {
                queues::change(verb, &words)
            }
            Some(("cron", verb)) => queues::change_cron(verb, &words),
            Some(("jobs", verb)) => jobs::main(verb, &words),
            _ => browsers::main("list", &words),
        },
    }
}
