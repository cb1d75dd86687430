#![doc = include_str!("../README.md")]
#![cfg_attr(lastout_docsrs, feature(doc_cfg))]

mod deadline;
mod end;
#[cfg_attr(windows, expect(dead_code, reason = "the steps of a start are told by Linux alone"))]
mod error;
#[cfg_attr(windows, expect(dead_code, reason = "a job has no gap, and no supervisor"))]
mod guarantee;
mod id;
mod limits;
mod policy;
mod report;
mod sys;
#[cfg_attr(windows, expect(dead_code, reason = "a job counts all by itself"))]
mod usage;

// Linux: one engine over several means that confirm each other.
#[cfg(target_os = "linux")]
mod accounting;
#[cfg(target_os = "linux")]
mod adopt;
#[cfg(all(target_os = "linux", feature = "test-util"))]
pub mod audit;
#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod command;
#[cfg(target_os = "linux")]
mod contain;
#[cfg(target_os = "linux")]
mod containment;
#[cfg(target_os = "linux")]
mod ending;
#[cfg(target_os = "linux")]
mod engine;
#[cfg(target_os = "linux")]
mod evidence;
#[cfg(target_os = "linux")]
mod freeze;
#[cfg(target_os = "linux")]
mod identity;
#[cfg(target_os = "linux")]
mod inner;
#[cfg(target_os = "linux")]
mod marks;
#[cfg(target_os = "linux")]
mod members;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod rest;
#[cfg(target_os = "linux")]
mod root_end;
#[cfg(target_os = "linux")]
mod signal;
#[cfg(target_os = "linux")]
mod snapshot;
#[cfg(target_os = "linux")]
mod spawn;
#[cfg(target_os = "linux")]
mod stays_dead;
#[cfg(all(target_os = "linux", feature = "test-util"))]
pub mod terminal;
#[cfg(all(target_os = "linux", feature = "tokio"))]
mod tokio_child;
#[cfg(target_os = "linux")]
mod tree;
#[cfg(target_os = "linux")]
mod verbs;
#[cfg(target_os = "linux")]
mod wait;

// Windows: a job object holds the tree, and the whole of it stands in `sys`.
#[cfg(windows)]
use sys::signal;

#[doc(inline)]
pub use deadline::Deadline;
#[doc(inline)]
pub use end::{Cause, End, RootEnd};
#[doc(inline)]
pub use error::{
    AdoptError, KillError, KillTreeError, Refused, SignalError, SpawnError, SpawnStep, WaitError,
};
#[doc(inline)]
pub use guarantee::{Gap, Guarantee, Level, Skipped, SupervisorForm};
#[doc(inline)]
pub use id::{ParseProcIdError, Pid, ProcId};
#[doc(inline)]
pub use limits::{Hierarchy, LimitError, LimitGuarantee, Limits, Resource};
#[doc(inline)]
pub use policy::Policy;
#[doc(inline)]
pub use report::{Report, Survivor, SurvivorReason};
#[doc(inline)]
pub use signal::Signal;
#[doc(inline)]
pub use usage::{Reading, Source, Usage};

#[cfg(target_os = "linux")]
#[doc(inline)]
pub use child::Child;
#[cfg(target_os = "linux")]
#[doc(inline)]
pub use command::{Contained, Spawn, TreeCommand};
#[cfg(target_os = "linux")]
#[doc(inline)]
pub use containment::Containment;
#[cfg(target_os = "linux")]
#[doc(inline)]
pub use evidence::Evidence;
#[cfg(target_os = "linux")]
#[doc(inline)]
pub use freeze::FreezeError;
#[cfg(target_os = "linux")]
#[doc(inline)]
pub use program::{Io, Program};
#[cfg(target_os = "linux")]
#[doc(inline)]
pub use snapshot::{Process, Snapshot, snapshot};
#[cfg(target_os = "linux")]
#[doc(inline)]
pub use stays_dead::{Culprit, Removal, StaysDead, StaysDeadError};
#[cfg(all(target_os = "linux", feature = "tokio"))]
#[doc(inline)]
pub use tokio_child::{OnTokio, TokioChild};
#[cfg(target_os = "linux")]
#[doc(inline)]
pub use tree::Tree;

#[cfg(all(windows, feature = "tokio"))]
#[doc(inline)]
pub use sys::TokioChild;
#[cfg(windows)]
#[doc(inline)]
pub use sys::{Child, Containment, Spawn, Tree, uptime};

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
