#![doc = include_str!("../README.md")]
#![cfg_attr(lastout_docsrs, feature(doc_cfg))]

mod accounting;
mod adopt;
#[cfg(feature = "test-util")]
pub mod audit;
mod child;
mod command;
mod contain;
mod containment;
mod deadline;
mod end;
mod ending;
mod engine;
mod error;
mod evidence;
mod freeze;
mod guarantee;
mod id;
mod identity;
mod inner;
mod limits;
mod marks;
mod policy;
mod program;
mod report;
mod rest;
mod root_end;
mod signal;
mod snapshot;
mod spawn;
mod stays_dead;
mod sys;
#[cfg(feature = "test-util")]
pub mod terminal;
#[cfg(feature = "tokio")]
mod tokio_child;
mod tree;
mod usage;
mod verbs;
mod wait;

#[doc(inline)]
pub use child::Child;
#[doc(inline)]
pub use command::{Contained, Spawn, TreeCommand};
#[doc(inline)]
pub use containment::Containment;
#[doc(inline)]
pub use deadline::Deadline;
#[doc(inline)]
pub use end::{Cause, End, RootEnd};
#[doc(inline)]
pub use error::{
    AdoptError, KillError, KillTreeError, Refused, SignalError, SpawnError, SpawnStep, WaitError,
};
#[doc(inline)]
pub use evidence::Evidence;
#[doc(inline)]
pub use freeze::FreezeError;
#[doc(inline)]
pub use guarantee::{Gap, Guarantee, Level, Skipped, SupervisorForm};
#[doc(inline)]
pub use id::{ParseProcIdError, Pid, ProcId};
#[doc(inline)]
pub use limits::{Hierarchy, LimitError, LimitGuarantee, Limits, Resource};
#[doc(inline)]
pub use policy::Policy;
#[doc(inline)]
pub use program::{Io, Program};
#[doc(inline)]
pub use report::{Report, Survivor, SurvivorReason};
#[doc(inline)]
pub use signal::Signal;
#[doc(inline)]
pub use snapshot::{Process, Snapshot, snapshot};
#[doc(inline)]
pub use stays_dead::{Culprit, Removal, StaysDead, StaysDeadError};
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use tokio_child::{OnTokio, TokioChild};
#[doc(inline)]
pub use tree::Tree;
#[doc(inline)]
pub use usage::{Reading, Source, Usage};

/// Ends the process with this pid and all of its descendants, within the deadline.
///
/// The one-call form of [`Tree::adopt`] and [`Tree::kill_blocking`]: it blocks the calling thread.
///
/// # Errors
///
/// When the process does not exist or must not be killed, and when somebody survived. When no descriptor is
/// free, unless the calling process has a tree: descriptors are kept for kills only while there is one.
pub fn kill_descendant_tree(
    pid: Pid,
    deadline: impl Into<Deadline>,
) -> Result<Report, KillTreeError> {
    let tree = Tree::adopt(pid).map_err(KillTreeError::Adopt)?;
    tree.kill_blocking(deadline).map_err(KillTreeError::Kill)
}
