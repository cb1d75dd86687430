//! Runs the fault storms: the target `soak` of every crate that has one.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::provision::{self, Need};
use crate::workspace::{Package, Workspace};
use anyhow::{Context as _, Result, bail};

/// `cargo xtask soak [AREA] [--minutes N] [--seed S]`; the flags go to the storm.
///
/// # Errors
///
/// When a storm ends with a sum that is off, or none answers to the name.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME, "…"])?;
    let workspace = Workspace::load(console)?;
    let storms: Vec<_> = workspace
        .packages
        .iter()
        .filter(|package| flags.wants(package) && package.tests_named("soak").next().is_some())
        .collect();
    if storms.is_empty() {
        bail!("no soak answers to `{}`", flags.name.as_deref().unwrap_or("anything"));
    }
    let mut failures = Vec::new();
    for package in &storms {
        if let Err(error) = storm(console, &workspace, package, &flags) {
            failures.push(format!("{}: {error:#}", package.name));
        }
    }
    if !failures.is_empty() {
        bail!("{} of {} storms failed:\n{}", failures.len(), storms.len(), failures.join("\n"));
    }
    Ok(())
}

fn storm(console: &Console, workspace: &Workspace, package: &Package, flags: &Flags) -> Result<()> {
    let needs: Vec<_> = package
        .setting("soak-needs")
        .iter()
        .map(|word| {
            Need::named(word).with_context(|| format!("unknown need `{word}` in soak-needs"))
        })
        .collect::<Result<_>>()?;
    let provided = provision::provide(console, &needs, false)?;
    let result = Cmd::cargo()
        .args(["test", "--release", "--all-features", "--package", &package.name])
        .args(package.tests_named("soak").flat_map(|target| ["--test", target]))
        .arg("--")
        .args(&flags.rest)
        .envs(provided.envs())
        .dir(&workspace.root)
        .show(Show::Live)
        .run(console);
    provided.shutdown()?;
    result.map(drop)
}
