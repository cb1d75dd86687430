//! [`Inner`]: a tree without its owner: who is in it, its end, and the wait for that.

use super::ask::ask_group;
use super::child::Root;
use super::held::{Event, Held, NO_SUCH_PROCESS, Waited, identity, wait_any};
use super::job::Job;
use crate::end::{Cause, End, RootEnd};
use crate::error::{KillError, WaitError};
use crate::guarantee::Guarantee;
use crate::id::{Pid, ProcId};
use crate::limits::LimitGuarantee;
use crate::report::{Report, Survivor, SurvivorReason};
use crate::usage::Usage;
use std::io;
use std::os::windows::io::AsHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::ERROR_ACCESS_DENIED;

/// The exit code of a process that a tree has ended.
pub(super) const KILLED: u32 = 137;
/// The exit code of a process that did not handle the console event.
const ENDED_BY_EVENT: u32 = 0xC000_013A;
/// The codes from here on are those of exceptions that a process did not handle.
const EXCEPTIONS: u32 = 0xC000_0000;
/// Above it are small negative exit codes, such as -1.
const LAST_EXCEPTION: u32 = 0xEFFF_FFFF;
/// The pause between two looks at members that no handle tells of.
const LOOK: Duration = Duration::from_millis(5);

/// The job of a tree, its root, and what is told of both.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) job: Job,
    pub(super) root: Arc<Root>,
    pub(super) guarantee: Guarantee,
    pub(super) limits: Vec<LimitGuarantee>,
    /// Whether the tree was spawned, and not adopted.
    pub(super) is_spawned: bool,
    pub(super) leads_group: bool,
    told: Told,
}

/// What the tree has told its root while the root ran. Each is set before it is done.
#[derive(Debug, Default)]
struct Told {
    asked: AtomicBool,
    killed: AtomicBool,
}

/// What a kill, or a wait, has come to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    killed: usize,
    rounds: u32,
    survivors: Vec<Survivor>,
    /// Whether the time was over before the job was seen empty, and nobody of it could be named.
    is_open: bool,
}

impl Inner {
    pub(super) fn new(job: Job, root: Arc<Root>, guarantee: Guarantee) -> Self {
        Self {
            job,
            root,
            guarantee,
            limits: Vec::new(),
            is_spawned: false,
            leads_group: false,
            told: Told::default(),
        }
    }

    /// The members that run. One that the caller may not look at has 0 as its start.
    pub(super) fn members(&self) -> io::Result<Vec<ProcId>> {
        let mut members = Vec::new();
        for pid in self.job.pids()? {
            match self.look(pid) {
                Ok(Some(held)) => members.push(held.id()?),
                Ok(None) => {}
                Err(error) if is_gone(&error) => {}
                Err(error) if is_denied(&error) => members.push(identity(pid, 0)),
                Err(error) => return Err(error),
            }
        }
        Ok(members)
    }

    /// Asks the process group of the root to end.
    ///
    /// # Errors
    ///
    /// When there is no such group, or it does not share the console of the caller.
    pub(super) fn ask(&self) -> io::Result<()> {
        if !self.leads_group {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let before = self.told.asked.load(Ordering::Relaxed);
        self.tell(&self.told.asked)?;
        ask_group(self.root.id.pid())
            .inspect_err(|_| self.told.asked.store(before, Ordering::Relaxed))
    }

    fn tell(&self, what: &AtomicBool) -> io::Result<()> {
        if !self.root.held.has_ended()? {
            what.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Waits until no member runs, after a kill or without one; until the deadline, or until it is cancelled.
    pub(super) fn end(
        &self,
        kills: bool,
        until: Instant,
        cancel: Option<&Event>,
    ) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        loop {
            let pids = self.job.pids()?;
            if pids.is_empty() && self.root.held.has_ended()? {
                return Ok(outcome);
            }
            // Held before the kill, so that the wait for them is for them.
            let held = self.hold(&pids);
            if kills {
                if outcome.rounds == 0 {
                    outcome.killed = pids.len();
                }
                self.tell(&self.told.killed)?;
                self.job.terminate(KILLED)?;
                outcome.rounds = outcome.rounds.saturating_add(1);
            }
            let is_cancelled = !self.wait_for(&held, until, cancel)?;
            if is_cancelled || Instant::now() >= until {
                outcome.survivors = self.survivors()?;
                // Whoever was listed has ended since then, and may have started somebody before.
                outcome.is_open = outcome.survivors.is_empty() && !self.job.pids()?.is_empty();
                return Ok(outcome);
            }
        }
    }

    /// The process that has this number, if it is a member and runs.
    fn look(&self, pid: Pid) -> io::Result<Option<Held>> {
        let held = Held::open(pid)?;
        let runs = self.job.holds(&held)? && !held.has_ended()?;
        Ok(runs.then_some(held))
    }

    /// Those of these members that can be held.
    fn hold(&self, pids: &[Pid]) -> Vec<Held> {
        let held = pids.iter().filter_map(|pid| Held::open(*pid).ok());
        held.filter(|held| self.job.holds(held).unwrap_or(false)).collect()
    }

    /// Waits until these and the root have ended; false when that was cancelled.
    fn wait_for(&self, held: &[Held], until: Instant, cancel: Option<&Event>) -> io::Result<bool> {
        let mut has_waited = false;
        for process in held.iter().chain([&self.root.held]) {
            while !process.has_ended()? {
                if Instant::now() >= until {
                    return Ok(true);
                }
                has_waited = true;
                if process.wait(until, cancel)? == Waited::Cancelled {
                    return Ok(false);
                }
            }
        }
        if has_waited {
            return Ok(true);
        }
        // Each of them has ended, and is listed for a moment yet; or it may not be held.
        let pause = until.min(Instant::now() + LOOK);
        match cancel {
            Some(cancel) => Ok(wait_any(&[cancel.as_handle()], pause)?.is_none()),
            None => {
                std::thread::park_timeout(pause.saturating_duration_since(Instant::now()));
                Ok(true)
            }
        }
    }

    /// Names who runs now.
    fn survivors(&self) -> io::Result<Vec<Survivor>> {
        let mut survivors = Vec::new();
        let mut name = |held: &Held| -> io::Result<()> {
            if !held.has_ended()? {
                let id = held.id().unwrap_or_else(|_| identity(held.pid(), 0));
                let name = held.name();
                survivors.push(Survivor::new(id, name.as_bytes(), '?', SurvivorReason::Deadline));
            }
            Ok(())
        };
        let pids = self.job.pids()?;
        let mut unseen = Vec::new();
        for pid in &pids {
            match self.look(*pid) {
                Ok(held) => held.iter().try_for_each(&mut name)?,
                Err(error) if is_gone(&error) => {}
                Err(error) => unseen.push((*pid, error)),
            }
        }
        if !pids.contains(&self.root.id.pid()) {
            name(&self.root.held)?;
        }
        // Whoever cannot be looked at counts as alive.
        survivors.extend(unseen.into_iter().map(|(pid, error)| {
            let reason = match is_denied(&error) {
                true => SurvivorReason::Permission,
                false => SurvivorReason::Descriptors,
            };
            Survivor::new(identity(pid, 0), b"", '?', reason)
        }));
        Ok(survivors)
    }

    pub(super) fn report(&self, outcome: Outcome, begin: Instant) -> Result<Report, KillError> {
        let mut report = self.ended_by_itself(begin);
        // Those that are left were struck and have not ended.
        report.killed = outcome.killed.saturating_sub(outcome.survivors.len());
        report.forced = outcome.killed > 0 || !outcome.survivors.is_empty();
        report.rounds = outcome.rounds.max(1);
        report.survivors = outcome.survivors;
        match report.is_clean() {
            true if outcome.is_open => Err(KillError::Unconfirmed(report)),
            true => Ok(report),
            false => Err(KillError::Survivors(report)),
        }
    }

    pub(super) fn ended_by_itself(&self, begin: Instant) -> Report {
        let mut report = Report::new(self.guarantee.clone());
        report.elapsed = begin.elapsed();
        // How many there are now is no matter of those that have ended.
        report.usage = Box::new(Usage { tasks: None, ..self.job.usage() });
        report
    }

    pub(super) fn waited(&self, outcome: &Outcome) -> Result<(), WaitError> {
        match outcome.survivors.len() {
            0 if outcome.is_open => Err(WaitError::Unconfirmed),
            0 => Ok(()),
            alive => Err(WaitError::Deadline { alive }),
        }
    }

    pub(super) fn last(&self) -> End {
        End { root: self.root_end(), usage: Usage { tasks: None, ..self.job.usage() } }
    }

    pub(super) fn root_end(&self) -> Option<RootEnd> {
        if !self.is_spawned {
            return None;
        }
        let status = self.root.try_wait().ok()??;
        let code = status.code().unwrap_or_default() as u32;
        let was = |told: &AtomicBool| told.load(Ordering::Relaxed);
        let cause = match code {
            KILLED if was(&self.told.killed) => Cause::Tree,
            ENDED_BY_EVENT if was(&self.told.asked) => Cause::Tree,
            EXCEPTIONS..=LAST_EXCEPTION => Cause::Signal,
            _ => Cause::Exit,
        };
        Some(RootEnd { status, cause })
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(NO_SUCH_PROCESS)
}

fn is_denied(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_ACCESS_DENIED as i32)
}
