//! libFuzzer over what reads bytes of others: the packages in `CRATE/fuzz/`, each with its own lock file.
//!
//! They are laid out as `cargo fuzz` wants them, and need no more than a nightly compiler and one for C++.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::steps::Outcome;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};

/// How long each target runs unless it is said.
const SECONDS: u64 = 60;

/// What makes the compiler count the places that an input reaches.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// `cargo xtask fuzz [SECONDS]`.
///
/// # Errors
///
/// When an input breaks a target; the input is in `target/fuzz/found/`.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME])?;
    let seconds = match &flags.name {
        Some(word) => word.parse().with_context(|| format!("`{word}` is no number of seconds"))?,
        None => SECONDS,
    };
    // libFuzzer takes none as no limit.
    anyhow::ensure!(seconds > 0, "a target runs for one second at least");
    fuzz(console, &Workspace::load(console)?, seconds).map(|outcome| outcome.report(console))
}

/// Runs every target for this long.
fn fuzz(console: &Console, workspace: &Workspace, seconds: u64) -> Result<Outcome> {
    if find::nightly(console).is_none() {
        return Ok(Outcome::skipped("needs a nightly toolchain, which is not installed"));
    }
    if find::on_path(&["c++"]).is_none() {
        return Ok(Outcome::skipped("needs a compiler for C++, which is not installed"));
    }
    let host = find::host(console).context("ask rustc for the target of this machine")?;
    let target_dir = workspace.target_dir.join("fuzz");
    let mut done = Vec::new();
    for dir in folders(workspace) {
        Cmd::nightly_cargo()
            .args(["build", "--release", "--locked", "--target", &host, "--manifest-path"])
            .arg(dir.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target_dir)
            .rustflags(COVERAGE)
            .dir(&workspace.root)
            .run(console)?;
        for name in targets(&dir)? {
            let program = target_dir.join(&host).join("release").join(&name);
            run_target(console, &program, &dir.join("seeds").join(&name), &target_dir, seconds)?;
            done.push(name);
        }
    }
    if done.is_empty() {
        bail!("no crate has a package to fuzz");
    }
    Ok(Outcome::passed(format!("{}: {seconds} s each", done.join(", "))))
}

/// The packages that are fuzzed.
pub(crate) fn folders(workspace: &Workspace) -> Vec<PathBuf> {
    let folders = workspace.packages.iter().map(|package| package.dir.join("fuzz"));
    folders.filter(|dir| dir.join("Cargo.toml").is_file()).collect()
}

/// The targets of a package, by the names of their files.
fn targets(dir: &Path) -> Result<Vec<String>> {
    let dir = dir.join("fuzz_targets");
    let entries = std::fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.context("read a folder of fuzz targets")?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn run_target(
    console: &Console,
    program: &Path,
    seeds: &Path,
    target_dir: &Path,
    seconds: u64,
) -> Result<()> {
    let folder = |name: &str| -> Result<PathBuf> {
        let path = target_dir.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    };
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    // What it finds is kept between runs, in the first folder.
    let corpus = folder(&format!("corpus/{name}"))?;
    let found = folder("found")?;
    Cmd::new(program)
        .arg(corpus)
        .arg(seeds)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-timeout=10", "-only_ascii=1", "-print_final_stats=1"])
        .show(Show::OnFailure)
        .run(console)?;
    Ok(())
}
