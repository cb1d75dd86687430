//! Type checks for systems that cannot be run here.

use super::features_without;
use crate::cli::{Flags, NAME};
use crate::console::Console;
use crate::provision::compilers::{self, Wanted};
use crate::steps::Outcome;
use crate::workspace::Workspace;
use anyhow::{Result, bail};

/// A system, and what is not there for it: crates, and features as `crate/feature`.
struct Target {
    name: &'static str,
    triple: &'static str,
    left_out: &'static [&'static str],
}

/// The features that are built from C, which would take a compiler for each system: SQLite, and the
/// cryptography of TLS.
const NEED_C: &[&str] = &["sqlite", "tls"];

/// Everything that owns processes.
const PROCESSES: &[&str] =
    &["proc-tree", "output-stream/process", "browser-pool/chrome", "work-runner/process", "facade"];

/// What makes no call of the C library itself, and has the most dependencies: ARM Linux checks it.
const ABOVE_C: &[&str] = &["browser-pool/chrome", "facade"];

const TARGETS: &[Target] = &[
    Target { name: "ARM Linux", triple: "aarch64-unknown-linux-gnu", left_out: &[] },
    Target { name: "Alpine", triple: "x86_64-unknown-linux-musl", left_out: ABOVE_C },
    Target { name: "macOS", triple: "aarch64-apple-darwin", left_out: PROCESSES },
];

/// `cargo xtask targets [CRATE]`.
///
/// # Errors
///
/// When a crate does not compile for a system.
pub fn run_targets(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME])?;
    targets(console, &Workspace::load(console)?, &flags).map(|outcome| outcome.report(console))
}

/// Checks every library for every system, with the features that need no C compiler for it.
pub(crate) fn targets(console: &Console, workspace: &Workspace, flags: &Flags) -> Result<Outcome> {
    let compiler = match compilers::provide(console, workspace, Wanted::WithSources)? {
        Ok(compiler) => compiler,
        Err(why) => return Ok(Outcome::skipped(why)),
    };
    let mut done = Vec::new();
    for target in TARGETS {
        let is_there = |name: &str| !target.left_out.contains(&name);
        let packages: Vec<_> = workspace
            .checked_libraries(flags)
            .filter(|package| is_there(&package.folder))
            .collect();
        if packages.is_empty() {
            continue;
        }
        // What is left out would come back where cargo joins the features of crates that it checks together.
        let together = if target.left_out.is_empty() { packages.len() } else { 1 };
        for packages in packages.chunks(together) {
            let features = packages.iter().flat_map(|package| {
                let parts = target.left_out.iter().filter_map(|name| name.split_once('/'));
                let of_this = parts.filter(|(folder, _)| *folder == package.folder);
                let mut left_out = NEED_C.to_vec();
                left_out.extend(of_this.map(|(_, name)| name));
                let names = features_without(package, &left_out);
                names.into_iter().map(|name| format!("{}/{name}", package.name))
            });
            compiler
                .cargo_with_std("check", "std,panic_unwind", target.triple)
                .args(["--lib", "--no-default-features", "--features"])
                .arg(features.collect::<Vec<_>>().join(","))
                .args(packages.iter().flat_map(|package| ["--package", &package.name]))
                .env("CARGO_TARGET_DIR", workspace.target_dir.join("foreign"))
                .dir(&workspace.root)
                .run(console)?;
        }
        let without = match target.left_out {
            [] => String::new(),
            names => format!(" (without {})", names.join(", ")),
        };
        done.push(format!("{}: {} crates{without}", target.name, packages.len()));
    }
    if done.is_empty() {
        bail!(
            "no crate that they can have answers to `{}`",
            flags.name.as_deref().unwrap_or_default()
        );
    }
    Ok(Outcome::passed(format!(
        "type-checked, not run, with {}: {}",
        compiler.version,
        done.join(", ")
    )))
}
