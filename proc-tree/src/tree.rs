//! [`Tree`]: a root and everybody who descends from it, owned.

use crate::child::Root;
use crate::command::Spawn;
use crate::contain::Means;
use crate::containment::Containment;
use crate::deadline::Deadline;
use crate::ending::Ending;
use crate::error::{AdoptError, SignalError, SpawnError};
use crate::evidence::Evidence;
use crate::guarantee::{Gap, Guarantee};
use crate::id::{Pid, ProcId};
use crate::identity::Maker;
use crate::inner::{Inner, Stopped};
use crate::limits::LimitGuarantee;
use crate::members::LOOK;
use crate::root_end::SentSignals;
use crate::signal::Signal;
use crate::sys::{Pidfd, Reserve};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the kill in a drop may take, unless it is said.
const DROP: Duration = Duration::from_millis(250);

/// A process and all of its descendants, owned: dropping it ends them.
///
/// The drop kills synchronously, within 250 ms unless [`drop_within`](Self::drop_within) says
/// otherwise, needs no runtime and works in an unwind. Call
/// [`kill`](Self::kill), [`shutdown`](Self::shutdown) or [`terminate`](Self::terminate) to have more
/// time and to learn what was left, or [`disarm`](Self::disarm) to let the tree live on.
///
/// A copy of the calling process that was forked has a copy of the tree, whose drop does nothing while the process
/// lives that has made the tree.
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
    /// ```
    /// use lastout_proc_tree::{Containment, Tree};
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "sleep 600 & sleep 600 & wait"]);
    /// let (tree, mut child) = Tree::spawn(&mut command, Containment::strongest())?;
    /// println!("held by {}", tree.guarantee());
    ///
    /// let report = tree.kill_blocking(Duration::from_secs(5))?;
    /// assert!(report.is_clean());
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the command cannot be started, when a descriptor cannot be handed over, and when the
    /// containment demands a level that is not available. Then nothing runs.
    pub fn spawn<P: Spawn>(
        program: &mut P,
        containment: Containment,
    ) -> Result<(Self, P::Child), SpawnError> {
        program.start(containment)
    }

    /// Takes over the process with this pid and its descendants, whoever started them.
    ///
    /// They are marked, so that what they start later is found even as an orphan. A process can carry the marks of two
    /// adoptions at a time, or of one if it was spawned in a tree; beyond that the guarantee has the gap
    /// [`Unmarked`](crate::Gap::Unmarked). Marking has 2 s. It took up to 4.2 s beside 400 members that kept forking, on a
    /// loaded machine. Members that are not marked by then are in the same gap.
    ///
    /// Orphans that exist already are not seen: [`adopt_with`](Self::adopt_with) takes evidence for those.
    ///
    /// # Errors
    ///
    /// When there is no such process, when it must not be killed (pid 0 and 1, the caller, its ancestors,
    /// kernel threads), when the number is that of a thread, and when the process cannot be held.
    pub fn adopt(pid: Pid) -> Result<Self, AdoptError> {
        crate::adopt::adopt_pid(pid)
    }

    /// Takes over all processes that the evidence names; perhaps none exists.
    ///
    /// # Errors
    ///
    /// As [`adopt`](Self::adopt). A root that does not exist any more is no error: what it left
    /// behind may.
    pub fn adopt_with(evidence: Evidence) -> Result<Self, AdoptError> {
        crate::adopt::adopt(evidence)
    }

    /// Takes over the process that this pidfd holds, and its descendants. Otherwise like
    /// [`adopt`](Self::adopt): the number cannot have come to mean another process meanwhile.
    ///
    /// # Errors
    ///
    /// As [`adopt`](Self::adopt). The descriptor may be of any kind; one that is no pidfd is
    /// [`AdoptError::Io`].
    pub fn adopt_pidfd(pidfd: impl AsFd) -> Result<Self, AdoptError> {
        crate::adopt::adopt_pidfd(pidfd.as_fd())
    }

    /// Sends a signal to one member.
    ///
    /// # Errors
    ///
    /// When that very process has ended, is no member of this tree, or may not be signalled. Then
    /// nobody gets it.
    pub fn signal_member(&self, member: ProcId, signal: Signal) -> Result<(), SignalError> {
        self.inner.signal_member(member, signal)
    }

    pub(crate) fn new(
        root: Option<ProcId>,
        pidfd: Option<Pidfd>,
        evidence: Evidence,
        means: Means,
        guarantee: Guarantee,
    ) -> Self {
        // What cannot be seen cannot be confirmed by what members carry.
        let guarantee = match crate::sys::hides_processes() {
            true => guarantee.with(Gap::Hidden),
            false => guarantee,
        };
        let inner = Inner {
            maker: Maker::here(),
            root,
            pidfd,
            evidence,
            means,
            guarantee,
            process: None,
            measured: false,
            before: Mutex::default(),
            sent: SentSignals::default(),
            stopped: Stopped::default(),
            is_over: AtomicBool::new(false),
            _reserve: Reserve::share().ok(),
        };
        Self { inner: Arc::new(inner), armed: AtomicBool::new(true), drop_budget: DROP }
    }

    pub(crate) fn with_root(mut self, root: Arc<Root>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.process = Some(root);
        }
        self
    }

    pub(crate) fn measured(mut self, measured: bool) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.measured = measured;
        }
        self
    }

    /// The root; `None` for a tree that was adopted by evidence without one.
    pub fn root(&self) -> Option<ProcId> {
        self.inner.root
    }

    /// What holds the tree, and what that cannot see.
    pub fn guarantee(&self) -> &Guarantee {
        &self.inner.guarantee
    }

    /// The limits of the tree, each with what enforces it.
    pub fn limits(&self) -> &[LimitGuarantee] {
        &self.inner.means.controls.limits
    }

    /// The members that run now, in no particular order. If members keep forking, the list has
    /// those that were found within 2 s; on a busy machine the call takes longer. An empty list means that no
    /// member runs, as far as the [guarantee](Self::guarantee) goes.
    ///
    /// # Errors
    ///
    /// When the process table cannot be read, when one member cannot be looked at, when no descriptor is free, or when
    /// the look ran out of time before it found a member that still ran at its end.
    pub fn members(&self) -> io::Result<Vec<ProcId>> {
        self.inner.reap_orphans();
        Ok(self.inner.look(Instant::now() + LOOK)?.ids)
    }

    /// Sends a signal to every member that is alive now; returns how many got it. If members keep forking, those
    /// that were found within 2 s get it.
    ///
    /// # Errors
    ///
    /// When the process table cannot be read, or when the look ran out of time before it found a member.
    pub fn signal(&self, signal: Signal) -> io::Result<usize> {
        self.inner.signal_all(signal)
    }

    /// Bounds the kill in the drop; 250 ms otherwise.
    ///
    /// A thread of this crate goes on with what is left then, for up to a minute: while the process lives, and if
    /// a thread can be started. With the feature `cleanup` that is a task of the process-wide cleanup worker,
    /// which counts its outcome and does the work itself if no thread can be started.
    pub fn drop_within(mut self, budget: Duration) -> Self {
        self.drop_budget = budget;
        self
    }

    /// Lets the tree live on: a drop from now on does nothing to it.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
        self.inner.let_live();
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Lowers the guarantee of a tree that nobody shares yet.
    pub(crate) fn lower(&mut self, gap: Gap) {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.guarantee = inner.guarantee.clone().with(gap);
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.inner.maker.is_here() {
            return;
        }
        if !self.armed.load(Ordering::Relaxed) {
            self.inner.unmark();
            return;
        }
        if self.inner.is_over.load(Ordering::Relaxed) {
            return;
        }
        // Nobody is there to be told: whoever wants to know calls `kill`.
        let deadline = Deadline::after(self.drop_budget).instant();
        let killed = Ending::kill(&self.inner, deadline).and_then(|mut ending| {
            ending.run()?;
            Ok(ending.conclude())
        });
        if !killed.unwrap_or(false) {
            crate::rest::hand_over(&self.inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Program;

    #[test]
    fn a_drop_looks_for_nobody_after_an_end_that_was_confirmed_and_only_then() {
        let mut program = Program::new("sleep");
        program.arg("600");
        let long = Duration::from_secs(60);
        for level in [crate::Level::Supervisor, crate::Level::Evidence] {
            let (tree, _child) = Tree::spawn(&mut program, Containment::demand(level)).unwrap();
            let is_over = || tree.inner.is_over.load(Ordering::Relaxed);
            assert!(tree.wait_empty_blocking(Duration::ZERO).is_err() && !is_over(), "{level}");
            tree.kill_blocking(long).unwrap();
            assert!(is_over(), "{level}");
            let (tree, _child) =
                Tree::spawn(&mut Program::new("true"), Containment::demand(level)).unwrap();
            tree.wait_empty_blocking(long).unwrap();
            assert!(tree.inner.is_over.load(Ordering::Relaxed), "{level}");
        }
        let evidence = Evidence::new().variable("LASTOUT_NOBODY", "has this");
        let tree = Tree::adopt_with(evidence).unwrap();
        tree.kill_blocking(long).unwrap();
        assert!(!tree.inner.is_over.load(Ordering::Relaxed), "somebody may come who has it");
    }
}
