//! The command line.

use lexopt::prelude::*;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub(crate) const USAGE: &str = "\
Captures web pages as durable jobs, while faults are injected, and proves that nothing was lost.

    --jobs N          capture jobs (60)
    --browsers N      browsers at most (2)
    --faults F        off, on, storm (on)
    --store S         sqlite, postgres (sqlite); postgres is found in LASTOUT_POSTGRES
    --url-file FILE   captures the URLs of this file, one on each line, and no pages of its own
    --out DIR         queue, captures and report (target/capture)
    --seed N          of the choice of pages and of the faults

A run that was cut short, even by `kill -9`, goes on with the same queue at the next start.
LASTOUT_CHROME or LASTOUT_CHROME_HEADLESS_SHELL may name the executable.";

/// What the caller wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) role: Role,
    pub(crate) jobs: u32,
    pub(crate) browsers: usize,
    pub(crate) faults: Faults,
    pub(crate) store: Store,
    pub(crate) url_file: Option<PathBuf>,
    pub(crate) out: PathBuf,
    pub(crate) seed: u64,
    /// Of the worker: where the pages are served.
    pub(crate) base: String,
}

/// Which part of the demo this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Serves the pages, starts the worker, injects faults, reports.
    Demo,
    /// Runs the jobs. Dies often.
    Worker,
    /// A process job: prints lines.
    Digest,
    /// Prints the usage.
    Help,
}

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Faults {
    Off,
    On,
    Storm,
}

/// Where the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            role: Role::Demo,
            jobs: 60,
            browsers: 2,
            faults: Faults::On,
            store: Store::Sqlite,
            url_file: None,
            out: PathBuf::from("target/capture"),
            seed: 7,
            base: String::new(),
        }
    }
}

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("jobs") => options.jobs = parser.value()?.parse()?,
                Long("browsers") => options.browsers = parser.value()?.parse()?,
                Long("faults") => options.faults = parser.value()?.parse()?,
                Long("store") => options.store = parser.value()?.parse()?,
                Long("url-file") => options.url_file = Some(parser.value()?.into()),
                Long("out") => options.out = parser.value()?.into(),
                Long("seed") => options.seed = parser.value()?.parse()?,
                Long("role") => options.role = parser.value()?.parse()?,
                Long("base") => options.base = parser.value()?.string()?,
                Short('h') | Long("help") => options.role = Role::Help,
                _ => return Err(arg.unexpected()),
            }
        }
        match (options.jobs, options.browsers) {
            (0, _) => Err("--jobs must be at least 1".into()),
            (_, 0) => Err("--browsers must be at least 1".into()),
            _ => Ok(options),
        }
    }

    /// The command line of the worker process.
    pub(crate) fn for_worker(&self, base: &str) -> Vec<String> {
        let Self { browsers, store, seed, .. } = self;
        let out = self.out.to_string_lossy().into_owned();
        let pairs = [
            ("--role", "worker".to_owned()),
            ("--browsers", browsers.to_string()),
            ("--store", store.to_string()),
            ("--seed", seed.to_string()),
            ("--out", out),
            ("--base", base.to_owned()),
        ];
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

/// A word that is none of those that are known.
#[derive(Debug)]
pub(crate) struct UnknownWord(&'static str);

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it must be one of {}", self.0)
    }
}

impl std::error::Error for UnknownWord {}

impl FromStr for Faults {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            "storm" => Ok(Self::Storm),
            _ => Err(UnknownWord("off, on, storm")),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Storm => "storm",
        })
    }
}

impl FromStr for Store {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" => Ok(Self::Postgres),
            _ => Err(UnknownWord("sqlite, postgres")),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        })
    }
}

impl FromStr for Role {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "worker" => Ok(Self::Worker),
            "digest" => Ok(Self::Digest),
            _ => Err(UnknownWord("worker, digest")),
        }
    }
}
