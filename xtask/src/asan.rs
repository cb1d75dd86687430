//! Nightly AddressSanitizer, with leak detection, over the crates that have unsafe code.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::steps::Outcome;
use crate::tally::Runner;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};

/// In a crate: what its tests leak on purpose, each named by a function of the test.
const ON_PURPOSE: &str = "tests/leaks_on_purpose.supp";

/// `cargo xtask asan [CRATE]`.
///
/// # Errors
///
/// When the sanitizer finds something, or a test fails under it.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME])?;
    asan(console, &Workspace::load(console)?, &flags).map(|outcome| outcome.report(console))
}

/// Runs unit and integration tests of every crate with an unsafe budget.
pub(crate) fn asan(console: &Console, workspace: &Workspace, flags: &Flags) -> Result<Outcome> {
    if find::nightly(console).is_none() {
        return Ok(Outcome::skipped("needs a nightly toolchain, which is not installed"));
    }
    let host = find::host(console).context("ask rustc for the target of this machine")?;
    let packages: Vec<_> = workspace
        .packages
        .iter()
        .filter(|package| package.has_unsafe() && flags.wants(package))
        .collect();
    if packages.is_empty() {
        match &flags.name {
            Some(name) => bail!("no crate with unsafe code answers to `{name}`"),
            None => return Ok(Outcome::skipped("no crate has unsafe code")),
        }
    }
    for package in &packages {
        let mut cargo = Cmd::nightly_cargo();
        let on_purpose = package.dir.join(ON_PURPOSE);
        if on_purpose.exists() {
            cargo = cargo.env("LSAN_OPTIONS", format!("suppressions={}", on_purpose.display()));
        }
        cargo
            .args(["test", "--no-fail-fast", "--all-features", "--lib", "--tests"])
            .args(["--package", &package.name, "--target", &host])
            .rustflags("-Zsanitizer=address")
            // A request for more memory than there is fails as it does without the sanitizer.
            .env("ASAN_OPTIONS", "detect_leaks=1:allocator_may_return_null=1")
            .count(Runner::Libtest)
            .env("CARGO_TARGET_DIR", workspace.target_dir.join("asan"))
            .dir(&workspace.root)
            .show(Show::Live)
            .run(console)?;
    }
    let names: Vec<_> = packages.iter().map(|package| package.folder.as_str()).collect();
    Ok(Outcome::passed(format!("{} with leak detection", names.join(", "))))
}
