//! Side-by-side measurement: every variant of a case runs in interleaved rounds of one run.
//!
//! A peer package declares its cases and calls [`Bench::run`]:
//!
//! ```no_run
//! use lastout_bench_runner::{Bar, Bench, Case, per_op};
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! fn main() -> std::process::ExitCode {
//!     let word = AtomicU64::new(0);
//!     Bench::new("example")
//!         .case(
//!             Case::lower("swap", "ns")
//!                 .floor(|| per_op(1_000_000, |_| drop(word.swap(1, Ordering::SeqCst))))
//!                 .ours(|| per_op(1_000_000, |_| drop(word.fetch_add(1, Ordering::SeqCst))))
//!                 .bar(Bar::floor().max(1.5)),
//!         )
//!         .run()
//! }
//! ```
//!
//! One call of a variant is one round and returns one value in the unit of the case. The order of
//! the variants rotates from round to round, the first round is warm-up, and each reported value is
//! the median of the rest: so a ratio holds on a noisy machine where a number does not.
//!
//! Flags of every peer binary: `--rounds N`, `--case SUBSTRING`, `--out FILE`, `--list`, `--quick`.

mod alloc;
mod args;
mod bar;
mod case;
mod json;
mod machine;
mod run;

pub use alloc::{CountingAllocator, allocations};
pub use bar::Bar;
pub use case::Case;
pub use machine::{cpu_time, per_op, pin_to_core, unpin};
pub use run::Bench;
