//! Tests that run as Windows programs, under Wine.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::provision::apt;
use crate::provision::compilers::{self, Wanted};
use crate::steps::Outcome;
use crate::tally::Runner;
use crate::workspace::{Package, Workspace};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};

const TRIPLE: &str = "x86_64-pc-windows-gnu";
const GCC: &str = "x86_64-w64-mingw32-gcc-posix";
const WINE: &str = "/usr/lib/wine/wine64";

/// The most that the tests of one target may take, far over any honest run.
const LIMIT_S: u32 = 240;

/// What Wine runs of a crate, and with which features.
struct Row {
    folder: &'static str,
    features: &'static str,
    /// The test targets beside the library; all of them, if none is named.
    targets: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row { folder: "cleanup-worker", features: "tokio,tracing", targets: &[] },
    Row { folder: "async-rt", features: "full", targets: &[] },
    Row { folder: "work-runner", features: "sqlite,test-util,tracing", targets: &[] },
    // The other targets test the engine of Linux.
    Row { folder: "proc-tree", features: "serde,tokio", targets: &["job_objects"] },
];

/// The crates of the step of `ci`. The suites of the others take longer than a step may.
const IN_CI: &[&str] = &["cleanup-worker", "proc-tree"];

/// Crates that are type-checked only, with their features: their tests start processes of Linux, or need a server.
const CHECKED: &[(&str, &str)] = &[
    ("output-stream", "blocking,stream,tokio,tracing"),
    ("browser-pool", "test-util,tracing"),
    ("work-runner", "postgres,test-util,tracing"),
];

/// A function of Windows that Wine 8 lacks, and that std imports.
const RANDOM: &str = "\
#include <windows.h>
BOOLEAN WINAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T count) { return SystemFunction036(to, (ULONG)count); }
";

/// `cargo xtask wine [CRATE]`.
///
/// # Errors
///
/// When a test fails.
pub fn run_wine(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME])?;
    let every = |_: &Row| true;
    wine(console, &Workspace::load(console)?, &flags, every).map(|outcome| outcome.report(console))
}

/// The step of `ci`: what it has time for is run, and the other crates are type-checked.
pub(crate) fn wine_in_ci(
    console: &Console,
    workspace: &Workspace,
    flags: &Flags,
) -> Result<Outcome> {
    wine(console, workspace, flags, |row| IN_CI.contains(&row.folder))
}

/// Runs unit and integration tests of the crates that Windows can have so far.
fn wine(
    console: &Console,
    workspace: &Workspace,
    flags: &Flags,
    is_run: impl Fn(&Row) -> bool,
) -> Result<Outcome> {
    let compiler = match compilers::provide(console, workspace, Wanted::WithSources)? {
        Ok(compiler) => compiler,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    if find::on_path(&[GCC]).is_none() || !find::is_program(Path::new(WINE)) {
        if find::on_path(&["apt-get"]).is_none() || !find::is_root() {
            return Ok(Outcome::skipped(
                "needs gcc-mingw-w64-x86-64-posix and wine64: sudo apt-get install both",
            ));
        }
        apt::install(console, &["gcc-mingw-w64-x86-64-posix", "wine64"], "Wine, or its linker,")?;
    }
    let runner = prepare(console, &workspace.target_dir.join("wine"))?;
    let mut done = Vec::new();
    for row in ROWS.iter().filter(|row| is_run(row)) {
        let package = package_in(workspace, row.folder)?;
        if !flags.wants(package) {
            continue;
        }
        let targets = match row.targets {
            [] => vec!["--tests"],
            names => names.iter().flat_map(|name| ["--test", name]).collect(),
        };
        compiler
            .cargo_with_std("test", "std,panic_unwind,test", TRIPLE)
            .args(["--no-fail-fast", "--lib", "--package", &package.name])
            .args(targets)
            .args(["--features", row.features])
            .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", GCC)
            .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", &runner)
            .env("CARGO_TARGET_DIR", workspace.target_dir.join("foreign"))
            .count(Runner::Libtest)
            .dir(&workspace.root)
            .show(Show::Live)
            .run(console)?;
        done.push(row.folder);
    }
    let mut checked = Vec::new();
    // SQLite would have to be compiled: what is checked of its crate anyhow is enough here.
    let is_listed = |row: &&Row| CHECKED.iter().any(|(folder, _)| *folder == row.folder);
    let others = ROWS.iter().filter(|row| !is_run(row) && !is_listed(row));
    let others = others.map(|row| (row.folder, row.features));
    for (folder, features) in CHECKED.iter().copied().chain(others) {
        let package = package_in(workspace, folder)?;
        if !flags.wants(package) {
            continue;
        }
        compiler
            .cargo_with_std("check", "std,panic_unwind,test", TRIPLE)
            .args(["--lib", "--no-default-features", "--features", features])
            .args(["--package", &package.name])
            .env("CARGO_TARGET_DIR", workspace.target_dir.join("foreign"))
            .dir(&workspace.root)
            .run(console)?;
        checked.push(format!("{folder} ({features})"));
    }
    if done.is_empty() && checked.is_empty() {
        bail!(
            "no crate that Windows can have answers to `{}`",
            flags.name.as_deref().unwrap_or_default()
        );
    }
    Ok(Outcome::passed(format!(
        "ran as Windows programs: {}; type-checked: {}",
        done.join(", "),
        checked.join(", ")
    )))
}

fn package_in<'a>(workspace: &'a Workspace, folder: &str) -> Result<&'a Package> {
    let package = workspace.packages.iter().find(|package| package.folder == folder);
    package.with_context(|| format!("there is no crate {folder}"))
}

/// A script that runs a program of Windows, with a Windows of its own.
fn prepare(console: &Console, folder: &Path) -> Result<PathBuf> {
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin).context("make a folder for Wine")?;
    let source = folder.join("random.c");
    std::fs::write(&source, RANDOM)?;
    Cmd::new(GCC)
        .args(["-shared", "-o"])
        .arg(bin.join("bcryptprimitives.dll"))
        .arg(&source)
        .arg("-ladvapi32")
        .run(console)?;
    let path = bin.to_string_lossy().replace('/', "\\");
    // A program whose Wine server has crashed waits for ever.
    let script = format!(
        "#!/bin/sh\n\
         unset LD_LIBRARY_PATH\n\
         export WINEPREFIX='{}' WINEDEBUG=-all WINEPATH='Z:{path}'\n\
         run() {{ timeout --kill-after=5 {LIMIT_S} {WINE} \"$@\"; }}\n\
         run \"$@\"; status=$?\n\
         [ $status -eq 124 ] || exit $status\n\
         echo \"over {LIMIT_S} s, as when the server of Wine crashes: once again\" >&2\n\
         run \"$@\"\n",
        folder.join("prefix").display()
    );
    let runner = folder.join("run");
    std::fs::write(&runner, script)?;
    Cmd::new("chmod").arg("+x").arg(&runner).show(Show::Never).run(console)?;
    Ok(runner)
}
