//! [`Tree`]: a root and everybody who descends from it, owned; and the verbs that end it.

use super::containment::Containment;
use super::inner::{Inner, Outcome};
use super::later::Later;
use super::spawn::Spawn;
use crate::deadline::Deadline;
use crate::end::{End, RootEnd};
use crate::error::{AdoptError, KillError, SpawnError, WaitError};
use crate::guarantee::Guarantee;
use crate::id::{Pid, ProcId};
use crate::limits::LimitGuarantee;
use crate::policy::Policy;
use crate::report::Report;
use crate::signal::Signal;
use crate::usage::Usage;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the kill in a drop may take, unless it is said.
const DROP: Duration = Duration::from_millis(250);

/// Trees that were let live, and whose job did not take that: it keeps them while its handle is open.
static LET_LIVE: Mutex<Vec<Arc<Inner>>> = Mutex::new(Vec::new());

/// A process and all of its descendants, owned: dropping it ends them.
///
/// The drop kills synchronously, within 250 ms unless [`drop_within`](Self::drop_within) says
/// otherwise, needs no runtime and works in an unwind. Call
/// [`kill`](Self::kill), [`shutdown`](Self::shutdown) or [`terminate`](Self::terminate) to have more
/// time and to learn what was left, or [`disarm`](Self::disarm) to let the tree live on.
///
/// All methods take `&self`: several threads may kill and wait at once.
#[derive(Debug)]
#[must_use = "dropping a tree kills it"]
pub struct Tree {
    inner: Arc<Inner>,
    armed: AtomicBool,
    drop_budget: Duration,
}

impl Tree {
    /// Starts `program` as the root of a tree that is held together by `containment`.
    ///
    /// The root is created suspended, made a member of a job object, and let run then: nothing that it starts is
    /// born outside.
    ///
    /// # Errors
    ///
    /// When the command cannot be started, when a limit cannot be set, and when the containment demands a level
    /// that is not available. Then nothing runs.
    pub fn spawn<P: Spawn>(
        program: &mut P,
        containment: Containment,
    ) -> Result<(Self, P::Child), SpawnError> {
        program.start(containment)
    }

    /// Takes over the process with this pid and its descendants, whoever started them.
    ///
    /// They are made members of a job, and so is whatever they start from then on. A descendant whose parent
    /// has ended already is not found: the level is [`Level::Walk`](crate::Level::Walk).
    ///
    /// # Errors
    ///
    /// When there is no such process, when it must not be killed (the caller, its ancestors, the system), and when
    /// the system does not let one of them be held. In that case no process is ended. Those that were
    /// found before the failure stay members of a job that does nothing.
    pub fn adopt(pid: Pid) -> Result<Self, AdoptError> {
        super::adopt::adopt(pid)
    }

    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), armed: AtomicBool::new(true), drop_budget: DROP }
    }

    /// The root.
    pub fn root(&self) -> Option<ProcId> {
        Some(self.inner.root.id)
    }

    /// What holds the tree, and what that cannot see.
    pub fn guarantee(&self) -> &Guarantee {
        &self.inner.guarantee
    }

    /// The limits of the tree, each with what enforces it.
    pub fn limits(&self) -> &[LimitGuarantee] {
        &self.inner.limits
    }

    /// The members that run now, in no particular order. A member that the caller may not inspect
    /// has the start time 0.
    ///
    /// # Errors
    ///
    /// When the job cannot be asked, or one member cannot be looked at.
    pub fn members(&self) -> io::Result<Vec<ProcId>> {
        self.inner.members()
    }

    /// What the tree has used until now, members that ended included.
    ///
    /// # Errors
    ///
    /// Never: a number that the system does not tell is missing.
    pub fn usage(&self) -> io::Result<Usage> {
        Ok(self.inner.job.usage())
    }

    /// Bounds the kill in the drop; 250 ms otherwise. The system goes on with what is left then.
    pub fn drop_within(mut self, budget: Duration) -> Self {
        self.drop_budget = budget;
        self
    }

    /// Lets the tree live on: neither a later drop nor the end of the caller ends it. If the system refuses to change the
    /// job, the tree still ends with the caller.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
        if self.inner.job.let_live().is_err() {
            let mut trees = LET_LIVE.lock().unwrap_or_else(PoisonError::into_inner);
            trees.push(Arc::clone(&self.inner));
        }
    }

    /// Kills every member, and completes when none is left. It runs on any executor, and has a thread that waits.
    ///
    /// # Errors
    ///
    /// When a member is left at the deadline: [`KillError::Survivors`]. When the time is over before the job was
    /// seen empty: [`KillError::Unconfirmed`]. When the system refuses a thread: [`KillError::Io`]; the members are
    /// terminated even then. It may be called again.
    ///
    /// # Cancel safety
    ///
    /// A future that was polled and is dropped may have killed the members. The tree is still armed.
    pub async fn kill(&self, deadline: impl Into<Deadline>) -> Result<Report, KillError> {
        let (begin, until) = (Instant::now(), deadline.into().instant());
        let outcome = self.end(true, until).await.map_err(KillError::Io)?;
        self.inner.report(outcome, begin)
    }

    /// [`kill`](Self::kill), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    pub fn kill_blocking(&self, deadline: impl Into<Deadline>) -> Result<Report, KillError> {
        let (begin, until) = (Instant::now(), deadline.into().instant());
        let outcome = self.inner.end(true, until, None).map_err(KillError::Io)?;
        self.inner.report(outcome, begin)
    }

    /// Asks the tree to end, waits for it to be empty until the deadline, and then kills
    /// what is left, which takes 5 s at most. It runs on any executor.
    ///
    /// [`terminate`](Self::terminate) is the same with other steps.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    ///
    /// # Cancel safety
    ///
    /// A request that was made stays made. The tree is still armed.
    pub async fn shutdown(&self, deadline: impl Into<Deadline>) -> Result<Report, KillError> {
        self.terminate(&polite(deadline.into())).await
    }

    /// [`shutdown`](Self::shutdown), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    pub fn shutdown_blocking(&self, deadline: impl Into<Deadline>) -> Result<Report, KillError> {
        self.terminate_blocking(&polite(deadline.into()))
    }

    /// Asks the tree to end as the policy says, and kills what is left: at once after a request that could
    /// not be made. It runs on any executor.
    ///
    /// Every request is the console event `CTRL_BREAK` to the process group of the root; see [`Signal`].
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    ///
    /// # Cancel safety
    ///
    /// Requests that were made stay made. The tree is still armed.
    pub async fn terminate(&self, policy: &Policy) -> Result<Report, KillError> {
        let begin = Instant::now();
        for request in &policy.steps {
            if self.inner.ask().is_ok() && self.wait_empty(request.grace).await.is_ok() {
                return Ok(self.inner.ended_by_itself(begin));
            }
        }
        let mut report = self.kill(policy.kill).await?;
        report.elapsed = begin.elapsed();
        Ok(report)
    }

    /// [`terminate`](Self::terminate), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill).
    pub fn terminate_blocking(&self, policy: &Policy) -> Result<Report, KillError> {
        let begin = Instant::now();
        for request in &policy.steps {
            if self.inner.ask().is_ok() && self.wait_empty_blocking(request.grace).is_ok() {
                return Ok(self.inner.ended_by_itself(begin));
            }
        }
        let mut report = self.kill_blocking(policy.kill)?;
        report.elapsed = begin.elapsed();
        Ok(report)
    }

    /// Completes when no member is left; an end of the root alone is not enough. It runs on any executor.
    ///
    /// # Errors
    ///
    /// When a member is alive at the deadline.
    ///
    /// # Cancel safety
    ///
    /// It only looks: nothing is lost.
    pub async fn wait_empty(&self, deadline: impl Into<Deadline>) -> Result<(), WaitError> {
        let until = deadline.into().instant();
        self.inner.waited(&self.end(false, until).await.map_err(WaitError::Io)?)
    }

    /// [`wait_empty`](Self::wait_empty), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`wait_empty`](Self::wait_empty).
    pub fn wait_empty_blocking(&self, deadline: impl Into<Deadline>) -> Result<(), WaitError> {
        let until = deadline.into().instant();
        self.inner.waited(&self.inner.end(false, until, None).map_err(WaitError::Io)?)
    }

    /// Waits until no member is left, and tells how the root ended. It runs on any executor.
    ///
    /// # Errors
    ///
    /// When a member is alive at the deadline.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing: it only looks.
    pub async fn wait(&self, deadline: impl Into<Deadline>) -> Result<End, WaitError> {
        self.wait_empty(deadline).await?;
        Ok(self.inner.last())
    }

    /// [`wait`](Self::wait), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_blocking(&self, deadline: impl Into<Deadline>) -> Result<End, WaitError> {
        self.wait_empty_blocking(deadline)?;
        Ok(self.inner.last())
    }

    /// How and why the root ended; `None` while it runs, and as for [`End::root`].
    pub fn root_end(&self) -> Option<RootEnd> {
        self.inner.root_end()
    }

    /// [`Inner::end`] on a thread.
    async fn end(&self, kills: bool, until: Instant) -> io::Result<Outcome> {
        let inner = Arc::clone(&self.inner);
        match Later::start(move |cancel| inner.end(kills, until, Some(cancel))) {
            Ok(later) => later.await,
            Err(error) => {
                if kills {
                    let _ = self.inner.end(true, Instant::now(), None);
                }
                Err(error)
            }
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.armed.load(Ordering::Relaxed) {
            // What is left after the budget ends with the handle.
            let _ = self.inner.job.let_die();
            // A drop has no caller to tell: `kill` tells.
            let _ = self.inner.end(true, Deadline::after(self.drop_budget).instant(), None);
        }
    }
}

/// The request of a shutdown.
fn polite(deadline: Deadline) -> Policy {
    let grace = deadline.instant().saturating_duration_since(Instant::now());
    Policy::new().ask_all(Signal::TERM, grace)
}
