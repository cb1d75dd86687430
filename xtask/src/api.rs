//! The public API of each crate against its snapshot, so that a change of it is seen in review.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::steps::Outcome;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};

/// `cargo xtask api [CRATE] [--bless]`.
///
/// # Errors
///
/// When a listing differs from its snapshot and `--bless` was not given.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME, "bless"])?;
    api(console, &Workspace::load(console)?, &flags).map(|outcome| outcome.report(console))
}

/// Compares, or writes, the snapshots in `api/`.
pub(crate) fn api(console: &Console, workspace: &Workspace, flags: &Flags) -> Result<Outcome> {
    if find::cargo_tool("public-api").is_none() {
        return Ok(Outcome::skipped(
            "needs cargo-public-api: cargo install cargo-public-api --locked",
        ));
    }
    if find::nightly(console).is_none() {
        return Ok(Outcome::skipped(
            "cargo-public-api needs a nightly toolchain, which is not installed",
        ));
    }
    let dir = workspace.root.join("api");
    if flags.bless {
        std::fs::create_dir_all(&dir).context("create api/")?;
    }
    let packages: Vec<_> = workspace.checked_libraries(flags).collect();
    if packages.is_empty() {
        bail!("no crate answers to `{}`", flags.name.as_deref().unwrap_or_default());
    }
    let mut changed = Vec::new();
    for package in packages {
        let done = Cmd::nightly_cargo()
            .args([
                "public-api",
                "--package",
                &package.name,
                "--all-features",
                "-sss",
                "--target-dir",
            ])
            .arg(workspace.target_dir.join("api"))
            .dir(&workspace.root)
            .show(Show::OnFailure)
            .run(console)?;
        let path = dir.join(format!("{}.txt", package.folder));
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        if before == done.stdout {
            continue;
        }
        changed.push(package.folder.clone());
        if flags.bless {
            std::fs::write(&path, &done.stdout)
                .with_context(|| format!("write {}", path.display()))?;
        } else {
            console.complain(&difference(&before, &done.stdout));
        }
    }
    match (changed.is_empty(), flags.bless) {
        (true, _) => Ok(Outcome::passed("as in api/")),
        (false, true) => Ok(Outcome::passed(format!("wrote {}", changed.join(", ")))),
        (false, false) => bail!(
            "the public API of {} differs from api/; if that is meant: cargo xtask api --bless",
            changed.join(", ")
        ),
    }
}

/// Lines that only one of the two has.
fn difference(before: &str, after: &str) -> String {
    let only_in = |a: &str, b: &str, mark: char| -> Vec<String> {
        let there: std::collections::BTreeSet<_> = b.lines().collect();
        a.lines()
            .filter(|line| !there.contains(line))
            .map(|line| format!("{mark} {line}"))
            .collect()
    };
    let mut lines = only_in(before, after, '-');
    lines.extend(only_in(after, before, '+'));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_shows_what_went_and_what_came() {
        assert_eq!(difference("a\nb\n", "b\nc\n"), "- a\n+ c");
    }
}
