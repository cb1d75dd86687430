//! Opens the job store that the words name, and reads the words that all commands on it share.

use crate::answer::{Answer, Failed};
use lastout::work_runner::postgres::PostgresRegistry;
use lastout::work_runner::sqlite::SqliteRegistry;
use lastout::work_runner::{Registry, StoreError, WorkDriver};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// The words of a command on a store.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) values: Vec<String>,
    options: BTreeMap<String, String>,
    pub(crate) json: bool,
}

impl Words {
    /// Reads the words; an option that is not in `known` is refused.
    pub(crate) fn parse(words: Vec<OsString>, known: &[&str]) -> Result<Self, Failed> {
        let usage = |error: lexopt::Error| Failed::usage(error.to_string());
        let mut parser = lexopt::Parser::from_args(words);
        let mut read = Self::default();
        while let Some(argument) = parser.next().map_err(usage)? {
            match argument {
                lexopt::Arg::Long("json") => read.json = true,
                lexopt::Arg::Long(name) if name == "store" || known.contains(&name) => {
                    let name = name.to_owned();
                    let value = parser.value().map_err(usage)?.into_string();
                    let value = value.map_err(|_| Failed::usage(format!("--{name} is no text")))?;
                    if read.options.insert(name.clone(), value).is_some() {
                        return Err(Failed::usage(format!("--{name} is given twice")));
                    }
                }
                lexopt::Arg::Value(value) => {
                    let value = value.into_string();
                    let value = value.map_err(|_| Failed::usage("a word is no text"))?;
                    read.values.push(value);
                }
                other => return Err(usage(other.unexpected())),
            }
        }
        Ok(read)
    }

    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The value of an option as what it stands for.
    pub(crate) fn parsed<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Failed> {
        self.option(name)
            .map(|text| {
                read(text).ok_or_else(|| Failed::usage(format!("--{name} cannot be {text:?}")))
            })
            .transpose()
    }

    /// Opens the store. A file that does not exist is not made, unless it is to be.
    async fn open(&self, make: bool) -> Result<WorkDriver, Failed> {
        let named = std::env::var("LASTOUT_STORE").ok().filter(|name| !name.is_empty());
        let Some(store) = self.option("store").map(str::to_owned).or(named) else {
            return Err(Failed::usage("which store? Name it by --store or LASTOUT_STORE"));
        };
        let registry: Arc<dyn Registry> = if is_address(&store) {
            let opened = PostgresRegistry::connect(&store).await;
            // The address may hold a password.
            Arc::new(opened.map_err(|error| Failed::new("open the PostgreSQL store", &error))?)
        } else {
            if !make && !Path::new(&store).exists() {
                return Err(Failed::text(format!("open {store}: there is no such file")));
            }
            let opened = SqliteRegistry::open(&store);
            Arc::new(opened.map_err(|error| Failed::new(format_args!("open {store}"), &error))?)
        };
        Ok(WorkDriver::producer(registry))
    }
}

/// A PostgreSQL address, as a URL or as words with `=`; everything else is a file.
fn is_address(store: &str) -> bool {
    store.starts_with("postgres://")
        || store.starts_with("postgresql://")
        || (store.contains("host=") && !Path::new(store).exists())
}

/// Runs `work` on the store that the words name.
pub(crate) fn on_store(
    words: &Words,
    make: bool,
    work: impl AsyncFnOnce(&WorkDriver) -> Result<Answer, Failed>,
) -> Result<Answer, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::new("start a runtime", &error))?;
    runtime.block_on(async {
        let driver = words.open(make).await?;
        work(&driver).await
    })
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::new("the store", &error)
    }
}
