//! What [`Process`](crate::Process) takes and gives of [`lastout_proc_tree`], so that its users need
//! no other dependency.
//!
//! Mind the name `Policy`: the one in here says how a tree is asked to end, and
//! [`crate::Policy`] what happens to a reader that cannot keep up.
//!
//! ```
//! use lastout_output_stream::{Process, tree};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let process = Process::shell("exec sleep 600").spawn()?;
//! let politely = tree::Policy::new().ask_all(tree::Signal::TERM, Duration::from_secs(5));
//! let report: tree::Report = process.terminate(&politely).await?;
//! assert!(report.is_clean() && !report.forced);
//! # Ok(())
//! # }
//! ```

pub use lastout_proc_tree::{
    Cause, Containment, Deadline, Guarantee, Io, KillError, Level, LimitError, LimitGuarantee,
    Limits, Pid, Policy, ProcId, Program, Reading, Report, Resource, Signal, Source, SpawnError,
    SpawnStep, Survivor, SurvivorReason, Tree, Usage, WaitError,
};
