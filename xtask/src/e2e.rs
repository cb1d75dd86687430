//! Tests on real Chrome and real PostgreSQL: the targets `chrome_*` and `pg_*` of every crate.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::provision::{self, Need};
use crate::steps::Outcome;
use crate::tally::Runner;
use crate::tests_step;
use crate::workspace::{Package, Workspace};
use anyhow::{Result, bail};
use std::ffi::OsString;
use std::path::PathBuf;

/// The crate whose tests turn the browser's sandbox on when `LASTOUT_TEST_SANDBOX` is set.
const SANDBOXED: &str = "browser-pool";

/// How often the tests of the pool of browsers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runs {
    /// As who runs this: all that there is time for in `ci`.
    Once,
    /// Once more unprivileged, with the sandbox on.
    Twice,
}

/// `cargo xtask e2e [CRATE] [--without chrome,postgres] [--test NAME]`.
///
/// Where an unprivileged user gets a user namespace, the tests of the pool of browsers run a second time, as that user
/// and with the sandbox on.
///
/// # Errors
///
/// When a test fails, or what it needs cannot be had.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME, "without", "test"])?;
    let workspace = Workspace::load(console)?;
    let mut left_out = Vec::new();
    for need in [Need::Chrome, Need::Postgres] {
        match e2e(console, &workspace, &flags, need, Runs::Twice)? {
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
    runs: Runs,
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
    let scope = tests_step::scope(workspace, flags)?;
    let before = console.tally();
    let provided = provision::provide(console, &[need], false)?;
    let targets: Vec<_> = suites.iter().flat_map(|(_, targets)| targets.iter().copied()).collect();
    let ended = run_targets(console, workspace, &scope, &targets, provided.envs());
    // A failing test is no reason to hide a failing one of the second run.
    let sandboxed = match runs {
        Runs::Once => Ok(String::new()),
        Runs::Twice => sandboxed(console, workspace, &suites, provided.envs()),
    };
    provided.shutdown()?;
    ended?;
    let sandboxed = sandboxed?;
    let ran = console.tally().passed - before.passed;
    if ran == 0 {
        bail!("the targets that need {} hold no test", need.name());
    }
    Ok(Outcome::passed(format!(
        "{ran} tests in {} crates{sandboxed}{}",
        suites.len(),
        workspace.left_out(flags)
    )))
}

/// Runs the tests of the sandboxed crate once more, as an unprivileged user and with the sandbox on. Returns
/// what the closing line says of it.
fn sandboxed(
    console: &Console,
    workspace: &Workspace,
    suites: &[(&Package, Vec<&str>)],
    envs: &[(String, OsString)],
) -> Result<String> {
    let suite = suites.iter().find(|(package, targets)| {
        package.folder == SANDBOXED && Need::of_test(targets[0]) == Some(Need::Chrome)
    });
    let Some((package, targets)) = suite else {
        return Ok(String::new());
    };
    let runner = match unprivileged(console, workspace, envs) {
        Ok(runner) => runner,
        Err(why) => {
            let why = Outcome::skipped(format!("{SANDBOXED} with the sandbox on: {why}"));
            why.report(console);
            return Ok(", none with the sandbox on".into());
        }
    };
    let before = console.tally().passed;
    let mut scope = vec!["--package".to_owned(), package.name.clone()];
    if !runner.is_empty() {
        scope.extend(["--config".into(), format!("target.'cfg(unix)'.runner = {runner:?}")]);
    }
    let mut envs = envs.to_vec();
    envs.push(("LASTOUT_TEST_SANDBOX".into(), "1".into()));
    run_targets(console, workspace, &scope, targets, &envs)?;
    let ran = console.tally().passed - before;
    Ok(format!(", {ran} of them unprivileged with the sandbox on"))
}

/// The command that runs a program as an unprivileged user, empty where this process is one; or why a browser
/// cannot run with its sandbox here.
fn unprivileged(
    console: &Console,
    workspace: &Workspace,
    envs: &[(String, OsString)],
) -> Result<Vec<String>, String> {
    let runner = if find::is_root() {
        let setpriv = find::on_path(&["setpriv"]).ok_or("needs setpriv, of util-linux")?;
        let ids = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        let setpriv = std::iter::once(setpriv.to_string_lossy().into_owned());
        setpriv.chain(ids.map(str::to_owned)).collect()
    } else {
        Vec::new()
    };
    let works = |args: &[OsString]| {
        let mut words = runner.iter().map(OsString::from).chain(args.iter().cloned());
        let program = words.next().expect("a runner or a program");
        let cmd = Cmd::new(program).args(words).show(Show::Never);
        cmd.dir("/").run(console).is_ok()
    };
    if !works(&["unshare".into(), "--user".into(), "true".into()]) {
        return Err("an unprivileged user gets no user namespace".into());
    }
    let browsers = envs.iter().map(|(_, program)| PathBuf::from(program));
    let needed = [workspace.root.clone(), workspace.target_dir.clone()].into_iter().chain(browsers);
    for path in needed {
        if !works(&["test".into(), "-x".into(), path.clone().into()]) {
            return Err(format!("an unprivileged user cannot reach {}", path.display()));
        }
    }
    Ok(runner)
}

/// One test for each core: each starts browsers or loads a server, and half of its time waits for them.
///
/// All crates of the scope in one run, with the features that `xtask test` has built them with.
fn run_targets(
    console: &Console,
    workspace: &Workspace,
    scope: &[String],
    targets: &[&str],
    envs: &[(String, OsString)],
) -> Result<()> {
    let nextest = find::cargo_tool("nextest").is_some();
    let mut cmd = if nextest {
        Cmd::cargo()
            .args(["nextest", "run", "--no-fail-fast", "--test-threads", "num-cpus"])
            .count(Runner::Nextest)
    } else {
        Cmd::cargo().args(["test", "--no-fail-fast"]).count(Runner::Libtest)
    };
    cmd = cmd.args(scope).arg("--all-features");
    cmd = cmd.args(targets.iter().flat_map(|target| ["--test", *target]));
    if !nextest {
        cmd = cmd.args(["--", "--test-threads", "1"]);
    }
    cmd.envs(envs).dir(&workspace.root).show(Show::Live).run(console)?;
    Ok(())
}
