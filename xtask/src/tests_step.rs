//! Unit, integration and doc tests: everything that needs no program beside the toolchain.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::steps::Outcome;
use crate::tally::Runner;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::time::Duration;

/// The most time all tests may take: far over any honest run, so that a hang ends.
const LIMIT: Duration = Duration::from_secs(3600);

/// `cargo xtask test [CRATE]`.
///
/// # Errors
///
/// When a test fails, or none ran.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME])?;
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
        let nextest = ["nextest", "run", "--no-fail-fast", "--no-tests", "pass"];
        let threads = ["--test-threads".to_owned(), threads().to_string()];
        Cmd::cargo().args(nextest).args(threads).count(Runner::Nextest)
    } else {
        let test = ["test", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"];
        Cmd::cargo().args(test).count(Runner::Libtest)
    };
    let all = |cmd: Cmd| {
        let cmd = cmd.args(&packages).arg("--all-features").dir(&workspace.root);
        cmd.show(Show::Live).limit(LIMIT).run(console)
    };
    // A failing test is no reason to hide a failing doc test.
    let unit = all(runner);
    let doc = all(Cmd::cargo().args(["test", "--doc", "--no-fail-fast"]).count(Runner::Libtest));
    unit.and(doc)?;
    let ran = console.tally().passed - before.passed;
    if ran == 0 {
        bail!("no test ran");
    }
    let with = if nextest { "nextest" } else { "cargo test (nextest is not installed)" };
    Ok(Outcome::passed(format!(
        "{ran} tests with {with}, doc tests included{}",
        workspace.left_out(flags)
    )))
}

/// Two tests for each core: most of a test's time it waits for a process or a timer.
fn threads() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// The package flags for what the person asked for.
pub(crate) fn scope(workspace: &Workspace, flags: &Flags) -> Result<Vec<String>> {
    if flags.name.is_none() {
        let all = std::iter::once("--workspace".to_owned());
        return Ok(all.chain(workspace.without_in_progress()).collect());
    }
    let named: Vec<_> = workspace.packages.iter().filter(|package| flags.wants(package)).collect();
    if named.is_empty() {
        bail!("no crate answers to `{}`", flags.name.as_deref().unwrap_or_default());
    }
    Ok(named.iter().flat_map(|package| ["--package".into(), package.name.clone()]).collect())
}
