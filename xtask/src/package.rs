//! Packages as a registry would take them, and a release that is only rehearsed.

use crate::cli::Flags;
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::steps::Outcome;
use crate::workspace::{Package, Workspace};
use anyhow::{Context as _, Result, bail, ensure};
use std::path::Path;

/// Files that a person who unpacks a package must find.
const NEEDED: &[&str] = &["README.md", "LICENSE-APACHE", "LICENSE-MIT", "src/lib.rs"];

/// `cargo xtask package`.
///
/// # Errors
///
/// When a package does not build from what it contains.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    Flags::parse(parser, &[])?;
    package(console, &Workspace::load(console)?).map(|outcome| outcome.report(console))
}

/// Packs every library and builds each from its package alone.
pub(crate) fn package(console: &Console, workspace: &Workspace) -> Result<Outcome> {
    pack(console, workspace, &workspace.root)?;
    Ok(Outcome::passed(format!(
        "{} packages built from what they contain",
        workspace.libraries().count()
    )))
}

fn pack(console: &Console, workspace: &Workspace, root: &Path) -> Result<()> {
    for package in workspace.libraries() {
        let list = Cmd::cargo()
            .args(["package", "--list", "--allow-dirty", "--package", &package.name])
            .dir(root)
            .show(Show::Never)
            .run(console)?;
        let missing = NEEDED.iter().find(|name| list.stdout.lines().all(|line| line != **name));
        if let Some(name) = missing {
            bail!("the package {} would not contain {name}", package.name);
        }
    }
    Cmd::cargo()
        .args(["package", "--workspace", "--exclude", "xtask", "--allow-dirty"])
        .once()
        .env("CARGO_TARGET_DIR", workspace.target_dir.join("package"))
        .dir(root)
        .run(console)?;
    Ok(())
}

/// `cargo xtask release --repository URL`: everything but the upload.
///
/// # Errors
///
/// When something would stop the release.
pub fn run_release(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &["repository", "baseline"])?;
    let workspace = &Workspace::load(console)?;
    let repository = flags
        .repository
        .as_deref()
        .context("a release names its address: cargo xtask release --repository https://…")?;
    ensure!(
        repository.starts_with("https://") && !repository.contains(['"', '\\', '\n', ' ']),
        "`{repository}` is no https address"
    );
    let git = |args: &[&str]| {
        Cmd::new("git")
            .args(args.iter().copied())
            .dir(&workspace.root)
            .show(Show::Never)
            .run(console)
    };
    ensure!(git(&["status", "--porcelain"])?.stdout.is_empty(), "commit what is changed first");
    let copy = workspace.target_dir.join("to-publish");
    if copy.exists() {
        Cmd::new("rm").arg("-r").arg(&copy).run(console)?;
    }
    let copy_name = copy.to_string_lossy();
    git(&["worktree", "prune"])?;
    git(&["clone", "--quiet", ".", copy_name.as_ref()])?;
    for package in workspace.libraries() {
        name_repository(&copy.join(&package.folder).join("Cargo.toml"), repository)?;
    }
    pack(console, workspace, &copy)?;
    check_semver(console, &copy, flags.baseline.as_deref())?;
    console
        .say("\nnothing was published. In this order, each when the one before is in the index:");
    for package in in_order(workspace) {
        console.say(&format!("  cargo publish --package {}", package.name));
    }
    Ok(())
}

fn name_repository(manifest: &Path, repository: &str) -> Result<()> {
    let text = std::fs::read_to_string(manifest)?;
    let line = "license.workspace = true\n";
    ensure!(text.contains(line), "{} has no line for its licence", manifest.display());
    let named = text.replacen(line, &format!("{line}repository = \"{repository}\"\n"), 1);
    std::fs::write(manifest, named).with_context(|| format!("write {}", manifest.display()))
}

/// Compares with the last release, which is a commit or a tag.
fn check_semver(console: &Console, root: &Path, baseline: Option<&str>) -> Result<()> {
    let Some(baseline) = baseline else {
        console.say("semver: nothing to compare with (--baseline COMMIT names the last release)");
        return Ok(());
    };
    if find::cargo_tool("semver-checks").is_none() {
        bail!("--baseline needs cargo-semver-checks: cargo install cargo-semver-checks --locked");
    }
    Cmd::cargo()
        .args(["semver-checks", "--workspace", "--exclude", "xtask", "--baseline-rev", baseline])
        .dir(root)
        .show(Show::Live)
        .run(console)?;
    Ok(())
}

/// The libraries, each after those that it depends on.
fn in_order(workspace: &Workspace) -> Vec<&Package> {
    let mut waiting: Vec<_> = workspace.libraries().collect();
    let mut ordered: Vec<&Package> = Vec::new();
    while !waiting.is_empty() {
        let is_out = |name: &String| ordered.iter().any(|package| package.name == *name);
        let ready = waiting.iter().position(|package| package.internal.iter().all(is_out));
        // Cargo has refused circles long before.
        ordered.push(waiting.remove(ready.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_published_after_those_it_depends_on() {
        let workspace = Workspace::load(&Console::new()).unwrap();
        let order = in_order(&workspace);
        assert_eq!(order.len(), workspace.libraries().count());
        for (place, package) in order.iter().enumerate() {
            let before = |name: &String| order[..place].iter().any(|other| other.name == *name);
            assert!(package.internal.iter().all(before), "{} comes too early", package.name);
        }
    }
}
