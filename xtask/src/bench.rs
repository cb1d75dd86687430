//! Runs the side-by-side benches: packages in `xtask/peers/AREA/`, each with its own lock file.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::provision::{self, Need};
use crate::steps::Outcome;
use crate::tally::Runner;
use crate::workspace::{Workspace, list, text};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// `cargo xtask bench [AREA] [--case TEXT] [--rounds N]`.
///
/// # Errors
///
/// When an area does not build or run, or none answers to the name. A missed bar is shown, not an error.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME, "…"])?;
    if flags.rest.iter().any(|flag| flag.starts_with("--out") || flag == "--one") {
        bail!("the measurements go to target/bench/AREA.json: --out and --one are not for you");
    }
    let workspace = Workspace::load(console)?;
    let areas: Vec<_> = areas(&workspace, false)?
        .into_iter()
        .filter(|(area, _)| flags.name.as_deref().is_none_or(|name| name == area))
        .collect();
    if areas.is_empty() {
        bail!("no bench answers to `{}`", flags.name.as_deref().unwrap_or("anything"));
    }
    // An area that fails costs its own numbers only.
    let mut failures = Vec::new();
    for (area, dir) in &areas {
        match measure(console, &workspace, area, dir, &flags) {
            Ok(verdict) => console.say(&verdict),
            Err(error) => failures.push(format!("{area}: {error:#}")),
        }
    }
    if !failures.is_empty() {
        bail!("{} of {} areas failed:\n{}", failures.len(), areas.len(), failures.join("\n"));
    }
    Ok(())
}

/// Tests the runner that all benches share; compiles the peers when `--with-peers` asks for it.
pub(crate) fn compile(console: &Console, workspace: &Workspace, flags: &Flags) -> Result<Outcome> {
    let runner = workspace.root.join("xtask/peers/runner/Cargo.toml");
    Cmd::cargo()
        .args(["test", "--locked", "--manifest-path"])
        .arg(runner)
        .arg("--target-dir")
        .arg(workspace.target_dir.join("peers"))
        .count(Runner::Libtest)
        .run(console)?;
    if !flags.with_peers {
        return Ok(Outcome::passed("the runner; the peers are compiled only with --with-peers"));
    }
    let areas = areas(workspace, false)?;
    for (_, dir) in &areas {
        build(console, workspace, dir)?;
    }
    Ok(Outcome::passed(format!("the runner, and {} peer packages compile", areas.len())))
}

/// The peer packages: name of the area and folder. The runner they share is one only on request.
pub(crate) fn areas(workspace: &Workspace, with_runner: bool) -> Result<Vec<(String, PathBuf)>> {
    let peers = workspace.root.join("xtask/peers");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&peers).with_context(|| format!("read {}", peers.display()))? {
        let dir = entry.context("read a folder of peers")?.path();
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if dir.join("Cargo.toml").is_file() && (with_runner || name != "runner") {
            found.push((name, dir));
        }
    }
    found.sort();
    Ok(found)
}

/// Builds a package and the packages in its folders: peers that it cannot link and runs as programs,
/// which it finds beside its own. So nothing is built while something is measured.
fn build(console: &Console, workspace: &Workspace, dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let inner = entry.context("read a folder of a peer")?.path();
        if inner.join("Cargo.toml").is_file() {
            build(console, workspace, &inner)?;
        }
    }
    Cmd::cargo()
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(dir.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(workspace.target_dir.join("peers"))
        .run(console)?;
    Ok(())
}

fn measure(
    console: &Console,
    workspace: &Workspace,
    area: &str,
    dir: &Path,
    flags: &Flags,
) -> Result<String> {
    build(console, workspace, dir)?;
    let out = workspace.target_dir.join("bench");
    std::fs::create_dir_all(&out).context("create target/bench")?;
    let out = out.join(format!("{area}.json"));
    // A run that measures nothing must not show the numbers of the last one.
    if out.exists() {
        std::fs::remove_file(&out).with_context(|| format!("remove {}", out.display()))?;
    }
    let provided = provision::provide(console, &needs_of(console, dir)?, true)?;
    let measured = Cmd::cargo()
        .args(["run", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(dir.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(workspace.target_dir.join("peers"))
        .args(["--", "--out"])
        .arg(&out)
        .args(&flags.rest)
        .envs(provided.envs())
        .dir(&workspace.root)
        .show(Show::Live)
        .run(console);
    provided.shutdown()?;
    measured?;
    if flags.rest.iter().any(|flag| flag == "--list") {
        return Ok(String::new());
    }
    let json = std::fs::read_to_string(&out).with_context(|| format!("read {}", out.display()))?;
    verdict(area, &serde_json::from_str(&json).context("read the measurements")?, &out)
}

/// What a package needs, from `[package.metadata.lastout] needs = ["chrome"]` in its manifest.
fn needs_of(console: &Console, dir: &Path) -> Result<Vec<Need>> {
    let package = Workspace::load_from(console, dir)?.packages.into_iter().next();
    let words = package.map(|package| package.setting("needs")).unwrap_or_default();
    words
        .iter()
        .map(|word| {
            Need::named(word).with_context(|| format!("{}: unknown need `{word}`", dir.display()))
        })
        .collect()
}

/// One line: how many bars are met, and which are not.
fn verdict(area: &str, rows: &Value, out: &Path) -> Result<String> {
    let bars: Vec<_> = list(rows).filter(|row| row["bar"].is_object()).collect();
    if list(rows).next().is_none() {
        bail!("{area} measured nothing");
    }
    let missed: Vec<_> =
        bars.iter().filter(|row| row["met"] != true).map(|row| text(&row["case"])).collect();
    let mut line = format!(
        "\nbench {area}: {} of {} bars met; {}",
        bars.len() - missed.len(),
        bars.len(),
        out.display()
    );
    if !missed.is_empty() {
        line.push_str(&format!("\nmissed: {}", missed.join("; ")));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_names_every_missed_bar() {
        let rows = serde_json::json!([
            { "case": "a", "bar": { "against": "floor", "max": 1.5 }, "met": true },
            { "case": "b", "bar": { "against": "floor", "max": 1.5 }, "met": false },
            { "case": "c" },
        ]);
        let line = verdict("x", &rows, Path::new("x.json")).unwrap();
        assert!(line.contains("1 of 2 bars met") && line.ends_with("missed: b"), "{line}");
        assert!(verdict("x", &serde_json::json!([]), Path::new("x.json")).is_err());
    }
}
