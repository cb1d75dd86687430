//! Runs a command so that nothing of it is left when it ends, or ends the trees of running processes.
//!
//! ```text
//! cargo run -p lastout-proc-tree --example treekill -- --timeout 10m --memory 2G --usage -- make -j8
//! cargo run -p lastout-proc-tree --example treekill -- 4711
//! ```
//!
//! | exit status | means |
//! |---|---|
//! | that of the command | it ended; 128 and the signal when a signal ended it |
//! | 124 | the time was over, and the tree ended when it was asked to |
//! | 125 | `treekill` itself failed, or a member is left |
//! | 126, 127 | the command cannot be executed, is not found |
//! | 130, 143 | `treekill` was interrupted, was asked to end |
//! | 137 | the time was over, and the tree had to be killed |
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod options;
mod usage;

use lastout_proc_tree::{
    Child, Containment, Pid, Policy, Program, Report, SpawnError, Tree, snapshot,
};
use options::{Job, Options};
use std::error::Error;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const TIMED_OUT: u8 = 124;
const FAILED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
const KILLED: u8 = 137;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(sentence) => {
            eprintln!("treekill: {sentence}\n{}", options::USAGE);
            return ExitCode::from(FAILED);
        }
    };
    let outcome = match &options.job {
        Job::Help => {
            println!("{}", options::USAGE);
            Ok(0)
        }
        Job::End(pids) => end(pids, &options),
        Job::Run(words) => run(words, &options),
    };
    ExitCode::from(outcome.unwrap_or_else(|error| {
        say(&*error);
        FAILED
    }))
}

/// An error with its causes, on one line.
fn say(error: &dyn Error) {
    let mut line = format!("treekill: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    eprintln!("{line}");
}

/// Ends the trees of running processes. One that cannot be ended does not spare the others.
fn end(pids: &[Pid], options: &Options) -> Result<u8, Box<dyn Error>> {
    let mut code = 0;
    for pid in pids {
        let ended = Tree::adopt(*pid).map_err(Box::<dyn Error>::from).and_then(|tree| {
            eprintln!("{}\ntreekill: held by {}", snapshot(*pid)?, tree.guarantee());
            Ok(tree.terminate_blocking(&policy(options))?)
        });
        match ended {
            Ok(report) => print_report(&report),
            Err(error) => {
                say(&*error);
                code = FAILED;
            }
        }
    }
    Ok(code)
}

fn policy(options: &Options) -> Policy {
    Policy::new().ask_all(options.signal, options.grace)
}

/// Why the run is over.
enum News {
    Ended(std::io::Result<ExitStatus>),
    Signal(i32),
}

/// Runs a command; ends what it leaves behind, whether it ends itself, or its time does, or a signal comes.
fn run(words: &[OsString], options: &Options) -> Result<u8, Box<dyn Error>> {
    let mut program = Program::new(&words[0]);
    program.args(&words[1..]);
    let mut containment = Containment::strongest().die_with_parent().limits(options.limits);
    if options.usage {
        containment = containment.measured();
    }
    if options.foreground {
        containment = containment.keep_group();
    }
    let begin = Instant::now();
    let (sender, news) = channel();
    signals::forward(sender.clone())?;
    let (tree, child) = match Tree::spawn(&mut program, containment) {
        Ok(spawned) => spawned,
        Err(error) => return Ok(not_started(&error)),
    };
    if options.usage {
        eprintln!("treekill: held by {}", tree.guarantee());
        tree.limits().iter().for_each(|limit| eprintln!("treekill: {limit}"));
    }
    watch(child, sender)?;
    let first = next(&news, options.timeout.map(|timeout| (begin, timeout)));
    let report = match tree.terminate_blocking(&policy(options)) {
        Ok(report) => report,
        Err(error) => {
            say(&error);
            return Ok(FAILED);
        }
    };
    let root = tree.root_end();
    if options.usage {
        usage::print(words, begin.elapsed(), &report.usage, root.as_ref());
    }
    Ok(match first {
        Some(News::Ended(status)) => code_of(status?),
        Some(News::Signal(number)) => u8::try_from(128 + number).unwrap_or(FAILED),
        None if report.forced => KILLED,
        None => TIMED_OUT,
    })
}

/// The end of the root, or a signal; `None` when the time is over.
fn next(news: &Receiver<News>, timeout: Option<(Instant, Duration)>) -> Option<News> {
    let Some((begin, timeout)) = timeout else {
        return news.recv().ok();
    };
    news.recv_timeout(timeout.saturating_sub(begin.elapsed())).ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "it lives as long as the root, which this program ends"
)]
fn watch(mut child: Child, news: Sender<News>) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("root".into());
    // When nobody listens any more, nobody wants to know.
    thread.spawn(move || drop(news.send(News::Ended(child.wait())))).map(drop)
}

/// The status of a shell or of `timeout` for a command that did not start.
fn not_started(error: &SpawnError) -> u8 {
    say(error);
    match error {
        SpawnError::Command { source, .. } if source.kind() == ErrorKind::NotFound => NOT_FOUND,
        SpawnError::Command { .. } => NOT_EXECUTABLE,
        _ => FAILED,
    }
}

fn print_report(report: &Report) {
    eprintln!("treekill: {report}");
}

/// The status of the command, as a shell would say it.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(FAILED)
}

/// Ctrl-C, and requests to end, without a handler of our own making: a thread waits for them.
mod signals {
    use super::{News, Sender};
    use tokio::signal::unix::{SignalKind, signal};

    #[expect(clippy::disallowed_methods, reason = "it lives as long as the program")]
    pub(crate) fn forward(news: Sender<News>) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupts, mut terminations) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let wait = move || {
            let number = runtime.block_on(async {
                tokio::select! {
                    _ = interrupts.recv() => SignalKind::interrupt().as_raw_value(),
                    _ = terminations.recv() => SignalKind::terminate().as_raw_value(),
                }
            });
            // When nobody listens any more, the program ends anyway.
            let _ = news.send(News::Signal(number));
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
    }
}
