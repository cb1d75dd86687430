//! The adoption of a process that somebody else started.

use crate::contain::Means;
use crate::engine::{Refusal, Table};
use crate::error::{AdoptError, Refused};
use crate::evidence::Evidence;
use crate::guarantee::{Guarantee, Level};
use crate::id::{Pid, ProcId};
use crate::sys::SystemTable;
use crate::tree::Tree;

/// Refuses what must never be killed.
pub(crate) fn check(pid: Pid) -> Result<(), AdoptError> {
    let mut table = SystemTable::open().map_err(AdoptError::Io)?;
    let refused = |why| Err(AdoptError::Refused { pid, why });
    if pid <= 1 || i32::try_from(pid).is_err() {
        return refused(Refused::System);
    }
    if Refusal::new(&mut table).of_pid(pid) {
        return refused(Refused::Caller);
    }
    match table.stat(pid) {
        None => Err(AdoptError::Gone(pid)),
        Some(stat) if stat.is_kernel_thread => refused(Refused::Kernel),
        Some(_) => Ok(()),
    }
}

pub(crate) fn adopt(mut evidence: Evidence) -> Result<Tree, AdoptError> {
    let root = match evidence.root {
        Some(root) if root.exists() => {
            check(root.pid())?;
            Some(root)
        }
        _ => None,
    };
    let pidfd = root.and_then(|root| root.hold());
    evidence.adopted_at = crate::sys::now();
    if !evidence.unmarked {
        evidence.mark = Some(crate::spawn::new_mark());
    }
    let level = if evidence.sees_orphans() { Level::Evidence } else { Level::Walk };
    let guarantee = Guarantee::new(level, false, Vec::new());
    let tree = Tree::new(evidence.root, pidfd, evidence, Means::default(), guarantee);
    tree.mark_members().map_err(AdoptError::Io)?;
    Ok(tree)
}

/// The evidence of a pid alone.
pub(crate) fn of_pid(pid: Pid) -> Result<Evidence, AdoptError> {
    check(pid)?;
    let root = ProcId::of(pid).ok_or(AdoptError::Gone(pid))?;
    Ok(Evidence::new().process(root))
}
