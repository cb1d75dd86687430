//! Runs the models of the lock-free paths, and the mutants that must make them fail.
//!
//! A crate with `src/model.rs` or `src/model/` is built once under the cfg `lastout_loom`; each model
//! then runs in a process of its own, so that it has its own time and its own bound. A mutant is one
//! environment variable that only such builds read: no rebuild.

use crate::cli::{Flags, NAME};
use crate::command::Cmd;
use crate::console::{Console, Done, Show};
use crate::steps::Outcome;
use crate::tidy::source;
use crate::workspace::{Package, Workspace, text};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// The variable that names the mutant which is on.
const MUTANT: &str = "LASTOUT_MUTANT";
/// Preemptions that a run in `ci` explores; `--preemptions 3` is for a quiet hour.
const PREEMPTIONS: u32 = 2;
/// The most time one model may take at the default bound; it is tens of times what they need.
const LIMIT: Duration = Duration::from_secs(600);
/// The most time a model may take to notice a mutant; one that needs longer is not a model of it.
const MUTANT_LIMIT: Duration = Duration::from_secs(180);

/// `cargo xtask loom [CRATE|MODEL] [--preemptions N]`.
///
/// # Errors
///
/// When a model fails, or none answers to the name.
pub fn run_loom(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME, "preemptions"])?;
    loom(console, &Workspace::load(console)?, &flags).map(|outcome| outcome.report(console))
}

/// `cargo xtask mutants [CRATE|MUTANT]`.
///
/// # Errors
///
/// When a mutant survives, or none answers to the name.
pub fn run_mutants(console: &Console, parser: lexopt::Parser) -> Result<()> {
    let flags = Flags::parse(parser, &[NAME, "preemptions"])?;
    mutants(console, &Workspace::load(console)?, &flags).map(|outcome| outcome.report(console))
}

/// A crate's models, built.
struct Suite {
    crate_name: String,
    program: PathBuf,
    models: Vec<String>,
    mutants: BTreeSet<String>,
}

/// Runs every model that answers to the name.
pub(crate) fn loom(console: &Console, workspace: &Workspace, flags: &Flags) -> Result<Outcome> {
    let bound = flags.preemptions.unwrap_or(PREEMPTIONS);
    let (mut ran, mut failures) = (0, Vec::new());
    for suite in suites(console, workspace, flags)? {
        for model in suite.models.iter().filter(|model| wants(flags, workspace, model)) {
            ran += 1;
            let done = suite.run(console, model, bound, None)?;
            let verdict = verdict(&done);
            let seconds = done.elapsed.as_secs_f64();
            console
                .say(&format!("  {:<10} {seconds:>6.1} s  {} {model}", verdict, suite.crate_name));
            if verdict != PASSED {
                console.complain(&done.stdout);
                console.complain(&done.stderr);
                failures.push(format!("{} {model} {verdict}", suite.crate_name));
            }
        }
    }
    if !failures.is_empty() {
        bail!("{} of {ran} models: {}", failures.len(), failures.join(", "));
    }
    Ok(match (ran, &flags.name) {
        (0, Some(name)) => bail!("no crate with models and no model answers to `{name}`"),
        (0, None) => Outcome::skipped("no crate has models"),
        _ => Outcome::passed(format!(
            "{ran} models at {bound} preemptions{}",
            workspace.left_out(flags)
        )),
    })
}

const PASSED: &str = "passed";

fn verdict(done: &Done) -> &'static str {
    match (done.status.success(), done.timed_out) {
        // A model that is ignored, or that ends the process, has explored nothing.
        (true, _) if !done.stdout.contains("test result: ok. 1 passed") => "DID NOT RUN",
        (true, _) => PASSED,
        (false, true) => "TIMED OUT",
        (false, false) => "FAILED",
    }
}

/// Turns every mutant on in turn and requires a model of its invariant to fail.
pub(crate) fn mutants(console: &Console, workspace: &Workspace, flags: &Flags) -> Result<Outcome> {
    let bound = flags.preemptions.unwrap_or(PREEMPTIONS);
    let (mut ran, mut survivors) = (0, Vec::new());
    for suite in suites(console, workspace, flags)? {
        for mutant in suite.mutants.iter().filter(|mutant| wants(flags, workspace, mutant)) {
            ran += 1;
            match suite.killer_of(console, mutant, bound)? {
                Some(model) => {
                    console.say(&format!("  caught     {} {mutant} by {model}", suite.crate_name));
                }
                None => {
                    console.say(&format!("  SURVIVED   {} {mutant}", suite.crate_name));
                    survivors.push(format!("{} {mutant}", suite.crate_name));
                }
            }
        }
    }
    if !survivors.is_empty() {
        bail!("{} of {ran} mutants survive: {}", survivors.len(), survivors.join(", "));
    }
    Ok(match (ran, &flags.name) {
        (0, Some(name)) => bail!("no crate with mutants and no mutant answers to `{name}`"),
        (0, None) => Outcome::skipped("no crate has mutants"),
        _ => Outcome::passed(format!("{ran} mutants, each caught{}", workspace.left_out(flags))),
    })
}

/// Whether the name asks for this model or mutant: it names its crate, or a part of it.
fn wants(flags: &Flags, workspace: &Workspace, name: &str) -> bool {
    flags.name.as_deref().is_none_or(|wanted| {
        workspace.packages.iter().any(|package| package.answers_to(wanted)) || name.contains(wanted)
    })
}

/// Builds the models of the crates that were asked for; of all, when the name is not a crate's.
fn suites(console: &Console, workspace: &Workspace, flags: &Flags) -> Result<Vec<Suite>> {
    let names_a_crate =
        workspace.packages.iter().any(|package| flags.name.is_some() && flags.wants(package));
    let with_models = workspace.packages.iter().filter(|package| {
        let source = package.dir.join("src");
        source.join("model.rs").is_file() || source.join("model").is_dir()
    });
    with_models
        .filter(|package| !names_a_crate || flags.wants(package))
        .filter(|package| flags.name.is_some() || package.in_progress().is_none())
        .map(|package| Suite::build(console, workspace, package))
        .collect()
}

impl Suite {
    fn build(console: &Console, workspace: &Workspace, package: &Package) -> Result<Self> {
        let done = Cmd::cargo()
            .args([
                "test",
                "--profile",
                "model",
                "--lib",
                "--no-run",
                "--message-format",
                "json-render-diagnostics",
            ])
            .args(["--package", &package.name, "--no-default-features"])
            .args(["--features", &package.setting("model-features").join(",")])
            .rustflags("--cfg lastout_loom")
            .env("CARGO_TARGET_DIR", workspace.target_dir.join("loom"))
            .dir(&workspace.root)
            .run(console)?;
        let program = done.stdout.lines().rev().find_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            (message["reason"] == "compiler-artifact" && message["profile"]["test"] == true)
                .then(|| PathBuf::from(text(&message["executable"])))
        });
        let program = program.with_context(|| format!("{} built no test program", package.name))?;
        let listing = Cmd::new(&program)
            .args(["--list", "--format", "terse"])
            .show(Show::Never)
            .run(console)?;
        let models: Vec<_> = listing
            .stdout
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .filter(|name| name.split("::").any(|part| part == "model"))
            .map(str::to_owned)
            .collect();
        if models.is_empty() {
            bail!("{} has a folder of models and no model in it", package.name);
        }
        let nameless =
            models.iter().find(|model| !model.rsplit("::").next().is_some_and(names_invariant));
        if let Some(model) = nameless {
            bail!(
                "{} {model}: the name of a model begins with its invariant, such as `i3_`",
                package.name
            );
        }
        let mutants = mutants_in(package)?;
        Ok(Self { crate_name: package.name.clone(), program, models, mutants })
    }

    fn run(
        &self,
        console: &Console,
        model: &str,
        bound: u32,
        mutant: Option<&str>,
    ) -> Result<Done> {
        let limit = if mutant.is_some() { MUTANT_LIMIT } else { LIMIT };
        let mut cmd = Cmd::new(&self.program)
            .args(["--exact", model, "--nocapture"])
            .env("LOOM_MAX_PREEMPTIONS", bound.to_string())
            .limit(limit)
            .show(Show::Never);
        if std::env::var_os("LOOM_MAX_BRANCHES").is_none() {
            cmd = cmd.env("LOOM_MAX_BRANCHES", "10000");
        }
        if let Some(mutant) = mutant {
            cmd = cmd.env(MUTANT, mutant);
        }
        cmd.try_run(console)
    }

    /// The first model of the mutant's invariant that fails under it. One that runs out of time has
    /// decided nothing.
    fn killer_of(&self, console: &Console, mutant: &str, bound: u32) -> Result<Option<&str>> {
        let Some(prefix) = invariant(mutant).map(|invariant| format!("{invariant}_")) else {
            bail!("mutant `{mutant}` does not begin with an invariant such as `i3.`");
        };
        let named = |model: &&String| {
            model.rsplit("::").next().is_some_and(|name| name.starts_with(&prefix))
        };
        for model in self.models.iter().filter(named) {
            let done = self.run(console, model, bound, Some(mutant))?;
            if done.status.success() || done.timed_out {
                continue;
            }
            // A model that fails anyway says nothing about the mutant.
            let without = self.run(console, model, bound, None)?;
            if verdict(&without) != PASSED {
                bail!(
                    "{} {model} fails without any mutant: see `cargo xtask loom`",
                    self.crate_name
                );
            }
            return Ok(Some(model));
        }
        Ok(None)
    }
}

/// `i3` of `i3.publish`.
pub(crate) fn invariant(mutant: &str) -> Option<&str> {
    let (invariant, what) = mutant.split_once('.')?;
    let digits = invariant.strip_prefix('i')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !what.is_empty()).then_some(invariant)
}

/// Whether the name of a model is `iN_…`.
fn names_invariant(name: &str) -> bool {
    name.split_once('_').is_some_and(|(head, _)| invariant(&format!("{head}.x")).is_some())
}

/// Every mutant that the sources of a crate mark; a crate without a `sync` module has none to offer.
///
/// # Errors
///
/// When a source file cannot be read, or a mark names no invariant.
pub(crate) fn mutants_in(package: &Package) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let source = package.dir.join("src");
    if !source.join("sync.rs").is_file() && !source.join("sync/mod.rs").is_file() {
        return Ok(found);
    }
    for file in source::files(&source)? {
        for mark in marked(&std::fs::read_to_string(&file)?) {
            if invariant(&mark).is_none() {
                bail!(
                    "{}: mutant `{mark}` names no invariant, such as `i3.{mark}`",
                    file.display()
                );
            }
            found.insert(mark);
        }
    }
    Ok(found)
}

/// The first arguments of `ord("…` and `on("…` in code.
fn marked(text: &str) -> Vec<String> {
    let called = |before: &str, name: &str| {
        let rest = before.trim_end().strip_suffix(name);
        rest.is_some_and(|rest| {
            !rest.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.')
        })
    };
    let strings = source::strings(text);
    let marks =
        strings.into_iter().filter(|(before, _)| called(before, "ord(") || called(before, "on("));
    marks.map(|(_, inside)| inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_found_where_it_is_marked_and_nowhere_else() {
        let text = r#"const Q: char = '"'; let e = "\""; // ord("i9.comment", a, b)
            x.store(1, ord("i1.publish", Release, Relaxed)); if on(
            "i2.recheck") {} condition("i3.no"); self.on("i5.no"); let s = "i4.no"; on("bad")"#;
        assert_eq!(marked(text), ["i1.publish", "i2.recheck", "bad"]);
    }

    #[test]
    fn a_model_that_did_not_run_is_not_passed() {
        assert!(names_invariant("i3_close_strands_nothing"));
        assert!(!names_invariant("inbox_works") && !names_invariant("i3"));
    }

    #[test]
    fn a_mutant_names_its_invariant() {
        assert_eq!(invariant("i12.what"), Some("i12"));
        for bad in ["i.x", "i3", "i3.", "x3.y", "ix.y"] {
            assert_eq!(invariant(bad), None, "{bad}");
        }
    }
}
