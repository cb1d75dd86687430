//! Looking into a running program: names and places of tasks, a dump of those alive, how long polls
//! take, and a callback for polls that take too long. Nothing is measured unless it is asked for.
//!
//! `probe` is what the engine reports its polls to, `watchdog` the thread that looks at the poll under
//! way, `dump` what a program asks.

mod dump;
pub(crate) mod probe;
pub(crate) mod watchdog;

pub use dump::{TaskInfo, TaskState};
pub use probe::PollTimes;
pub use watchdog::Stall;
