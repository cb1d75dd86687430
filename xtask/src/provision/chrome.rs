//! Finds Chrome, Chromium and chrome-headless-shell, or installs them.

use crate::command::Cmd;
use crate::console::Console;
use crate::find;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};

const BROWSERS: &[&str] =
    &["google-chrome-stable", "google-chrome", "chromium", "chromium-browser", "chrome"];
const SHELLS: &[&str] = &["chrome-headless-shell", "chromium-headless-shell", "headless_shell"];
/// Where packages put them without a link on `PATH`.
const USUAL: &[&str] =
    &["/opt/google/chrome", "/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/chromium"];

/// The executables.
#[derive(Debug, Clone)]
pub struct Chrome {
    /// The full browser.
    pub browser: PathBuf,
    /// The headless shell, which needs a third of the memory.
    pub headless_shell: Option<PathBuf>,
}

/// Looks for both; `LASTOUT_CHROME` or `CHROME`, and `LASTOUT_CHROME_HEADLESS_SHELL`, come first.
pub fn find() -> (Option<PathBuf>, Option<PathBuf>) {
    (
        named_by(&["LASTOUT_CHROME", "CHROME"]).or_else(|| search(BROWSERS)),
        named_by(&["LASTOUT_CHROME_HEADLESS_SHELL"]).or_else(|| search(SHELLS)),
    )
}

/// Finds both, installing what is missing.
pub(super) fn provide(console: &Console) -> Result<Chrome> {
    refuse_broken_names()?;
    let (browser, shell) = find();
    let missing: Vec<_> =
        [("chromium", browser.is_none()), ("chromium-headless-shell", shell.is_none())]
            .into_iter()
            .filter_map(|(package, is_missing)| is_missing.then_some(package))
            .collect();
    // The shell is a comfort: without apt or rights for it, the browser alone will do.
    if !missing.is_empty()
        && let Err(error) = super::apt::install(console, &missing, "Chrome")
    {
        if browser.is_none() {
            return Err(error);
        }
        console.say(&format!("going on without the headless shell: {error:#}"));
    }
    let (browser, headless_shell) = find();
    let browser = browser.context("Chromium was installed but is not found")?;
    Ok(Chrome { browser, headless_shell })
}

/// The version line of an executable.
pub fn version(console: &Console, program: &Path) -> Option<String> {
    // Without a sandbox flag a root user is refused even this.
    find::version_of(console, &Cmd::new(program).args(["--version", "--no-sandbox"]))
}

fn named_by(variables: &[&str]) -> Option<PathBuf> {
    variables.iter().find_map(|variable| program_in(variable)?)
}

/// What a variable names: nothing when it is unset or empty, else a program or, as the inner `None`,
/// no program. A bare name is looked up on `PATH`.
fn program_in(variable: &str) -> Option<Option<PathBuf>> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty())?;
    let path = PathBuf::from(&value);
    let is_name = path.components().count() == 1;
    let found = if is_name { find::on_path(&[&path.to_string_lossy()]) } else { Some(path) };
    Some(found.filter(|path| find::is_program(path)))
}

/// A variable that names no program is a mistake to report, not to work around.
pub(crate) fn refuse_broken_names() -> Result<()> {
    for variable in ["LASTOUT_CHROME", "CHROME", "LASTOUT_CHROME_HEADLESS_SHELL"] {
        if program_in(variable) == Some(None) {
            let value = std::env::var_os(variable).unwrap_or_default();
            bail!("{variable} names {}, which is no program", Path::new(&value).display());
        }
    }
    Ok(())
}

fn search(names: &[&str]) -> Option<PathBuf> {
    find::on_path(names).or_else(|| {
        USUAL
            .iter()
            .flat_map(|dir| names.iter().map(move |name| Path::new(dir).join(name)))
            .find(|file| find::is_program(file))
    })
}
