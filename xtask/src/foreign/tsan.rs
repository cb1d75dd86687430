//! `ThreadSanitizer` over the tests of the crates with atomics or locks of their own.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::provision::compilers::{self, Wanted};
use crate::steps::Outcome;
use crate::tally::Runner;
use crate::workspace::{Package, Workspace};
use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;

/// The crates, with the test targets that it cannot run: it has no threads after a fork, and it changes what allocates.
const CRATES: &[(&str, &[&str])] =
    &[("cleanup-worker", &["a_fork_makes_two_workers", "allocation"]), ("async-rt", &[])];

/// In a crate: what the sanitizer cannot see in the code of others, each with the reason.
const OF_OTHERS: &str = "tests/races_of_others.supp";

/// `cargo xtask tsan [CRATE]`.
///
/// # Errors
///
/// When the sanitizer finds a race, or a test fails under it.
pub fn run_tsan(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME])?;
    tsan(console, &Workspace::load(console)?, &flags, CRATES).map(|outcome| outcome.report(console))
}

/// The step of `ci`: the crate whose hand-over everything stands on. The other takes longer than a step may.
pub(crate) fn tsan_in_ci(
    console: &Console,
    workspace: &Workspace,
    flags: &Flags,
) -> Result<Outcome> {
    tsan(console, workspace, flags, &CRATES[..1])
}

/// Runs unit and integration tests, with a standard library that is watched as well.
fn tsan(
    console: &Console,
    workspace: &Workspace,
    flags: &Flags,
    crates: &[(&str, &[&str])],
) -> Result<Outcome> {
    let Some(runtime) = runtime(console) else {
        return Ok(Outcome::skipped("needs the sanitizer's runtime of a nightly toolchain"));
    };
    let compiler = match compilers::provide(console, workspace, Wanted::WithSources)? {
        Ok(compiler) => compiler,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    let host = find::host(console).context("ask rustc for the target of this machine")?;
    std::fs::copy(&runtime, compiler.libraries().join("librustc-stable_rt.tsan.a"))
        .context("lend the compiler the runtime of the sanitizer")?;
    let mut done = Vec::new();
    for (folder, left_out) in crates {
        let package = workspace.packages.iter().find(|package| package.folder == *folder);
        let package = package.with_context(|| format!("there is no crate {folder}"))?;
        if !flags.wants(package) {
            continue;
        }
        let stranger =
            left_out.iter().find(|name| package.tests_named(name).all(|target| target != **name));
        if let Some(name) = stranger {
            bail!("{folder} has no test target `{name}` to leave out");
        }
        let targets = package
            .targets
            .iter()
            .filter(|target| target.kind == "test" && target.is_tested)
            .filter(|target| !left_out.contains(&target.name.as_str()))
            .flat_map(|target| ["--test".to_owned(), target.name.clone()]);
        compiler
            .cargo_with_std("test", "std,panic_unwind,test", &host)
            .args(["--no-fail-fast", "--all-features", "--package", &package.name, "--lib"])
            .args(targets)
            .rustflags("-Zsanitizer=thread")
            .env("TSAN_OPTIONS", options(package))
            .env("CARGO_TARGET_DIR", workspace.target_dir.join("tsan"))
            .count(Runner::Libtest)
            .dir(&workspace.root)
            .show(Show::Live)
            .run(console)?;
        done.push(if left_out.is_empty() {
            (*folder).to_owned()
        } else {
            format!("{folder} (without {})", left_out.join(", "))
        });
    }
    if done.is_empty() {
        bail!(
            "no crate with atomics of its own answers to `{}`",
            flags.name.as_deref().unwrap_or_default()
        );
    }
    Ok(Outcome::passed(done.join(", ")))
}

/// Threads that a test leaves blocked on purpose are no race. A request for more memory than there is fails
/// as it does without the sanitizer. What the code of others does is named in a list of the crate.
fn options(package: &Package) -> String {
    let mut options = "report_thread_leaks=0:allocator_may_return_null=1".to_owned();
    let of_others = package.dir.join(OF_OTHERS);
    if of_others.exists() {
        options.push_str(&format!(":suppressions={}", of_others.display()));
    }
    options
}

/// The runtime of the installed nightly: Debian's compiler has none, and uses the same LLVM.
fn runtime(console: &Console) -> Option<PathBuf> {
    let rustc = Cmd::new("rustc").args(["+nightly", "--print", "target-libdir"]);
    let done = rustc.env("RUSTUP_AUTO_INSTALL", "0").show(Show::Never).run(console).ok()?;
    let file = PathBuf::from(done.stdout.trim()).join("librustc-nightly_rt.tsan.a");
    file.is_file().then_some(file)
}
