//! The house rules that no other tool knows, checked on the text of the tree.
//!
//! Each rule is a function from the tree to the places that break it; a place is a line for the
//! terminal that says which rule, where, and what to do.

pub mod documents;
pub mod manifests;
pub mod modules;
pub mod source;
pub mod unsafety;

use crate::cli::Flags;
use crate::console::Console;
use crate::steps::Outcome;
use crate::workspace::Workspace;
use anyhow::{Result, bail};

/// A place that breaks a rule.
pub type Finding = String;

/// `cargo xtask tidy`.
///
/// # Errors
///
/// When a rule is broken; the error lists every place.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    Flags::parse(parser, &[])?;
    tidy(&Workspace::load(console)?).map(|outcome| outcome.report(console))
}

/// Checks every rule and lists every place that breaks one.
///
/// # Errors
///
/// When a rule is broken, or a file cannot be read.
pub fn tidy(workspace: &Workspace) -> Result<Outcome> {
    let files = source::tree(workspace)?;
    let mut findings = Vec::new();
    findings.extend(files.iter().flat_map(modules::check));
    for package in &workspace.packages {
        findings.extend(unsafety::check(package, &files));
        findings.extend(modules::check_models(package, &files)?);
    }
    findings.extend(manifests::check(workspace)?);
    findings.extend(documents::check(workspace, &files)?);
    if !findings.is_empty() {
        bail!("{} places break a house rule:\n{}", findings.len(), findings.join("\n"));
    }
    Ok(Outcome::passed(format!(
        "{} source files, {} manifests",
        files.len(),
        workspace.packages.len()
    )))
}
