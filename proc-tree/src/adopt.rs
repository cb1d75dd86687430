//! The adoption of a process that somebody else started.

use crate::contain::Means;
use crate::engine::{Refusal, Table};
use crate::error::{AdoptError, Refused};
use crate::evidence::Evidence;
use crate::guarantee::{Gap, Guarantee, Level};
use crate::id::{Pid, ProcId};
use crate::marks::new_mark;
use crate::sys::{self, Identified, Pidfd, SystemTable};
use crate::tree::Tree;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// Takes hold of what may be killed.
pub(crate) fn hold(pid: Pid) -> Result<(ProcId, Pidfd), AdoptError> {
    let refused = |why| Err(AdoptError::Refused { pid, why });
    if pid <= 1 || i32::try_from(pid).is_err() {
        return refused(Refused::System);
    }
    let mut table = SystemTable::open().map_err(AdoptError::Io)?;
    if Refusal::new(&mut table).of_pid(pid) {
        return refused(Refused::Caller);
    }
    match sys::identify(pid) {
        Identified::Process(_, stat, _) if stat.is_kernel_thread => refused(Refused::Kernel),
        Identified::Process(id, _, Some(pidfd)) => Ok((id, pidfd)),
        Identified::Nobody if table.stat(pid).is_some() => refused(Refused::Thread),
        Identified::Nobody => Err(AdoptError::Gone(pid)),
        // What cannot be held cannot be killed safely.
        Identified::Process(_, _, None) => match Pidfd::open_sparing(pid) {
            Ok(_) => Err(AdoptError::Io(Errno::AGAIN.into())),
            Err(error) => Err(AdoptError::Io(error.into())),
        },
        Identified::Unknown(_, why) => Err(AdoptError::Io(why.into())),
    }
}

/// The tree of the processes that the evidence names.
pub(crate) fn adopt(evidence: Evidence) -> Result<Tree, AdoptError> {
    let held = match evidence.root {
        Some(root) if root.exists() => match hold(root.pid()) {
            Ok((now, pidfd)) => Some(pidfd).filter(|_| now.is_same(&root)),
            Err(AdoptError::Gone(_)) => None,
            Err(error) => return Err(error),
        },
        _ => None,
    };
    adopt_held(evidence, held)
}

/// The tree of a process and its descendants.
pub(crate) fn adopt_pid(pid: Pid) -> Result<Tree, AdoptError> {
    let (id, pidfd) = hold(pid)?;
    adopt_held(Evidence::new().process(id), Some(pidfd))
}

fn adopt_held(mut evidence: Evidence, pidfd: Option<Pidfd>) -> Result<Tree, AdoptError> {
    evidence.adopted_at = sys::now();
    if !evidence.unmarked {
        evidence.mark = Some(new_mark());
    }
    let level = if evidence.sees_orphans() { Level::Evidence } else { Level::Walk };
    let guarantee = Guarantee::new(level, false, Vec::new());
    let mut tree = Tree::new(evidence.root, pidfd, evidence, Means::default(), guarantee);
    match tree.inner().mark_members() {
        Ok(true) => {}
        Ok(false) => tree.lower(Gap::Unmarked),
        // Nothing is to be done to it.
        Err(error) => {
            tree.disarm();
            return Err(AdoptError::Io(error));
        }
    }
    Ok(tree)
}

/// The tree of the process that the pidfd of a caller holds, and its descendants.
pub(crate) fn adopt_pidfd(theirs: BorrowedFd<'_>) -> Result<Tree, AdoptError> {
    let pid_of_theirs = || sys::pid_of_pidfd(theirs).map_err(AdoptError::Io);
    let pid = pid_of_theirs()?.ok_or(AdoptError::Ended)?;
    let (id, pidfd) = hold(pid)?;
    // Their process has the number still, so it had it when ours was taken hold of by it.
    match pid_of_theirs()? {
        Some(still) if still == pid => adopt_held(Evidence::new().process(id), Some(pidfd)),
        _ => Err(AdoptError::Ended),
    }
}
