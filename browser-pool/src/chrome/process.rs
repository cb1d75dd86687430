//! One browser's process tree and directory, from the spawn to the last of both.

use super::home::{BrowserDir, Home};
use super::remove::remove;
use crate::driver::IN_A_DROP;
use crate::error::with_causes;
use crate::report::{BrowserReport, LeftBehind};
use crate::tasks;
use lastout_cleanup_worker::RemoveDirAll;
use lastout_output_stream::{Collector, Config, Keep, Retain, Stream};
use lastout_proc_tree::{Deadline, KillError, Report, Tree};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::process::ChildStderr;

/// Bound of killing and removing when nobody gave one.
pub(super) const KILL_BOUND: Duration = Duration::from_secs(5);

/// How long the last words of an ended root are waited for. They lie in the pipe.
const READ: Duration = Duration::from_secs(1);

/// How much of the standard error is kept.
const STDERR: u64 = 4 * 1024;

/// A browser's processes and files. Dropping it ends both, within a bound; what is left then is kept by the
/// home.
#[derive(Debug)]
pub(super) struct Process {
    remains: Arc<Remains>,
    /// Where the last words come from and where they are kept; `None` for adopted browsers.
    stderr: Option<(Stream, Collector)>,
    ended: OnceLock<BrowserReport>,
    home: Arc<Home>,
}

/// What must be gone in the end: the processes, then the directory.
#[derive(Debug)]
pub(super) struct Remains {
    /// The pool that had the browser.
    pub(super) pool: u64,
    tree: Tree,
    /// What is removed when the tree is gone.
    dir: Option<PathBuf>,
}

impl Process {
    /// Owns a spawned browser.
    pub(super) fn new(tree: Tree, dir: &mut BrowserDir, stderr: Option<ChildStderr>) -> Self {
        let collector = stderr.and_then(|stderr| {
            let config = Config::builder().retain(Retain::Nothing).window(64 * 1024);
            let prepared = Stream::prepare(config.build().ok()?);
            // Before the first byte is read: some say why they end at once.
            let collector = prepared.collect(Keep::tail(STDERR)).ok()?;
            Some((prepared.spawn(stderr), collector))
        });
        let (pool, home) = (dir.pool(), dir.hand_over());
        let remains = Arc::new(Remains { pool, tree, dir: Some(dir.path().to_owned()) });
        Self { remains, stderr: collector, ended: OnceLock::new(), home }
    }

    /// Owns a browser that somebody else spawned.
    pub(super) fn adopted(pool: u64, tree: Tree, dir: Option<PathBuf>, home: Arc<Home>) -> Self {
        let remains = Arc::new(Remains { pool, tree, dir });
        Self { remains, stderr: None, ended: OnceLock::new(), home }
    }

    /// The same as [`last_words`](Self::last_words) for a root that has ended: all that it has written is
    /// read before, whoever else still holds the pipe.
    pub(super) async fn all_words(&self) -> String {
        if let Some((stream, collector)) = &self.stderr {
            stream.drain();
            let read = async {
                stream.ended().await;
                while collector.snapshot().end().is_none() {
                    tokio::task::yield_now().await;
                }
            };
            drop(tokio::time::timeout(READ, read).await);
        }
        self.last_words()
    }

    /// The last lines of the standard error. Bytes that are not text are replaced.
    pub(super) fn last_words(&self) -> String {
        let Some((_, collector)) = &self.stderr else {
            return String::new();
        };
        let kept = collector.snapshot();
        kept.text().trim().to_owned()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.remains.tree.root().map(|root| root.pid())
    }

    /// Whether contexts can have directories for downloads.
    pub(super) fn keeps_downloads(&self) -> bool {
        self.remains.dir.is_some()
    }

    /// Makes the directory for the downloads of a context.
    pub(super) fn downloads(&self, context: &str) -> io::Result<PathBuf> {
        let dir = self.remains.dir.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let folder = dir.join("d").join(context);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    pub(super) fn memory(&self) -> Option<u64> {
        let members = self.remains.tree.members().ok()?;
        super::memory::proportional(members.iter().map(|member| member.pid()))
    }

    /// Waits until the tree ends by itself.
    pub(super) async fn gone(&self, bound: Duration) -> bool {
        self.remains.tree.wait_empty(Deadline::after(bound)).await.is_ok()
    }

    /// Kills what is left, waits for it, and removes the directory.
    pub(super) async fn end(self: &Arc<Self>, bound: Duration) -> BrowserReport {
        if let Some(report) = self.ended.get() {
            return report.clone();
        }
        let deadline = Instant::now() + bound;
        let killed = self.remains.tree.kill(Deadline::at(deadline)).await;
        let process = self.clone();
        let finish = move || process.finish(killed, deadline);
        match tasks::blocking(finish).await {
            Some(report) => report,
            // The runtime ends: its threads take no more work.
            None => self.end_now(IN_A_DROP),
        }
    }

    /// The same, on this thread.
    pub(super) fn end_now(&self, bound: Duration) -> BrowserReport {
        if let Some(report) = self.ended.get() {
            return report.clone();
        }
        let deadline = Instant::now() + bound;
        let killed = self.remains.tree.kill_blocking(Deadline::at(deadline));
        self.finish(killed, deadline)
    }

    fn finish(&self, killed: Result<Report, KillError>, deadline: Instant) -> BrowserReport {
        let report = self.remains.removed(killed, deadline);
        // Another caller that ended it at the same time may have been first; the removal is the same.
        if self.ended.set(report.clone()).is_ok() && !report.is_clean() {
            self.remains.hand_over(&report);
            self.home.keep(self.remains.clone());
        }
        self.ended.get().cloned().unwrap_or(report)
    }
}

impl Remains {
    /// Tries once more; what is there after it.
    pub(super) fn end_again(&self) -> Vec<LeftBehind> {
        let deadline = Instant::now() + IN_A_DROP;
        self.removed(self.tree.kill_blocking(Deadline::at(deadline)), deadline).left
    }

    /// Removes the directory after a kill that came to this.
    fn removed(&self, killed: Result<Report, KillError>, deadline: Instant) -> BrowserReport {
        let mut report = BrowserReport::new();
        let (outcome, error) = match &killed {
            Ok(outcome) => (Some(outcome), None),
            // Without a gap in the guarantee, it is the deadline that came first: some may be there.
            Err(error @ KillError::Unconfirmed(seen)) if seen.guarantee.is_complete() => {
                (None, Some(error))
            }
            Err(error) => (error.report(), Some(error)),
        };
        if let Some(outcome) = outcome {
            report.killed = outcome.killed;
            report.forced = outcome.forced;
            report.left.extend(outcome.left_behind().iter().map(|survivor| LeftBehind::Process {
                pid: survivor.id.pid(),
                name: survivor.name.clone(),
                reason: survivor.reason.to_string(),
            }));
        } else if let Some(error) = error {
            let pid = self.tree.root().map_or(0, |root| root.pid());
            let (name, reason) = ("browser".into(), with_causes(error));
            report.left.push(LeftBehind::Process { pid, name, reason });
        }
        if let Some(dir) = &self.dir {
            let failed = remove(dir, Some(&self.tree), deadline).err();
            report.left.extend(failed.map(|error| LeftBehind::Directory {
                path: dir.clone(),
                reason: with_causes(&error),
            }));
        }
        report
    }

    /// Leaves what could not be removed in time to the cleanup worker.
    fn hand_over(&self, report: &BrowserReport) {
        let is_directory = |left: &LeftBehind| matches!(left, LeftBehind::Directory { .. });
        if let Some(dir) = self.dir.as_ref().filter(|_| report.left.iter().any(is_directory)) {
            // A refused task is the directory's own record: the next start sweeps it.
            drop(lastout_cleanup_worker::submit(RemoveDirAll::new(dir)));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _kept_by_the_home = self.end_now(IN_A_DROP);
    }
}
