//! Runs a list of checks and ends with a table: step, time, result.
//!
//! A skipped step names its reason, a failed one its first sentence, and nothing is silent.

use crate::console::Console;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// How a step ended when it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// It passed; the text says what was covered, in a few words.
    Passed(String),
    /// It could not run here; the text is the reason.
    Skipped(String),
}

impl Outcome {
    /// Passed, with a few words.
    pub fn passed(what: impl Into<String>) -> Self {
        Self::Passed(what.into())
    }

    /// Skipped, with the reason.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self::Skipped(why.into())
    }

    /// Prints the outcome of a command that was run by itself.
    pub fn report(self, console: &Console) {
        match self {
            Self::Passed(what) => console.say(&format!("passed: {what}")),
            Self::Skipped(why) => console.say(&format!("SKIPPED: {why}")),
        }
    }
}

#[derive(Debug)]
struct Row {
    name: String,
    elapsed: Duration,
    result: Result<Outcome, String>,
}

/// The steps run so far.
#[derive(Debug)]
pub struct Steps<'a> {
    console: &'a Console,
    keep_going: bool,
    only: Vec<String>,
    /// Every name that was offered, run or not.
    names: Vec<String>,
    rows: Vec<Row>,
}

impl<'a> Steps<'a> {
    /// An empty list; with `only`, steps of other names are not run and not listed.
    pub fn new(console: &'a Console, keep_going: bool, only: Vec<String>) -> Self {
        Self { console, keep_going, only, names: Vec::new(), rows: Vec::new() }
    }

    /// Runs one step, unless an earlier one failed and the list does not keep going.
    pub fn run(&mut self, name: &str, step: impl FnOnce() -> Result<Outcome>) {
        self.names.push(name.into());
        if !self.only.is_empty() && !self.only.iter().any(|wanted| wanted == name) {
            return;
        }
        let is_told = self.console.told().is_some();
        if is_told || (self.has_failed() && !self.keep_going) {
            let why = Outcome::skipped(if is_told {
                "told to end"
            } else {
                "an earlier step failed (--keep-going runs it all the same)"
            });
            self.rows.push(Row { name: name.into(), elapsed: Duration::ZERO, result: Ok(why) });
            return;
        }
        self.console.say(&format!("\n== {name}"));
        let started = Instant::now();
        let result = step().map_err(|error| format!("{error:#}"));
        let elapsed = started.elapsed();
        if let Err(error) = &result {
            self.console.complain(&format!("{name} failed: {error}"));
        }
        self.rows.push(Row { name: name.into(), elapsed, result });
    }

    fn has_failed(&self) -> bool {
        self.rows.iter().any(|row| row.result.is_err())
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut text = format!("\n{:<12} {:>8}  result\n", "step", "time");
        for Row { name, elapsed, result } in &self.rows {
            let result = match result {
                Ok(Outcome::Passed(what)) => format!("passed   {what}"),
                Ok(Outcome::Skipped(why)) => format!("SKIPPED  {why}"),
                Err(error) => {
                    format!("FAILED   {}", error.lines().next().unwrap_or_default())
                }
            };
            text.push_str(&format!("{name:<12} {:>6.1} s  {result}\n", elapsed.as_secs_f64()));
        }
        let total: Duration = self.rows.iter().map(|row| row.elapsed).sum();
        text.push_str(&format!("{:<12} {:>6.1} s", "total", total.as_secs_f64()));
        text
    }

    /// Prints the table and the failures.
    ///
    /// # Errors
    ///
    /// When a step failed, or none ran.
    pub fn finish(self) -> Result<()> {
        self.console.say(&self.table());
        let failures: Vec<_> = self.rows.iter().filter(|row| row.result.is_err()).collect();
        for Row { name, result, .. } in &failures {
            if let Err(error) = result {
                self.console.complain(&format!("\n{name} failed: {error}"));
                self.console.complain(&format!("  to see it alone: cargo xtask ci --only {name}"));
            }
        }
        if let Some(stranger) = self.only.iter().find(|name| !self.names.contains(name)) {
            bail!("there is no step `{stranger}`; there are {}", self.names.join(", "));
        }
        if !failures.is_empty() {
            let names: Vec<_> = failures.iter().map(|row| row.name.as_str()).collect();
            bail!("{} of {} steps failed: {}", names.len(), self.rows.len(), names.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_ends_the_list_unless_it_keeps_going() {
        let console = Console::new();
        for (keep_going, ran) in [(false, false), (true, true)] {
            let mut steps = Steps::new(&console, keep_going, Vec::new());
            let mut second_ran = false;
            steps.run("first", || bail!("broken on purpose"));
            steps.run("second", || {
                second_ran = true;
                Ok(Outcome::passed("x"))
            });
            assert_eq!(second_ran, ran);
            assert!(steps.table().contains("FAILED   broken on purpose"));
            assert!(
                steps.finish().unwrap_err().to_string().starts_with("1 of 2 steps failed: first")
            );
        }
    }

    #[test]
    fn a_skip_is_listed_with_its_reason_and_fails_nothing() {
        let console = Console::new();
        let mut steps = Steps::new(&console, false, Vec::new());
        steps.run("asan", || Ok(Outcome::skipped("no nightly")));
        assert!(steps.table().contains("SKIPPED  no nightly"));
        assert!(steps.finish().is_ok());
    }

    #[test]
    fn a_name_that_no_step_has_is_an_error() {
        let console = Console::new();
        let mut steps = Steps::new(&console, false, vec!["fmt".into(), "bogus".into()]);
        steps.run("fmt", || Ok(Outcome::passed("x")));
        assert!(steps.finish().is_err());
    }
}
