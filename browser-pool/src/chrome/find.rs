//! Finding a browser executable: what the user says, the environment, `PATH`, the usual places.

use crate::error::LaunchError;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Which kind of browser to use when more than one is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// A headless shell when one is found, otherwise a full browser: the shell has fewer processes and
    /// needs less memory, since it opens no window.
    #[default]
    Auto,
    /// `chrome-headless-shell` only.
    HeadlessShell,
    /// Chrome or Chromium only: extensions, PDF viewing, and all that a window can do.
    Full,
}

/// A browser executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    path: PathBuf,
    is_shell: bool,
}

/// Environment variable that names a headless shell.
const SHELL_VARIABLE: &str = "LASTOUT_CHROME_HEADLESS_SHELL";
/// Environment variable that names a browser of any kind.
const VARIABLE: &str = "LASTOUT_CHROME";

const SHELL_NAMES: &[&str] =
    &["chrome-headless-shell", "chromium-headless-shell", "headless_shell"];

const FULL_NAMES: &[&str] =
    &["google-chrome-stable", "google-chrome", "chromium", "chromium-browser", "chrome"];

const USUAL_PLACES: &[&str] = &[
    "/usr/bin",
    "/usr/local/bin",
    "/usr/lib/chromium",
    "/usr/lib64/chromium-browser",
    "/opt/google/chrome",
    "/opt/chrome-headless-shell",
    "/snap/bin",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

impl Executable {
    /// This file, whatever its name; whether it is a headless shell is read from the name.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_shell = name.contains("headless-shell") || name.contains("headless_shell");
        Self { path, is_shell }
    }

    /// Finds one for this engine.
    ///
    /// `LASTOUT_CHROME_HEADLESS_SHELL` and `LASTOUT_CHROME` come first and are not overruled: a
    /// variable that names no executable is an error.
    ///
    /// # Errors
    ///
    /// [`LaunchError::NotFound`] with every place that was looked at.
    pub fn find(engine: Engine) -> Result<Self, LaunchError> {
        search(engine, |name| std::env::var_os(name), is_executable)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a headless shell.
    pub fn is_headless_shell(&self) -> bool {
        self.is_shell
    }
}

fn is_executable(path: &Path) -> bool {
    let metadata = path.metadata();
    metadata.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The search itself, over any environment and file system.
fn search(
    engine: Engine,
    variable: impl Fn(&str) -> Option<OsString>,
    exists: impl Fn(&Path) -> bool,
) -> Result<Executable, LaunchError> {
    let variables: &[&str] = match engine {
        Engine::Auto => &[SHELL_VARIABLE, VARIABLE],
        Engine::HeadlessShell => &[SHELL_VARIABLE],
        Engine::Full => &[VARIABLE],
    };
    for name in variables {
        if let Some(path) = variable(name).filter(|path| !path.is_empty()).map(PathBuf::from) {
            return if exists(&path) {
                Ok(Executable::at(path))
            } else {
                Err(LaunchError::NotFound { searched: vec![path] })
            };
        }
    }
    let names: Vec<_> = match engine {
        Engine::Auto => SHELL_NAMES.iter().chain(FULL_NAMES).collect(),
        Engine::HeadlessShell => SHELL_NAMES.iter().collect(),
        Engine::Full => FULL_NAMES.iter().collect(),
    };
    let path = variable("PATH").unwrap_or_default();
    let folders: Vec<_> =
        std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    let mut searched = Vec::new();
    for name in names {
        let usual = USUAL_PLACES.iter().map(|place| {
            let place = Path::new(place);
            if place.extension().is_none() && place.starts_with("/Applications") {
                place.to_owned()
            } else {
                place.join(name)
            }
        });
        for candidate in folders.iter().map(|folder| folder.join(name)).chain(usual) {
            if exists(&candidate) {
                return Ok(Executable::at(candidate));
            }
            searched.push(candidate);
        }
    }
    searched.dedup();
    Err(LaunchError::NotFound { searched })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(engine: Engine, env: &[(&str, &str)], files: &[&str]) -> Result<String, usize> {
        let variable = |name: &str| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        let exists = |path: &Path| files.iter().any(|file| path == Path::new(file));
        match search(engine, variable, exists) {
            Ok(executable) => Ok(executable.path().display().to_string()),
            Err(LaunchError::NotFound { searched }) => Err(searched.len()),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_shell_is_preferred_and_full_browsers_follow() {
        let files = ["/usr/bin/chromium", "/b/chromium-headless-shell", "/b/google-chrome"];
        let env = [("PATH", "/a:/b")];
        let auto = found(Engine::Auto, &env, &files);
        assert_eq!(auto.unwrap(), "/b/chromium-headless-shell");
        assert_eq!(found(Engine::Full, &env, &files).unwrap(), "/b/google-chrome");
        assert_eq!(found(Engine::Auto, &[], &files).unwrap(), "/usr/bin/chromium");
        assert!(found(Engine::HeadlessShell, &[], &files).unwrap_err() > 10);
    }

    #[test]
    fn a_variable_is_not_overruled() {
        let files = ["/usr/bin/chromium", "/my/chrome"];
        let mine = [("LASTOUT_CHROME", "/my/chrome")];
        assert_eq!(found(Engine::Auto, &mine, &files).unwrap(), "/my/chrome");
        let wrong = [("LASTOUT_CHROME", "/not/there")];
        assert_eq!(found(Engine::Auto, &wrong, &files), Err(1));
    }

    #[test]
    fn relative_folders_of_the_path_are_not_searched() {
        let env = [("PATH", ".:bin")];
        assert!(found(Engine::Auto, &env, &["bin/chromium", "./chromium"]).is_err());
    }
}
