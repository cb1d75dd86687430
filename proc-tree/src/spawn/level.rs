//! The ladder of levels: the first that is available here, and what is made for it.

use crate::contain::{Leaf, Link};
use crate::containment::Containment;
use crate::error::SpawnError;
use crate::guarantee::{Level, Skipped, SupervisorForm};
use std::os::fd::OwnedFd;

/// A level, and what was made for it.
pub(super) struct Choice {
    pub(super) level: Level,
    pub(super) leaf: Option<Leaf>,
    pub(super) supervisor: Option<MadeSupervisor>,
}

/// What a supervisor is made from.
pub(super) struct MadeSupervisor {
    pub(super) ours: OwnedFd,
    pub(super) theirs: OwnedFd,
    pub(super) helper: Option<OwnedFd>,
    pub(super) form: SupervisorForm,
}

/// The ladder: the first level that is available, and a word on each that is not.
pub(super) fn choose(
    containment: &Containment,
    may_supervise: bool,
    skipped: &mut Vec<Skipped>,
) -> Result<Choice, SpawnError> {
    let ladder = match &containment.demanded {
        Some(level) => std::slice::from_ref(level),
        None => &[Level::Cgroup, Level::Supervisor, Level::Evidence][..],
    };
    for level in ladder {
        match make_level(*level, containment, may_supervise) {
            Ok(choice) => return Ok(choice),
            Err(why) => skipped.push(Skipped { level: *level, why }),
        }
    }
    let Skipped { level, why } = skipped.remove(0);
    Err(SpawnError::Unavailable { level, why })
}

fn make_level(
    level: Level,
    containment: &Containment,
    may_supervise: bool,
) -> Result<Choice, String> {
    let leaf = match level {
        Level::Cgroup => Some(Leaf::make(containment.parent.as_deref())?),
        Level::Supervisor | Level::PidNamespace | Level::Evidence => None,
        Level::Subreaper => {
            crate::sys::become_subreaper().map_err(|error| error.to_string())?;
            None
        }
        Level::Job => return Err("job objects are there on Windows alone".into()),
        Level::Walk => return Err("a spawned tree always has evidence".into()),
    };
    let supervised =
        containment.die_with_parent || matches!(level, Level::Supervisor | Level::PidNamespace);
    if supervised && !may_supervise {
        return Err("the process that is spawned would be the supervisor".into());
    }
    let supervisor = supervised.then(|| make_supervisor(containment)).transpose()?;
    Ok(Choice { level, leaf, supervisor })
}

fn make_supervisor(containment: &Containment) -> Result<MadeSupervisor, String> {
    crate::sys::can_supervise()?;
    let helper = match containment.copies_caller {
        true => Err("the containment asks for it".into()),
        false => crate::sys::helper(),
    };
    let (helper, form) = match helper {
        Ok(helper) => (Some(helper), SupervisorForm::Program),
        Err(why) => (None, SupervisorForm::Copy { why }),
    };
    let sockets = Link::socket().and_then(|(ours, theirs)| {
        // The supervisor moves it to number 0, which must not be in use for something else until then.
        Ok((ours, crate::sys::above_standard(theirs)?))
    });
    let (ours, theirs) = sockets.map_err(|error| format!("make a socket: {error}"))?;
    Ok(MadeSupervisor { ours, theirs, helper, form })
}
