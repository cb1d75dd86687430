//! A program to run: the only module here that starts one.

use crate::console::{Console, Done, Show};
use crate::tally::Runner;
use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Variables that a person who pastes the command can do without.
const QUIET: &[&str] = &["CARGO_INCREMENTAL", "CARGO_TERM_COLOR", "RUSTUP_AUTO_INSTALL"];

/// A program to run: built up, shown before it runs so that it can be pasted, and waited for.
#[derive(Debug, Clone)]
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(String, OsString)>,
    removed: Vec<&'static str>,
    dir: Option<PathBuf>,
    /// Which test runner's counts are read from its lines.
    pub(crate) counted: Option<Runner>,
    /// When it is killed.
    pub(crate) limit: Option<Duration>,
    /// What happens with its lines.
    pub(crate) show: Show,
}

impl Cmd {
    /// A program, found on `PATH` unless it is a path.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            envs: Vec::new(),
            removed: Vec::new(),
            dir: None,
            counted: None,
            limit: None,
            show: Show::OnFailure,
        }
    }

    /// The cargo that runs us.
    pub fn cargo() -> Self {
        // Colours would hide the words that we look for.
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .env("CARGO_TERM_COLOR", "never")
    }

    /// The cargo of the nightly toolchain, through rustup's proxy.
    pub fn nightly_cargo() -> Self {
        Self::new("cargo")
            .arg("+nightly")
            .env("RUSTUP_AUTO_INSTALL", "0")
            .env("CARGO_TERM_COLOR", "never")
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the child's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Sets variables of the child's environment.
    #[must_use]
    pub fn envs(mut self, envs: &[(String, OsString)]) -> Self {
        self.envs.extend_from_slice(envs);
        self
    }

    /// Flags for rustc, instead of those that the person may have set.
    #[must_use]
    pub fn rustflags(mut self, flags: &str) -> Self {
        self.removed.push("CARGO_ENCODED_RUSTFLAGS");
        self.env("RUSTFLAGS", flags)
    }

    /// Turns incremental compilation off: no later build reuses this one, and writing that state is a fifth of the work.
    #[must_use]
    pub fn once(self) -> Self {
        self.env("CARGO_INCREMENTAL", "0")
    }

    /// Adds the tests that it runs to the count of the closing line.
    #[must_use]
    pub fn count(mut self, runner: Runner) -> Self {
        self.counted = Some(runner);
        self
    }

    /// Runs it in `dir`.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Kills it after `limit`.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Says what happens with its lines; [`Show::OnFailure`] by default.
    #[must_use]
    pub fn show(mut self, show: Show) -> Self {
        self.show = show;
        self
    }

    /// Runs it to its end; an exit that is not 0 is an error that quotes the command.
    ///
    /// # Errors
    ///
    /// When it cannot be started, exits with another code than 0, or runs out of time.
    pub fn run(&self, console: &Console) -> Result<Done> {
        let done = console.run(self)?;
        if done.timed_out {
            bail!("`{self}` was killed after {} s", done.elapsed.as_secs());
        }
        if !done.status.success() {
            bail!("`{self}` ended with {}", done.status);
        }
        Ok(done)
    }

    /// Runs it to its end, however that is.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn try_run(&self, console: &Console) -> Result<Done> {
        console.run(self)
    }

    /// The program as a person would type it: our own cargo is plain `cargo`.
    pub(crate) fn program_name(&self) -> String {
        let is_cargo = Path::new(&self.program).file_name().is_some_and(|name| name == "cargo");
        if is_cargo { "cargo".into() } else { self.program.to_string_lossy().into_owned() }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that starts programs, and waits for them"
    )]
    pub(crate) fn spawn(&self) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.envs.iter().map(|(name, value)| (name, value)));
        for name in &self.removed {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command.spawn().with_context(|| format!("start `{self}`"))
    }
}

impl std::fmt::Display for Cmd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in self.envs.iter().filter(|(name, _)| !QUIET.contains(&name.as_str())) {
            write!(f, "{name}={} ", quoted(&value.to_string_lossy()))?;
        }
        f.write_str(&self.program_name())?;
        for arg in &self.args {
            write!(f, " {}", quoted(&arg.to_string_lossy()))?;
        }
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_an_error_that_quotes_the_command() {
        let console = Console::new();
        let error = Cmd::new("sh").args(["-c", "exit 3"]).show(Show::Never).run(&console);
        assert_eq!(error.unwrap_err().to_string(), "`sh -c 'exit 3'` ended with exit status: 3");
    }

    #[test]
    fn a_program_over_its_time_is_killed_and_said_so() {
        let console = Console::new();
        let cmd = Cmd::new("sleep").arg("600").limit(Duration::from_millis(100)).show(Show::Never);
        assert!(cmd.run(&console).unwrap_err().to_string().contains("was killed after"));
    }

    #[test]
    fn a_descendant_that_keeps_the_pipe_does_not_hang_the_caller() {
        let console = Console::new();
        let script = "sleep 20 & echo $!; exit 0";
        let done = Cmd::new("sh").args(["-c", script]).show(Show::Never).run(&console).unwrap();
        assert!(done.elapsed < Duration::from_secs(20), "waited for the holder of the pipe");
        let pid = done.stdout.trim();
        Cmd::new("kill").arg(pid).show(Show::Never).run(&console).unwrap();
    }

    #[test]
    fn both_outputs_are_kept_apart() {
        let console = Console::new();
        let script = "echo out; echo err >&2";
        let done = Cmd::new("sh").args(["-c", script]).show(Show::Never).run(&console).unwrap();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
    }
}
