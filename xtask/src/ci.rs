//! Everything CI runs, in one list.

use crate::cli::Flags;
use crate::console::Console;
use crate::e2e::Runs;
use crate::provision::Need;
use crate::steps::Steps;
use crate::workspace::Workspace;
use crate::{
    bench, checks, dependencies, e2e, extras, features, foreign, models, package, tests_step, tidy,
};
use anyhow::Result;

/// `cargo xtask ci`. The last line counts the tests, in the form that CI services read.
///
/// # Errors
///
/// When a step failed.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &["keep-going", "without", "only", "with-peers"])?;
    let workspace = &Workspace::load(console)?;
    let mut steps = Steps::new(console, flags.keep_going, flags.only.clone());
    // The cheap ones first: a typo should not wait for a browser.
    steps.run("fmt", || checks::fmt(console, workspace));
    steps.run("tidy", || tidy::tidy(workspace));
    steps.run("deps", || dependencies::dependencies(console, workspace));
    steps.run("lint", || checks::lint(console, workspace));
    steps.run("test", || tests_step::tests(console, workspace, &flags));
    steps.run("doc", || checks::doc(console, workspace));
    steps.run("features", || features::features(console, workspace, &flags));
    steps.run("msrv", || foreign::msrv(console, workspace));
    steps.run("targets", || foreign::targets(console, workspace, &flags));
    steps.run("wine", || foreign::wine_in_ci(console, workspace, &flags));
    steps.run("package", || package::package(console, workspace));
    steps.run("loom", || models::loom(console, workspace, &flags));
    steps.run("mutants", || models::mutants(console, workspace, &flags));
    steps.run("tsan", || foreign::tsan_in_ci(console, workspace, &flags));
    steps.run("chrome", || e2e::e2e(console, workspace, &flags, Need::Chrome, Runs::Once));
    steps.run("postgres", || e2e::e2e(console, workspace, &flags, Need::Postgres, Runs::Once));
    steps.run("hack", || extras::hack(console, workspace));
    steps.run("deny", || extras::deny(console, workspace));
    steps.run("typos", || extras::typos(console, workspace));
    steps.run("counts", || extras::counts(console, workspace));
    steps.run("peers", || bench::compile(console, workspace, &flags));
    let result = steps.finish();
    console.say(&format!("\n{}", console.tally()));
    result
}
