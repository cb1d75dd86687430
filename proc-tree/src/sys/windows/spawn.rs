//! [`Spawn`]: what a tree can be started from, and the start: suspended, made a member, let run.

use super::child::{Child, Root};
use super::containment::Containment;
use super::held::Held;
use super::inner::{Inner, KILLED};
use super::job::Job;
use super::table;
use super::tree::Tree;
use crate::error::{SpawnError, SpawnStep};
use crate::guarantee::{Guarantee, Level};
use crate::limits::{Hierarchy, LimitGuarantee};
use std::os::windows::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_SUSPENDED};

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::process::Command {}
    #[cfg(feature = "tokio")]
    impl Sealed for tokio::process::Command {}
}

/// What a tree can be started from: a command of std, and with the feature `tokio` one of tokio.
pub trait Spawn: sealed::Sealed {
    /// The handle of the root.
    type Child;

    /// Starts it.
    #[doc(hidden)]
    fn start(&mut self, containment: Containment) -> Result<(Tree, Self::Child), SpawnError>;
}

impl Spawn for Command {
    type Child = Child;

    fn start(&mut self, containment: Containment) -> Result<(Tree, Child), SpawnError> {
        start_command(self, containment)
    }
}

/// Creates the process suspended, makes it a member, and lets it run.
pub(super) fn start_command(
    command: &mut Command,
    containment: Containment,
) -> Result<(Tree, Child), SpawnError> {
    if let Some(level) = containment.demanded.filter(|level| *level != Level::Job) {
        let why = "on Windows a job object holds a tree".into();
        return Err(SpawnError::Unavailable { level, why });
    }
    let dies = !containment.outlive_caller;
    let job = Job::new(dies).map_err(|error| unavailable(&error))?;
    job.limit(&containment.limits).map_err(SpawnError::Limit)?;
    let group = if containment.keep_group { 0 } else { CREATE_NEW_PROCESS_GROUP };
    command.creation_flags(containment.flags | group | CREATE_SUSPENDED);
    let spawned = spawn(command);
    // Somebody who starts the command again by other means wants it to run.
    command.creation_flags(containment.flags);
    let mut process = spawned.map_err(|source| SpawnError::Command {
        program: command.get_program().to_string_lossy().into_owned(),
        step: SpawnStep::Process,
        source,
    })?;
    let (stdin, stdout, stderr) =
        (process.stdin.take(), process.stdout.take(), process.stderr.take());
    let held = Held::of_child(process);
    if let Err(error) = job.assign(&held) {
        // It is suspended, and no member: nobody else would end it.
        let _ = held.terminate(KILLED);
        return Err(unavailable(&error));
    }
    let id = held.id().and_then(|id| table::resume(held.pid()).map(|()| id));
    let id = id.map_err(|source| {
        let _ = job.terminate(KILLED);
        SpawnError::Lost { source }
    })?;
    let by = Hierarchy::Job;
    let given = containment.limits.given();
    let limits = given.map(|(resource, value)| LimitGuarantee { resource, value, by });
    let root = Arc::new(Root { id, held });
    let guarantee = Guarantee::new(Level::Job, dies, Vec::new());
    let mut inner = Inner::new(job, Arc::clone(&root), guarantee);
    inner.limits = limits.collect();
    inner.is_spawned = true;
    inner.leads_group = !containment.keep_group;
    Ok((Tree::new(inner), Child { stdin, stdout, stderr, root }))
}
fn unavailable(error: &std::io::Error) -> SpawnError {
    let why = format!("a job object cannot be used: {error}");
    SpawnError::Unavailable { level: Level::Job, why }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that owns what it starts")]
fn spawn(command: &mut Command) -> std::io::Result<std::process::Child> {
    command.spawn()
}
