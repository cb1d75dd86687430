//! Follows running programs and talks to the person: the only module here that prints.
//!
//! On a terminal a running program shows a spinner with its last line; elsewhere plain lines, and a
//! sign of life every [`HEARTBEAT`]. Output is shown as it comes, or kept and shown only on failure.

use crate::command::Cmd;
use crate::interrupts::{Ending, Interrupts};
use crate::tally::Tally;
use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How often a long program is reported alive where there is no spinner.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How long to read on after the program ended while somebody else still holds its pipes.
const LINGER: Duration = Duration::from_secs(2);
/// Lines that wait to be shown before the program has to wait for the terminal.
const LINES: usize = 1024;
/// How often the limit and the exit are looked at while no line arrives.
const TICK: Duration = Duration::from_millis(100);

/// What to do with the lines of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Print them as they come.
    Live,
    /// Keep them and print them when the program fails.
    OnFailure,
    /// Keep them: the caller looks at them.
    Never,
}

/// A program that ended.
#[derive(Debug)]
pub struct Done {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Whether it was killed because its time was over.
    pub timed_out: bool,
    /// How long it ran.
    pub elapsed: Duration,
}

/// The terminal, and the tests counted so far.
#[derive(Debug)]
pub struct Console {
    interactive: bool,
    tally: RefCell<Tally>,
    interrupts: Interrupts,
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Console {
    /// Looks at where the output goes: a terminal gets a spinner, unless `CI` or `NO_COLOR` is set.
    pub fn new() -> Self {
        let plain = ["CI", "NO_COLOR"].iter().any(|name| std::env::var_os(name).is_some());
        Self {
            interactive: std::io::stderr().is_terminal() && !plain,
            tally: RefCell::default(),
            interrupts: Interrupts::default(),
        }
    }

    /// One for the whole program: from now on it ends what it runs when it is told to end.
    ///
    /// # Errors
    ///
    /// When the signals cannot be listened to.
    pub fn listening() -> Result<Self> {
        Ok(Self { interrupts: Interrupts::listen()?, ..Self::new() })
    }

    /// The signal that told us to end, if one did.
    pub fn told(&self) -> Option<i32> {
        self.interrupts.told()
    }

    /// Prints a line for the person.
    pub fn say(&self, text: &str) {
        // Whoever reads may be gone: that is no reason to stop, or to panic.
        drop(writeln!(std::io::stdout(), "{text}"));
    }

    /// Prints a line about something that went wrong.
    pub fn complain(&self, text: &str) {
        drop(writeln!(std::io::stderr(), "{text}"));
    }

    /// The tests counted in everything that ran.
    pub fn tally(&self) -> Tally {
        *self.tally.borrow()
    }

    /// Runs `cmd` to its end. A failing program is not an error here: see [`Cmd::run`].
    pub(crate) fn run(&self, cmd: &Cmd) -> Result<Done> {
        if let Some(signal) = self.told() {
            bail!("told to end by signal {signal}: `{cmd}` was not started");
        }
        if cmd.show != Show::Never {
            self.say(&format!("$ {cmd}"));
        }
        let started = Instant::now();
        let mut child = cmd.spawn()?;
        let (sender, lines) = sync_channel(LINES);
        let readers = read_both(&mut child, sender);
        let spinner = self.spinner(cmd);
        let done = self.follow(cmd, &mut child, &lines, started, &spinner);
        spinner.finish_and_clear();
        drop(lines);
        let done = done?;
        // A reader may still hold a pipe that a descendant kept open; it ends with that descendant.
        readers.into_iter().filter(std::thread::JoinHandle::is_finished).for_each(|reader| {
            // A reader only forwards lines; a panic in it would already have ended the channel.
            drop(reader.join());
        });
        if !done.status.success() && cmd.show == Show::OnFailure {
            self.complain(done.stdout.trim_end());
            self.complain(done.stderr.trim_end());
        }
        Ok(done)
    }

    fn follow(
        &self,
        cmd: &Cmd,
        child: &mut Child,
        lines: &Receiver<Line>,
        started: Instant,
        spinner: &ProgressBar,
    ) -> Result<Done> {
        let mut seen = Seen::default();
        let mut ending = Ending::at(cmd.limit.map(|limit| started + limit));
        let (mut next_beat, mut ended) = (started + HEARTBEAT, None);
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    if cmd.show == Show::Live {
                        spinner.suspend(|| self.echo(&line));
                        next_beat = Instant::now() + HEARTBEAT;
                    }
                    spinner.set_message(line.text.chars().take(100).collect::<String>());
                    seen.take(cmd, line);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                // Only a silent pipe of a program that has ended is given up.
                Err(RecvTimeoutError::Timeout)
                    if ended.is_some_and(|at: Instant| at.elapsed() >= LINGER) =>
                {
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if ended.is_none() && child.try_wait().context("wait for a child")?.is_some() {
                ended = Some(now);
            }
            if ended.is_none() {
                ending.look(&self.interrupts, child)?;
            }
            if !self.interactive && now >= next_beat {
                next_beat = now + HEARTBEAT;
                self.say(&format!("… {} s, still running: {cmd}", (now - started).as_secs()));
            }
        }
        let status = child.wait().context("wait for a child")?;
        if cmd.counted.is_some() {
            self.tally.borrow_mut().add(seen.tally.ended(status.success()));
        }
        let (stdout, stderr) = (seen.stdout, seen.stderr);
        let timed_out = ending.timed_out();
        Ok(Done { status, stdout, stderr, timed_out, elapsed: started.elapsed() })
    }

    fn echo(&self, line: &Line) {
        if line.is_error { self.complain(&line.text) } else { self.say(&line.text) }
    }

    fn spinner(&self, cmd: &Cmd) -> ProgressBar {
        if !self.interactive || cmd.show == Show::Never {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {prefix} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(cmd.program_name());
        bar.enable_steady_tick(TICK);
        bar
    }
}

/// What is kept of a running program.
#[derive(Default)]
struct Seen {
    stdout: String,
    stderr: String,
    tally: Tally,
}

impl Seen {
    fn take(&mut self, cmd: &Cmd, line: Line) {
        if let Some(runner) = cmd.counted {
            self.tally.read_line(runner, line.is_error, &line.text);
        }
        // What was shown as it came is not needed again, and may be much.
        if cmd.show != Show::Live {
            let buffer = if line.is_error { &mut self.stderr } else { &mut self.stdout };
            buffer.push_str(&line.text);
            buffer.push('\n');
        }
    }
}

struct Line {
    text: String,
    is_error: bool,
}

#[expect(
    clippy::disallowed_methods,
    reason = "two readers, joined by the caller once their pipe ends"
)]
fn read_both(child: &mut Child, sender: SyncSender<Line>) -> Vec<std::thread::JoinHandle<()>> {
    let mut readers = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let sender = sender.clone();
        readers.push(std::thread::spawn(move || forward(stdout, false, &sender)));
    }
    if let Some(stderr) = child.stderr.take() {
        readers.push(std::thread::spawn(move || forward(stderr, true, &sender)));
    }
    readers
}

fn forward(pipe: impl Read, is_error: bool, sender: &SyncSender<Line>) {
    let mut pipe = BufReader::new(pipe);
    let mut raw = Vec::new();
    while pipe.read_until(b'\n', &mut raw).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&raw).trim_end_matches(['\n', '\r']).to_owned();
        raw.clear();
        if sender.send(Line { text, is_error }).is_err() {
            return;
        }
    }
}
