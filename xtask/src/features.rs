//! Each crate alone: without features, with each one, with all.
//!
//! Pairs are the business of `hack`; packages outside of the workspace are a test of the façade. Warnings count as failures: an import that only one feature uses is
//! a defect.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::Console;
use crate::steps::Outcome;
use crate::workspace::{Package, Workspace};
use anyhow::{Result, bail};

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
    }
    if !failures.is_empty() {
        bail!("{} combinations do not build cleanly:\n{}", failures.len(), failures.join("\n"));
    }
    if checked == 0 {
        bail!("no crate answers to `{}`", flags.name.as_deref().unwrap_or_default());
    }
    Ok(Outcome::passed(format!("{checked} combinations{}", workspace.left_out(flags))))
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
        .once()
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
