//! Checks by tools that are used where they are installed and visibly skipped elsewhere.
//!
//! None of them is installed by us: together they cost minutes of compilation, and what they check is
//! either checked in a simpler way by `deps` and `features`, or a comfort.

use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::steps::Outcome;
use crate::workspace::Workspace;
use anyhow::Result;

/// Pairs of features, with cargo-hack: `features` checks each alone and all together.
pub(crate) fn hack(console: &Console, workspace: &Workspace) -> Result<Outcome> {
    if find::cargo_tool("hack").is_none() {
        return Ok(Outcome::skipped("needs cargo-hack: cargo install cargo-hack --locked"));
    }
    Cmd::cargo()
        .args(["hack", "check", "--workspace", "--exclude", "xtask", "--lib"])
        .args(["--feature-powerset", "--depth", "2"])
        .dir(&workspace.root)
        .run(console)?;
    Ok(Outcome::passed("every pair of features"))
}

/// Licences, bans and sources, with the offline part of cargo-deny.
pub(crate) fn deny(console: &Console, workspace: &Workspace) -> Result<Outcome> {
    if find::cargo_tool("deny").is_none() {
        return Ok(Outcome::skipped("needs cargo-deny: cargo install cargo-deny --locked"));
    }
    Cmd::cargo()
        .args(["deny", "--offline", "--all-features", "check", "bans", "licenses", "sources"])
        .dir(&workspace.root)
        .run(console)?;
    Ok(Outcome::passed("bans, licences, sources; advisories need a database that is not here"))
}

/// Spelling, with typos.
pub(crate) fn typos(console: &Console, workspace: &Workspace) -> Result<Outcome> {
    let Some(typos) = find::on_path(&["typos"]) else {
        return Ok(Outcome::skipped("needs typos: cargo install typos-cli --locked"));
    };
    Cmd::new(typos).dir(&workspace.root).run(console)?;
    Ok(Outcome::passed("no known misspelling"))
}

/// Instruction counts: bench targets named `counts`, with gungraun under valgrind.
pub(crate) fn counts(console: &Console, workspace: &Workspace) -> Result<Outcome> {
    let counted: Vec<_> = workspace
        .packages
        .iter()
        .filter(|package| package.targets.iter().any(|t| t.kind == "bench" && t.name == "counts"))
        .collect();
    if counted.is_empty() {
        return Ok(Outcome::skipped("no crate has a bench target `counts`"));
    }
    for (program, how) in [
        ("valgrind", "apt-get install valgrind"),
        ("gungraun-runner", "cargo install gungraun-runner"),
    ] {
        if find::on_path(&[program]).is_none() {
            return Ok(Outcome::skipped(format!("needs {program}: {how}")));
        }
    }
    for package in &counted {
        Cmd::cargo()
            .args(["bench", "--bench", "counts", "--package", &package.name])
            .dir(&workspace.root)
            .show(Show::Live)
            .run(console)?;
    }
    Ok(Outcome::passed(format!("{} crates", counted.len())))
}
