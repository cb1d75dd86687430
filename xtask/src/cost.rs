//! What each feature of the façade costs: crates in the graph, and a build from nothing.

use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::workspace::Workspace;
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::time::Duration;

/// Prints a line for no feature, each feature and all: dependencies outside the workspace, and the time
/// of an optimised build into an empty folder.
pub(crate) fn print(console: &Console, workspace: &Workspace) -> Result<()> {
    let facade = workspace.packages.iter().find(|package| package.name == "lastout");
    let facade = facade.context("the workspace has a façade")?;
    console.say(&format!("{:<18} {:>12} {:>10}", "feature", "dependencies", "build"));
    let mut names = vec![None];
    names.extend(facade.features.keys().filter(|name| *name != "default").map(Some));
    for name in names {
        let flags: Vec<&str> =
            name.into_iter().flat_map(|name| ["--features", name.as_str()]).collect();
        let count = dependencies(console, workspace, &flags)?;
        let time = build(console, workspace, &flags)?;
        let label = name.map_or("(none)", String::as_str);
        console.say(&format!("{label:<18} {count:>12} {:>8.1} s", time.as_secs_f64()));
    }
    Ok(())
}

fn dependencies(console: &Console, workspace: &Workspace, flags: &[&str]) -> Result<usize> {
    let done = Cmd::cargo()
        .args(["tree", "--package", "lastout", "--no-default-features", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .args(flags)
        .dir(&workspace.root)
        .show(Show::Never)
        .run(console)?;
    Ok(outside(&done.stdout))
}

/// Distinct packages in a listing that are not members of the workspace.
fn outside(listing: &str) -> usize {
    let packages = listing.lines().map(|line| line.trim_end_matches(" (*)"));
    packages
        .filter(|line| !line.is_empty() && !line.starts_with("lastout"))
        .collect::<BTreeSet<_>>()
        .len()
}

fn build(console: &Console, workspace: &Workspace, flags: &[&str]) -> Result<Duration> {
    let dir = workspace.target_dir.join("cost");
    if dir.exists() {
        #[expect(clippy::disallowed_methods, reason = "cargo has ended: nobody writes there")]
        std::fs::remove_dir_all(&dir).with_context(|| format!("empty {}", dir.display()))?;
    }
    let done = Cmd::cargo()
        .args(["build", "--release", "--package", "lastout", "--lib", "--no-default-features"])
        .args(flags)
        .env("CARGO_TARGET_DIR", &dir)
        .dir(&workspace.root)
        .show(Show::Never)
        .run(console)?;
    Ok(done.elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_repetitions_are_not_counted() {
        let listing = "lastout v0.1.0 (/x)\nlibc v0.2.1\nlastout-proc-tree v0.1.0 (/x)\nlibc v0.2.1 (*)\nmio v1.0.0\n";
        assert_eq!(outside(listing), 2);
    }
}
