//! Every developer command of lastout, one file each.
//!
//! The commands discover what the crates offer (CONTRIBUTING.md has the conventions), so a crate adds
//! files and never code here. [`command::Cmd`] is the only way to run a program, [`console::Console`] to say something;
//! [`workspace::Workspace`] is the only view of the manifests; [`steps::Steps`] is the only runner of a
//! list of checks. Nothing here is published, so a failure is an [`anyhow::Error`]: a sentence for the
//! person who ran the command.

#![forbid(unsafe_code)]
#![allow(
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    clippy::missing_errors_doc,
    reason = "nothing here is published: every user is in this package"
)]

pub mod api;
pub mod asan;
pub mod bench;
pub mod checks;
pub mod ci;
pub mod cli;
pub mod command;
pub mod console;
pub mod cost;
pub mod demo;
pub mod dependencies;
pub mod doctor;
pub mod e2e;
pub mod extras;
pub mod features;
pub mod find;
pub mod foreign;
pub mod fuzz;
pub(crate) mod interrupts;
pub mod models;
pub mod package;
mod pictures;
pub mod provision;
pub mod soak;
pub mod steps;
pub mod tally;
pub mod tests_step;
pub mod tidy;
pub mod workspace;
