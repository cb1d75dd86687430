//! Real Chrome and real PostgreSQL for the tests: found, or installed after saying so.

pub(crate) mod apt;
pub mod chrome;
pub mod compilers;
pub mod postgres;

use crate::console::Console;
use anyhow::Result;
use std::ffi::OsString;

/// A program that tests may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Chrome or Chromium, and the headless shell.
    Chrome,
    /// A PostgreSQL server of our own.
    Postgres,
}

impl Need {
    /// The word in `--without` and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chrome => "chrome",
            Self::Postgres => "postgres",
        }
    }

    /// The need that a word names.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Chrome, Self::Postgres].into_iter().find(|need| need.name() == name)
    }

    /// The need that the name of a test target tells: `chrome_…`, `pg_…`.
    pub fn of_test(target: &str) -> Option<Self> {
        if target.starts_with("chrome_") {
            Some(Self::Chrome)
        } else if target.starts_with("pg_") {
            Some(Self::Postgres)
        } else {
            None
        }
    }
}

/// What was provided. Dropping it stops the server and removes its directory.
#[derive(Debug, Default)]
pub struct Provided {
    envs: Vec<(String, OsString)>,
    server: Option<postgres::Server>,
}

impl Provided {
    /// Variables for the programs that need it: `LASTOUT_CHROME`, `LASTOUT_CHROME_HEADLESS_SHELL`,
    /// `LASTOUT_POSTGRES`.
    pub fn envs(&self) -> &[(String, OsString)] {
        &self.envs
    }

    /// Ends what was started.
    ///
    /// # Errors
    ///
    /// When the server does not end or its directory stays.
    pub fn shutdown(self) -> Result<()> {
        self.server.map_or(Ok(()), postgres::Server::shutdown)
    }
}

/// Finds or installs what is needed, and starts the server.
///
/// # Errors
///
/// When something is missing and may not be installed here; the error holds the one command to run.
pub fn provide(console: &Console, needs: &[Need], durable: bool) -> Result<Provided> {
    let mut provided = Provided::default();
    if needs.contains(&Need::Chrome) {
        let found = chrome::provide(console)?;
        provided.envs.push(("LASTOUT_CHROME".into(), found.browser.into()));
        if let Some(shell) = found.headless_shell {
            provided.envs.push(("LASTOUT_CHROME_HEADLESS_SHELL".into(), shell.into()));
        }
    }
    if needs.contains(&Need::Postgres) {
        let server = postgres::Server::start(console, durable)?;
        provided.envs.push(("LASTOUT_POSTGRES".into(), server.connection().into()));
        provided.server = Some(server);
    }
    Ok(provided)
}
