//! Formatting, clippy and documentation.

use crate::cli::Flags;
use crate::command::Cmd;
use crate::console::Console;
use crate::find;
use crate::steps::Outcome;
use crate::workspace::Workspace;
use anyhow::Result;

/// `cargo xtask fmt`.
///
/// # Errors
///
/// When a file is not formatted.
pub fn run_fmt(console: &Console, parser: lexopt::Parser) -> Result<()> {
    Flags::parse(parser, &[])?;
    fmt(console, &Workspace::load(console)?).map(|outcome| outcome.report(console))
}

/// `cargo xtask lint`.
///
/// # Errors
///
/// When clippy has something to say.
pub fn run_lint(console: &Console, parser: lexopt::Parser) -> Result<()> {
    Flags::parse(parser, &[])?;
    lint(console, &Workspace::load(console)?).map(|outcome| outcome.report(console))
}

/// `cargo xtask doc`.
///
/// # Errors
///
/// When rustdoc has something to say.
pub fn run_doc(console: &Console, parser: lexopt::Parser) -> Result<()> {
    Flags::parse(parser, &[])?;
    doc(console, &Workspace::load(console)?).map(|outcome| outcome.report(console))
}

/// Checks the formatting of the members, of the peers of the benches, and of what is fuzzed.
pub(crate) fn fmt(console: &Console, workspace: &Workspace) -> Result<Outcome> {
    Cmd::cargo().args(["fmt", "--all", "--check"]).dir(&workspace.root).run(console)?;
    let peers = crate::bench::areas(workspace, true)?;
    let fuzzed = crate::fuzz::folders(workspace);
    for dir in peers.iter().map(|(_, dir)| dir).chain(&fuzzed) {
        let manifest = dir.join("Cargo.toml");
        Cmd::cargo().args(["fmt", "--check", "--manifest-path"]).arg(manifest).run(console)?;
    }
    Ok(Outcome::passed(format!(
        "{} members, {} peer packages, {} to fuzz",
        workspace.packages.len(),
        peers.len(),
        fuzzed.len()
    )))
}

/// Clippy over everything, with all features: each feature alone is the business of `features`.
pub fn lint(console: &Console, workspace: &Workspace) -> Result<Outcome> {
    let clippy = |targets: &[&str]| {
        Cmd::cargo()
            .args(["clippy", "--workspace", "--all-features"])
            .args(targets)
            .args(workspace.without_in_progress())
            .args(["--", "-D", "warnings"])
            .dir(&workspace.root)
            .run(console)
    };
    clippy(&["--all-targets"])?;
    // What a plain test run leaves out, `--all-targets` leaves out as well.
    let targets = workspace.packages.iter().flat_map(|package| &package.targets);
    let left_out = targets.filter(|target| target.kind == "test" && !target.is_tested);
    let mut named: Vec<_> = left_out.flat_map(|target| ["--test", &target.name]).collect();
    named.dedup();
    clippy(&named)?;
    let left_out = workspace.left_out(&Flags::default());
    Ok(Outcome::passed(format!("all targets, all features{left_out}")))
}

/// Documentation as users see it, and as docs.rs will show it where there is a nightly.
pub(crate) fn doc(console: &Console, workspace: &Workspace) -> Result<Outcome> {
    let docs = |cargo: Cmd| {
        cargo
            .args(["doc", "--workspace", "--no-deps", "--all-features", "--exclude", "xtask"])
            .args(workspace.without_in_progress())
            .dir(&workspace.root)
    };
    docs(Cmd::cargo()).env("RUSTDOCFLAGS", "-D warnings").run(console)?;
    if find::nightly(console).is_none() {
        return Ok(Outcome::passed("stable (the docs.rs flavour needs a nightly: not here)"));
    }
    docs(Cmd::nightly_cargo())
        .env("RUSTDOCFLAGS", "-D warnings --cfg lastout_docsrs")
        .env("CARGO_TARGET_DIR", workspace.target_dir.join("nightly-doc"))
        .run(console)?;
    Ok(Outcome::passed("stable, and docs.rs flavour on nightly"))
}
