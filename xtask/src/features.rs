//! Each crate alone: without features, with each one, with all; and from outside the workspace.
//!
//! Pairs are the business of `hack`. Warnings count as failures: an import that only one feature uses is
//! a defect.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::steps::Outcome;
use crate::workspace::{Package, Workspace};
use anyhow::{Context as _, Result, bail};
use std::path::Path;

/// `cargo xtask features [CRATE]`; with `--cost`, what each feature of the façade costs instead.
///
/// # Errors
///
/// When a combination does not build, or builds with a warning.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME, "cost"])?;
    if flags.cost {
        return crate::cost::print(console, &Workspace::load(console)?);
    }
    features(console, &Workspace::load(console)?, &flags).map(|outcome| outcome.report(console))
}

/// Checks every combination and lists all that fail.
pub fn features(console: &Console, workspace: &Workspace, flags: &Flags) -> Result<Outcome> {
    let (mut checked, mut failures) = (0, Vec::new());
    for package in workspace.checked_libraries(flags) {
        for combination in combinations(package) {
            checked += 1;
            if let Err(error) = check(console, workspace, package, &combination) {
                failures.push(format!(
                    "{} with {}: {error:#}",
                    package.name,
                    combination.join(" ")
                ));
            }
        }
        if let Err(error) = from_outside(console, workspace, package) {
            failures.push(format!("{} from a package outside: {error:#}", package.name));
        }
    }
    if !failures.is_empty() {
        bail!("{} combinations do not build cleanly:\n{}", failures.len(), failures.join("\n"));
    }
    if checked == 0 {
        bail!("no crate answers to `{}`", flags.name.as_deref().unwrap_or_default());
    }
    Ok(Outcome::passed(format!(
        "{checked} combinations, and each crate from outside{}",
        workspace.left_out(flags)
    )))
}

/// The flags of `cargo check` for no feature, each feature, and all.
fn combinations(package: &Package) -> Vec<Vec<String>> {
    let alone = |name: &str| vec!["--no-default-features".into(), "--features".into(), name.into()];
    let mut all = vec![vec!["--no-default-features".into()]];
    all.extend(package.features.keys().map(|name| alone(name)));
    all.push(vec!["--all-features".into()]);
    all
}

fn check(
    console: &Console,
    workspace: &Workspace,
    package: &Package,
    combination: &[String],
) -> Result<()> {
    let done = Cmd::cargo()
        .args(["check", "--lib", "--package", &package.name])
        .args(combination)
        .dir(&workspace.root)
        .run(console)?;
    refuse_warnings(&done.stderr)
}

/// Cargo repeats the warnings of a cached build, so its output alone decides.
fn refuse_warnings(stderr: &str) -> Result<()> {
    match stderr.lines().find(|line| line.starts_with("warning: ")) {
        Some(warning) => bail!("{warning}"),
        None => Ok(()),
    }
}

/// Builds a package outside the workspace that depends on this crate alone, by path.
fn from_outside(console: &Console, workspace: &Workspace, package: &Package) -> Result<()> {
    let dir = workspace.target_dir.join("outside").join(&package.folder);
    std::fs::create_dir_all(dir.join("src")).context("create the outside package")?;
    let write = |name: &str, text: String| {
        std::fs::write(dir.join(name), text).with_context(|| format!("write {name}"))
    };
    write("Cargo.toml", outside_manifest(&package.name, &package.dir))?;
    write("src/lib.rs", format!("pub use {} as it;\n", package.name.replace('-', "_")))?;
    // The same versions as everywhere else, so that nothing is resolved anew.
    std::fs::copy(workspace.root.join("Cargo.lock"), dir.join("Cargo.lock"))
        .context("copy the lock file")?;
    Cmd::cargo()
        .arg("check")
        .dir(&dir)
        .env("CARGO_TARGET_DIR", &workspace.target_dir)
        .show(Show::OnFailure)
        .run(console)?;
    Ok(())
}

fn outside_manifest(name: &str, dir: &Path) -> String {
    format!(
        "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [profile.dev]\ndebug = \"line-tables-only\"\n\n\
         [dependencies]\n{name} = {{ path = {:?}, default-features = false }}\n",
        dir.to_string_lossy()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_checked_alone_and_with_all() {
        let workspace = Workspace::load(&Console::new()).unwrap();
        let mut package = workspace.packages[0].clone();
        package.features = [("a".into(), vec![]), ("b".into(), vec!["a".into()])].into();
        let lines: Vec<_> = combinations(&package).iter().map(|flags| flags.join(" ")).collect();
        assert_eq!(lines[0], "--no-default-features");
        assert_eq!(
            lines[1..3],
            ["--no-default-features --features a", "--no-default-features --features b"]
        );
        assert_eq!(lines[3], "--all-features");
    }

    #[test]
    fn a_warning_is_a_failure() {
        assert!(refuse_warnings("   Compiling x\nwarning: unused import: `y`\n").is_err());
        assert!(refuse_warnings("   Compiling warning-free v1.0\n").is_ok());
    }
}
