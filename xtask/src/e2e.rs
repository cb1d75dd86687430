//! Tests on real Chrome and real PostgreSQL: the targets `chrome_*` and `pg_*` of every crate.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::provision::{self, Need};
use crate::steps::Outcome;
use crate::tally::Runner;
use crate::tests_step;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use std::ffi::OsString;

/// `cargo xtask e2e [CRATE] [--without chrome,postgres] [--test NAME]`.
///
/// # Errors
///
/// When a test fails, or what it needs cannot be had.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME, "without", "test"])?;
    let workspace = Workspace::load(console)?;
    let mut left_out = Vec::new();
    for need in [Need::Chrome, Need::Postgres] {
        match e2e(console, &workspace, &flags, need)? {
            Outcome::Skipped(why) => {
                Outcome::skipped(&why).report(console);
                left_out.push(why);
            }
            passed @ Outcome::Passed(_) => passed.report(console),
        }
    }
    if left_out.len() == 2 {
        bail!("nothing ran: {}", left_out.join("; "));
    }
    Ok(())
}

/// Runs the targets of every crate that need `need`.
pub(crate) fn e2e(
    console: &Console,
    workspace: &Workspace,
    flags: &Flags,
    need: Need,
) -> Result<Outcome> {
    if flags.without.iter().any(|word| word == need.name()) {
        return Ok(Outcome::skipped(format!("asked for with --without {}", need.name())));
    }
    let wanted = |target: &&str| {
        Need::of_test(target) == Some(need)
            && flags.test.as_deref().is_none_or(|test| test == *target)
    };
    let packages = workspace
        .packages
        .iter()
        .filter(|package| flags.wants(package))
        .filter(|package| flags.name.is_some() || package.in_progress().is_none());
    let suites: Vec<_> = packages
        .map(|package| (package, package.tests_named("").filter(wanted).collect::<Vec<_>>()))
        .filter(|(_, targets)| !targets.is_empty())
        .collect();
    if suites.is_empty() {
        return Ok(Outcome::skipped(format!("no target needs {}", need.name())));
    }
    let before = console.tally();
    let provided = provision::provide(console, &[need], false)?;
    let targets: Vec<_> = suites.iter().flat_map(|(_, targets)| targets.iter().copied()).collect();
    let ended = run_targets(console, workspace, flags, &targets, provided.envs());
    provided.shutdown()?;
    ended?;
    let ran = console.tally().passed - before.passed;
    if ran == 0 {
        bail!("the targets that need {} hold no test", need.name());
    }
    Ok(Outcome::passed(format!(
        "{ran} tests in {} crates{}",
        suites.len(),
        workspace.left_out(flags)
    )))
}

/// One test at a time: each starts browsers or loads a server, and the machine may be small.
///
/// All crates in one run, with the features that `xtask test` has built them with.
fn run_targets(
    console: &Console,
    workspace: &Workspace,
    flags: &Flags,
    targets: &[&str],
    envs: &[(String, OsString)],
) -> Result<()> {
    let nextest = find::cargo_tool("nextest").is_some();
    let mut cmd = if nextest {
        Cmd::cargo()
            .args(["nextest", "run", "--no-fail-fast", "--test-threads", "1"])
            .count(Runner::Nextest)
    } else {
        Cmd::cargo().args(["test", "--no-fail-fast"]).count(Runner::Libtest)
    };
    cmd = cmd.args(tests_step::scope(workspace, flags)?).arg("--all-features");
    cmd = cmd.args(targets.iter().flat_map(|target| ["--test", *target]));
    if !nextest {
        cmd = cmd.args(["--", "--test-threads", "1"]);
    }
    cmd.envs(envs).dir(&workspace.root).show(Show::Live).run(console)?;
    Ok(())
}
