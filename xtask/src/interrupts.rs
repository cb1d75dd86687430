//! What happens when we are told to end: what we started ends first, then we do.
//!
//! ```text
//! running ── SIGTERM, SIGHUP ──────────────────► asked (SIGTERM) ── GRACE, or told again ──► killed
//!    └─── SIGINT ──► left alone for COURTESY ──────┘
//! ```
//!
//! A terminal sends SIGINT to everybody, so the program has it already, and some take a second one
//! for "at once".

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::cell::{Cell, RefCell};
use std::process::Child;
use std::time::{Duration, Instant};

/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(60);
/// How long a program may take to end by itself after a SIGINT.
const COURTESY: Duration = Duration::from_secs(5);

/// The signals that tell us to end; without [`Interrupts::listen`] they do what they always do.
#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    signals: Option<RefCell<Signals>>,
    first: Cell<Option<i32>>,
}

impl Interrupts {
    /// From now on the signals only end what runs.
    pub(crate) fn listen() -> Result<Self> {
        let signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("listen to signals")?;
        Ok(Self { signals: Some(RefCell::new(signals)), first: Cell::new(None) })
    }

    /// The first signal that told us to end, if one did.
    pub(crate) fn told(&self) -> Option<i32> {
        drop(self.news());
        self.first.get()
    }

    /// The signals since the last look.
    fn news(&self) -> Vec<i32> {
        let Some(signals) = &self.signals else {
            return Vec::new();
        };
        let news: Vec<i32> = signals.borrow_mut().pending().collect();
        if self.first.get().is_none() {
            self.first.set(news.first().copied());
        }
        news
    }
}

/// The end of one program that runs.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Its time limit; from a signal on, the end of its grace.
    kill_at: Option<Instant>,
    ask_at: Option<Instant>,
    is_told: bool,
    is_killed: bool,
}

impl Ending {
    /// Of a program that may run until `limit`.
    pub(crate) fn at(limit: Option<Instant>) -> Self {
        Self { kill_at: limit, ask_at: None, is_told: false, is_killed: false }
    }

    /// Whether its time was over before anybody told us to end.
    pub(crate) fn timed_out(&self) -> bool {
        self.is_killed && !self.is_told
    }

    /// Does what is due. The child was not waited for yet, so its pid is its own.
    pub(crate) fn look(&mut self, interrupts: &Interrupts, child: &mut Child) -> Result<()> {
        let now = Instant::now();
        for signal in interrupts.news() {
            if self.is_told {
                self.kill_at = Some(now);
                continue;
            }
            self.is_told = true;
            self.ask_at = Some(if signal == SIGINT { now + COURTESY } else { now });
            self.kill_at = Some(now + GRACE);
        }
        if self.ask_at.is_some_and(|at| now >= at) {
            self.ask_at = None;
            let pid = Pid::from_child(child);
            kill_process(pid, Signal::TERM).context("ask a child to end")?;
        }
        if !self.is_killed && self.kill_at.is_some_and(|at| now >= at) {
            self.is_killed = true;
            child.kill().context("kill a child whose time was over")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::command::Cmd;
    use crate::console::{Console, Show};
    use std::os::unix::process::ExitStatusExt as _;

    fn run(console: &Console, script: &str) -> anyhow::Result<crate::console::Done> {
        Cmd::new("sh").args(["-c", script]).show(Show::Never).try_run(console)
    }

    #[test]
    fn a_program_is_asked_to_end_when_we_are_and_no_other_starts() {
        let console = Console::listening().unwrap();
        let script = "trap 'exit 7' TERM; kill -TERM $PPID; while :; do sleep 0.1; done";
        assert_eq!(run(&console, script).unwrap().status.code(), Some(7));
        assert_eq!(console.told(), Some(15));
        let refused = run(&console, "exit 0").unwrap_err();
        assert!(refused.to_string().contains("told to end"), "{refused}");
    }

    #[test]
    fn a_program_that_does_not_obey_is_killed_when_we_are_told_again() {
        let console = Console::listening().unwrap();
        let script = "trap '' TERM; while :; do kill -TERM $PPID; sleep 0.1; done";
        let done = run(&console, script).unwrap();
        assert_eq!((done.status.signal(), done.timed_out), (Some(9), false));
    }
}
