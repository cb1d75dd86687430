//! The oldest compiler: every library and feature, with a lock file of its own.

use crate::command::Cmd;
use crate::console::Console;
use crate::find;
use crate::provision::compilers::{self, Wanted};
use crate::steps::Outcome;
use crate::workspace::{Package, Workspace};
use anyhow::{Context as _, Result};
use std::path::Path;

/// What a library is made of, beside its manifest.
const PARTS: &[&str] = &["src", "build.rs", "helper", "README.md"];

/// Checks the libraries with exactly the version that `rust-version` names.
///
/// Dependencies are resolved anew for that version, and those of the tests are left out: what is tested is never
/// lowered for it.
pub(crate) fn msrv(console: &Console, workspace: &Workspace) -> Result<Outcome> {
    let minimum = &minimum(workspace)?;
    let (cargo, version) = match named(console, minimum) {
        Some(found) => found,
        None => match compilers::provide(console, workspace, Wanted::Version(minimum))? {
            Ok(compiler) => (compiler.cargo(), compiler.version),
            Err(why) => return Ok(Outcome::skipped(format!("no rustc {minimum}: {why}"))),
        },
    };
    let copy = workspace.target_dir.join("msrv/workspace");
    lay_out(workspace, &copy)?;
    let cargo = cargo
        .env("CARGO_TARGET_DIR", workspace.target_dir.join("msrv/target"))
        .env("CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS", "fallback")
        .dir(&copy);
    // The lock file of an earlier run would keep versions that another minimum asked for.
    cargo.clone().arg("update").run(console)?;
    for features in ["--no-default-features", "--all-features"] {
        cargo.clone().args(["check", "--workspace", "--lib", "--bins", features]).run(console)?;
    }
    let count = workspace.libraries().count();
    Ok(Outcome::passed(format!(
        "{count} crates and the command, without features and with all, by rustc {version}"
    )))
}

/// The `rust-version` of the workspace.
///
/// # Errors
///
/// When the root manifest has none.
fn minimum(workspace: &Workspace) -> Result<String> {
    let manifest = std::fs::read_to_string(workspace.root.join("Cargo.toml"))
        .context("read the root manifest")?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \""));
    let version = line.and_then(|rest| rest.strip_suffix('"'));
    Ok(version.context("the root manifest has no rust-version")?.to_owned())
}

/// The toolchain of that version, where rustup has it.
fn named(console: &Console, minimum: &str) -> Option<(Cmd, String)> {
    let cargo = Cmd::new("cargo")
        .once()
        .arg(format!("+{minimum}"))
        .env("RUSTUP_AUTO_INSTALL", "0")
        .env("CARGO_TERM_COLOR", "never");
    let line = find::version_of(console, &cargo.clone().arg("--version"))?;
    Some((cargo, line.split(' ').nth(1)?.to_owned()))
}

/// A workspace of the libraries alone, which shares their sources.
fn lay_out(workspace: &Workspace, copy: &Path) -> Result<()> {
    let manifest = std::fs::read_to_string(workspace.root.join("Cargo.toml"))?;
    write(&copy.join("Cargo.toml"), &manifest.replace("    \"xtask\",\n", ""))?;
    for package in workspace.libraries() {
        share(package, &copy.join(&package.folder))?;
    }
    Ok(())
}

fn share(package: &Package, folder: &Path) -> Result<()> {
    let manifest = std::fs::read_to_string(package.dir.join("Cargo.toml"))?;
    write(&folder.join("Cargo.toml"), &for_users(&manifest))?;
    for part in PARTS {
        let (from, to) = (package.dir.join(part), folder.join(part));
        if from.exists() && to.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(&from, &to)
                .with_context(|| format!("link {}", to.display()))?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// A manifest without what only tests, benches and examples need.
fn for_users(manifest: &str) -> String {
    let is_for_tests = |header: &str| {
        header.contains("dev-dependencies")
            || ["[[test]]", "[[bench]]", "[[example]]"].contains(&header)
    };
    let mut kept = true;
    let mut text = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            kept = !is_for_tests(line.trim());
        }
        if kept {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_for_users_has_nothing_for_tests() {
        let manifest = "[package]\nname = \"a\"\n[dev-dependencies]\nx = \"1\"\n[[test]]\nname = \"t\"\n[lints]\nworkspace = true\n";
        assert_eq!(for_users(manifest), "[package]\nname = \"a\"\n[lints]\nworkspace = true\n");
    }
}
