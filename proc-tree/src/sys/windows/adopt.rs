//! The adoption of a process that somebody else has started, with what it has started by then.

use super::child::Root;
use super::held::{Held, NO_SUCH_PROCESS};
use super::inner::Inner;
use super::job::Job;
use super::table;
use super::tree::Tree;
use crate::error::{AdoptError, Refused};
use crate::guarantee::{Guarantee, Level};
use crate::id::Pid;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use windows_sys::Win32::System::Threading::{
    PROCESS_QUERY_INFORMATION, PROCESS_SET_QUOTA, PROCESS_TERMINATE,
};

/// The process of the system itself, beside that of the idle time, which is 0.
const SYSTEM: Pid = 4;

/// How long a process that cannot be made a member is given to be seen as ended.
const ENDING: Duration = Duration::from_millis(100);

pub(super) fn adopt(pid: Pid) -> Result<Tree, AdoptError> {
    let refused = |why| AdoptError::Refused { pid, why };
    if pid == 0 || pid == SYSTEM {
        return Err(refused(Refused::System));
    }
    let held = hold(pid).map_err(|error| match error.raw_os_error() {
        Some(NO_SUCH_PROCESS) => AdoptError::Gone(pid),
        _ => AdoptError::Io(error),
    })?;
    if held.has_ended().map_err(AdoptError::Io)? {
        return Err(AdoptError::Gone(pid));
    }
    if is_caller_or_ancestor(&held).map_err(AdoptError::Io)? {
        return Err(refused(Refused::Caller));
    }
    // Whoever is a member when this fails is not to die by it.
    let job = Job::new(false).map_err(AdoptError::Io)?;
    let (id, job) = take(&job, &held).map(|id| (id, job)).map_err(AdoptError::Io)?;
    job.let_die().map_err(AdoptError::Io)?;
    let guarantee = Guarantee::new(Level::Walk, true, Vec::new());
    Ok(Tree::new(Inner::new(job, Arc::new(Root { id, held }), guarantee)))
}

fn hold(pid: Pid) -> io::Result<Held> {
    Held::open_for(pid, PROCESS_QUERY_INFORMATION | PROCESS_SET_QUOTA | PROCESS_TERMINATE)
}

/// Makes the process and all of its descendants members, until nobody new is found.
fn take(job: &Job, root: &Held) -> io::Result<crate::id::ProcId> {
    let id = root.id()?;
    job.assign(root)?;
    // Each is held, so that the number of a parent means that parent.
    let mut members = HashMap::from([(root.pid(), id)]);
    let mut held = Vec::new();
    loop {
        let before = members.len();
        for (child, parent) in table::processes()? {
            let Some(parent) = members.get(&parent).copied() else { continue };
            if members.contains_key(&child) {
                continue;
            }
            let process = match hold(child) {
                Ok(process) => process,
                Err(error) if error.raw_os_error() == Some(NO_SUCH_PROCESS) => continue,
                Err(error) => return Err(error),
            };
            let child_id = process.id()?;
            // One that is older was started by an earlier process of that number.
            if process.has_ended()? || child_id.start() < parent.start() {
                continue;
            }
            // A child that was born after its parent was taken is a member already.
            if !job.holds(&process)? {
                if let Err(error) = job.assign(&process) {
                    // One that ends meanwhile cannot become a member.
                    process.wait(Instant::now() + ENDING, None)?;
                    if process.has_ended()? {
                        continue;
                    }
                    return Err(error);
                }
            }
            members.insert(child, child_id);
            held.push(process);
        }
        if members.len() == before {
            return Ok(id);
        }
    }
}

/// Whether this is the calling process, or one that it descends from.
fn is_caller_or_ancestor(process: &Held) -> io::Result<bool> {
    let parents: HashMap<Pid, Pid> = table::processes()?.into_iter().collect();
    let wanted = process.id()?;
    let mut at = Held::open(std::process::id())?.id()?;
    // No chain is longer than the table.
    for _ in 0..=parents.len() {
        if at.is_same(&wanted) {
            return Ok(true);
        }
        let parent = parents.get(&at.pid()).and_then(|pid| Held::open(*pid).ok()?.id().ok());
        match parent.filter(|parent| parent.start() <= at.start()) {
            Some(parent) => at = parent,
            None => return Ok(false),
        }
    }
    Ok(false)
}
