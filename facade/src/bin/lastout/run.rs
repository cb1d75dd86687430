//! `lastout run`: runs a command; whatever ends it, nothing of it is left.
//!
//! The command gets the three streams of `lastout`. A supervisor above it ends its tree even if `lastout` is
//! killed with SIGKILL.

use crate::answer::{Failed, chain, clean, print, tell};
use crate::words::Words;
use crate::{commands, help, measure, signals};
use lastout::proc_tree::{
    Child, Containment, KillError, Limits, Report, Signal, SpawnError, Survivor, Tree, Usage,
    snapshot,
};
use rustix::io::Errno;
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGQUIT};
use std::error::Error;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const LEFT_BEHIND: u8 = 120;
const TIMED_OUT: u8 = 124;
const FAILED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
const KILLED: u8 = 137;

/// How long the tree may take to end when it is asked to, unless it is told.
const GRACE: Duration = Duration::from_secs(2);
/// How long a kill may take before what is left is named.
const KILL_WITHIN: Duration = Duration::from_secs(10);

struct Options {
    program: Vec<OsString>,
    timeout: Option<Duration>,
    grace: Duration,
    limits: Limits,
    keep_output: Option<PathBuf>,
    usage: bool,
    json: bool,
}

/// The exit status.
pub(crate) fn main(words: Vec<OsString>) -> u8 {
    let options = match parse(words) {
        Ok(Some(options)) => options,
        Ok(None) => {
            return match print(&help::help(&["run"]).unwrap_or_default(), "") {
                Ok(_) => 0,
                Err(error) => {
                    tell(format_args!("lastout: write the answer: {error}"));
                    FAILED
                }
            };
        }
        Err(failed) => {
            tell(failed);
            return FAILED;
        }
    };
    run(&options).unwrap_or_else(|error| {
        tell(format_args!("lastout: {}", chain(&*error)));
        FAILED
    })
}

/// `None` when the help is asked for.
fn parse(words: Vec<OsString>) -> Result<Option<Options>, Failed> {
    let Some((command, taken)) = commands::find("run", None) else {
        return Err(Failed::usage("there is no command run"));
    };
    let words = Words::parse(command, words.into_iter().skip(taken), true)?;
    if words.asks_for_help {
        return Ok(None);
    }
    let mut limits = Limits::new();
    if let Some(memory) = words.option("memory")? {
        let refused = |why| Failed::usage(format!("--memory: {why}"));
        limits = limits.memory(measure::size(memory).map_err(refused)?);
    }
    if let Some(processes) = words.number("processes")? {
        limits = limits.tasks(processes);
    }
    if words.values.is_empty() {
        return Err(Failed::usage("run: which program?"));
    }
    Ok(Some(Options {
        timeout: words.time("timeout")?,
        grace: words.time("grace")?.unwrap_or(GRACE),
        limits,
        keep_output: words.raw("keep-output").map(PathBuf::from),
        usage: words.has("usage"),
        json: words.json(),
        program: words.values,
    }))
}

/// Why the run is over.
enum News {
    Ended(io::Result<ExitStatus>),
    Signal(i32),
    /// The tree is empty, or the time for that is over.
    Grace,
}

fn run(options: &Options) -> Result<u8, Box<dyn Error>> {
    let mut command = Command::new(&options.program[0]);
    command.args(&options.program[1..]);
    if let Some(path) = &options.keep_output {
        let file = new_file(path)?;
        command.stdout(file.try_clone()?).stderr(file);
    }
    let mut containment = Containment::strongest().die_with_parent().limits(options.limits);
    if options.usage || options.json {
        containment = containment.measured();
    }
    let on_terminal = io::stdin().is_terminal();
    if on_terminal {
        // A group of its own could not read from the terminal.
        containment = containment.keep_group();
    }
    let begin = Instant::now();
    let (sender, news) = channel();
    let signals = sender.clone();
    signals::forward(move |number| signals.send(News::Signal(number)).is_ok())
        .map_err(|error| format!("listen to signals: {error}"))?;
    let (tree, child) = match Tree::spawn(&mut command, containment) {
        Ok(spawned) => spawned,
        Err(error) => return Ok(not_started(&error)),
    };
    watch(child, sender.clone())?;
    let first = next(&news, begin, options.timeout);
    let is_well = matches!(&first, Some(News::Ended(Ok(status))) if status.success());
    // Printed after the end: a reader of stderr that does not read holds up no kill.
    let rest = if is_well { String::new() } else { rest(&tree) };
    let asked = match first {
        // The terminal has asked the whole group.
        Some(News::Signal(SIGINT | SIGQUIT)) if on_terminal => None,
        Some(News::Signal(number)) => Signal::from_raw(number),
        _ => Some(Signal::TERM),
    };
    let ended = end(&tree, asked, options.grace, &news, sender);
    let (code, elapsed) = (code(&first, &ended), begin.elapsed());
    rest.lines().for_each(|line| tell(format_args!("lastout: was still there: {}", clean(line))));
    report(options, elapsed, &first, &ended, code);
    if let Some(News::Ended(Err(error))) = first {
        return Err(error.into());
    }
    Ok(code)
}

fn new_file(path: &PathBuf) -> Result<File, String> {
    let file = OpenOptions::new().append(true).create_new(true).open(path);
    file.map_err(|error| format!("keep the output in {}: {error}", path.display()))
}

/// The end of the root, or a signal; `None` when the time is over.
fn next(news: &Receiver<News>, begin: Instant, timeout: Option<Duration>) -> Option<News> {
    match timeout {
        None => news.recv().ok(),
        Some(timeout) => news.recv_timeout(timeout.saturating_sub(begin.elapsed())).ok(),
    }
}

/// Asks the tree to end, and kills it after the grace; one more signal kills it at once.
fn end(
    tree: &Tree,
    asked: Option<Signal>,
    grace: Duration,
    news: &Receiver<News>,
    sender: Sender<News>,
) -> Result<Report, KillError> {
    if let Some(signal) = asked {
        // Who cannot be asked is killed.
        let _ = tree.signal(signal);
    }
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = tree.wait_empty_blocking(grace);
            drop(sender.send(News::Grace));
        });
        while let Ok(News::Ended(_)) = news.recv() {}
        tree.kill_blocking(KILL_WITHIN)
    })
}

#[expect(clippy::disallowed_methods, reason = "it lives as long as the root, which is ended")]
fn watch(mut child: Child, news: Sender<News>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("root".into());
    // When nobody listens any more, nobody wants to know.
    thread.spawn(move || drop(news.send(News::Ended(child.wait())))).map(drop)
}

/// The status of a shell for a command that did not start.
fn not_started(error: &SpawnError) -> u8 {
    tell(format_args!("lastout: {}", chain(error)));
    match error {
        SpawnError::Command { source, .. } if source.kind() == ErrorKind::NotFound => NOT_FOUND,
        SpawnError::Command { source, .. } if !is_scarce(source) => NOT_EXECUTABLE,
        _ => FAILED,
    }
}

/// Whether the system had no room for a process: that is no fault of the program.
fn is_scarce(error: &io::Error) -> bool {
    let scarce = [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM];
    scarce.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// The tree as it stands before it is ended.
fn rest(tree: &Tree) -> String {
    let rest = tree.root().and_then(|root| snapshot(root.pid()).ok());
    rest.map_or_else(String::new, |rest| rest.to_string())
}

fn code(first: &Option<News>, ended: &Result<Report, KillError>) -> u8 {
    match (ended, first) {
        (Err(_), _) => LEFT_BEHIND,
        (Ok(_), Some(News::Ended(Ok(status)))) => {
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            u8::try_from(code).unwrap_or(FAILED)
        }
        (Ok(_), Some(News::Ended(Err(_)))) => FAILED,
        (Ok(_), Some(News::Signal(number))) => signals::status(*number),
        (Ok(report), None | Some(News::Grace)) if report.forced => KILLED,
        (Ok(_), None | Some(News::Grace)) => TIMED_OUT,
    }
}

/// Says what was left behind, and what was asked for.
fn report(
    options: &Options,
    elapsed: Duration,
    first: &Option<News>,
    ended: &Result<Report, KillError>,
    code: u8,
) {
    let report = match ended {
        Ok(report) => Some(report),
        Err(error) => {
            tell(format_args!("lastout: {}", chain(error)));
            error.report()
        }
    };
    let left = report.map_or(&[][..], Report::left_behind);
    left.iter().for_each(|it| tell(format_args!("lastout: left behind: {}", clean(&named(it)))));
    if options.json {
        tell(value(elapsed, first, report, left, code));
    } else if options.usage {
        let elapsed = format!("{:.2} s", elapsed.as_secs_f64());
        match report {
            Some(report) => {
                let Report { usage, guarantee, killed, .. } = report;
                tell(format_args!(
                    "lastout: {elapsed}, {killed} killed, {usage}; held by {guarantee}"
                ));
            }
            None => tell(format_args!("lastout: {elapsed}, nothing more is known")),
        }
    }
}

fn named(survivor: &Survivor) -> String {
    format!("process {} ({}): {}", survivor.id.pid(), survivor.name, survivor.reason)
}

fn value(
    elapsed: Duration,
    first: &Option<News>,
    report: Option<&Report>,
    left: &[Survivor],
    code: u8,
) -> Value {
    let ended_by = match first {
        Some(News::Ended(_)) => "itself",
        Some(News::Signal(_)) => "signal",
        None | Some(News::Grace) => "timeout",
    };
    json!({
        "code": code,
        "ended_by": ended_by,
        "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        "killed": report.map(|report| report.killed),
        "forced": report.map(|report| report.forced),
        "left_behind": left.iter().map(named).collect::<Vec<_>>(),
        "guarantee": report.map(|report| report.guarantee.to_string()),
        "usage": report.map(|report| used(&report.usage)),
    })
}

/// What nothing counted is null.
fn used(usage: &Usage) -> Value {
    json!({
        "user_s": usage.user.map(|it| it.value.as_secs_f64()),
        "system_s": usage.system.map(|it| it.value.as_secs_f64()),
        "peak_memory": usage.peak_memory.map(|it| it.value),
        "read": usage.read.map(|it| it.value),
        "written": usage.written.map(|it| it.value),
        "peak_tasks": usage.peak_tasks.map(|it| it.value),
    })
}
