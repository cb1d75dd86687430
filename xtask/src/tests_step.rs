//! Unit, integration and doc tests: everything that needs no program beside the toolchain.

use crate::cli::Flags;
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::steps::Outcome;
use crate::workspace::Workspace;
use anyhow::{Result, bail};

/// `cargo xtask test [CRATE]`.
///
/// # Errors
///
/// When a test fails, or none ran.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[])?;
    let outcome = tests(console, &Workspace::load(console)?, &flags)?;
    outcome.report(console);
    Ok(())
}

/// Runs the tests with nextest where it is installed, else with `cargo test`; then the doc tests.
pub fn tests(console: &Console, workspace: &Workspace, flags: &Flags) -> Result<Outcome> {
    let before = console.tally();
    let packages = scope(workspace, flags)?;
    let nextest = find::cargo_tool("nextest").is_some();
    let runner = if nextest {
        Cmd::cargo().args(["nextest", "run", "--no-fail-fast", "--no-tests", "pass"])
    } else {
        Cmd::cargo().args([
            "test",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
            "--examples",
        ])
    };
    let all = |cmd: Cmd| {
        cmd.args(&packages)
            .arg("--all-features")
            .dir(&workspace.root)
            .show(Show::Live)
    };
    all(runner).run(console)?;
    all(Cmd::cargo().args(["test", "--doc", "--no-fail-fast"])).run(console)?;
    let ran = console.tally().passed - before.passed;
    if ran == 0 {
        bail!("no test ran");
    }
    let with = if nextest {
        "nextest"
    } else {
        "cargo test (nextest is not installed)"
    };
    Ok(Outcome::passed(format!(
        "{ran} tests with {with}, doc tests included"
    )))
}

/// The package flags for what the person asked for.
fn scope(workspace: &Workspace, flags: &Flags) -> Result<Vec<String>> {
    if flags.name.is_none() {
        return Ok(vec!["--workspace".into()]);
    }
    let named: Vec<_> = workspace
        .packages
        .iter()
        .filter(|package| flags.wants(package))
        .collect();
    if named.is_empty() {
        bail!(
            "no crate answers to `{}`",
            flags.name.as_deref().unwrap_or_default()
        );
    }
    Ok(named
        .iter()
        .flat_map(|package| ["--package".into(), package.name.clone()])
        .collect())
}
