//! What [`Process`](crate::Process) takes and gives of [`lastout_proc_tree`], so that its users need
//! no other dependency.
//!
//! The policy of a tree, which says how it is asked to end, is [`EndPolicy`] here; [`crate::Policy`] is what happens
//! to a reader that cannot keep up.
//!
//! ```
//! use lastout_output_stream::{Process, tree};
//! use std::time::Duration;
//!
//! # #[cfg(feature = "tokio")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let process = Process::shell("exec sleep 600").spawn()?;
//! let politely = tree::EndPolicy::new().ask_all(tree::Signal::TERM, Duration::from_secs(5));
//! let report: tree::Report = process.terminate(&politely).await?;
//! assert!(report.is_clean() && !report.forced);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "tokio"))]
//! # fn main() {}
//! ```

pub use lastout_proc_tree::{
    Cause, Containment, Deadline, Guarantee, Io, KillError, Level, LimitError, LimitGuarantee,
    Limits, Pid, Policy as EndPolicy, ProcId, Program, Reading, Report, Resource, Signal, Source,
    SpawnError, SpawnStep, Survivor, SurvivorReason, Tree, Usage, WaitError,
};
