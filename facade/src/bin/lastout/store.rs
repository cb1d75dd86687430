//! Opens the job store that the words name.

use crate::answer::{Answer, Failed};
use crate::words::Words;
use lastout::work_runner::postgres::{PostgresOptions, PostgresRegistry};
use lastout::work_runner::sqlite::{SqliteOptions, SqliteRegistry};
use lastout::work_runner::{Registry, StoreError, WorkDriver};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A person waits: a server that restarts is waited for, a wrong address is told of soon.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What becomes of a store that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Refuse,
    Make,
}

/// The name of the store, by the words or by the environment.
fn name(words: &Words) -> Result<String, Failed> {
    let named = std::env::var("LASTOUT_STORE").ok().filter(|name| !name.is_empty());
    let store = words.option("store")?.map(str::to_owned).or(named);
    store.ok_or_else(|| Failed::usage("which store? Name it by --store or LASTOUT_STORE"))
}

/// The name of the store as it may be shown: an address may hold a password.
pub(crate) fn shown(words: &Words) -> Result<String, Failed> {
    Ok(without_password(&name(words)?))
}

/// Only the file, or the kind of store and the machine and database of its URL.
fn without_password(store: &str) -> String {
    if !is_address(store) {
        return store.to_owned();
    }
    let Some((scheme, rest)) = store.split_once("://") else {
        return "a PostgreSQL database".to_owned();
    };
    // Options after `?` may hold a password too.
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{place}")
}

/// Opens the store.
pub(crate) async fn open(words: &Words, missing: Missing) -> Result<WorkDriver, Failed> {
    let store = name(words)?;
    // What only looks leaves the tables as they are: the workers may be of another version.
    let may_make = missing == Missing::Make;
    let registry: Arc<dyn Registry> = if is_address(&store) {
        let options = PostgresOptions::new().connect_within(CONNECT_WITHIN).migrate(may_make);
        let opened = PostgresRegistry::connect_with(&store, &options).await;
        // The address may hold a password.
        Arc::new(opened.map_err(|error| Failed::new("open the PostgreSQL store", &error))?)
    } else {
        if missing == Missing::Refuse && !Path::new(&store).exists() {
            return Err(Failed::text(format!("open {store}: there is no such file")));
        }
        let opened = SqliteRegistry::open_with(&store, &SqliteOptions::new().migrate(may_make));
        Arc::new(opened.map_err(|error| Failed::new(format_args!("open {store}"), &error))?)
    };
    Ok(WorkDriver::producer(registry))
}

/// A PostgreSQL address, as a URL or as words with `=`; everything else is a file.
fn is_address(store: &str) -> bool {
    store.starts_with("postgres://")
        || store.starts_with("postgresql://")
        || (store.contains("host=") && !Path::new(store).exists())
}

/// Runs `work` on a runtime of this thread.
pub(crate) fn block_on(
    work: impl Future<Output = Result<Answer, Failed>>,
) -> Result<Answer, Failed> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| Failed::new("start a runtime", &error))?.block_on(work)
}

/// Runs `work` on the store that the words name.
pub(crate) fn on_store(
    words: &Words,
    missing: Missing,
    work: impl AsyncFnOnce(&WorkDriver) -> Result<Answer, Failed>,
) -> Result<Answer, Failed> {
    block_on(async {
        let driver = open(words, missing).await?;
        work(&driver).await
    })
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::new("the store", &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_shown_without_its_password() {
        for (store, shown) in [
            ("jobs.db", "jobs.db"),
            ("postgres://app:s@cret@db:5432/jobs?password=secret", "postgres://db:5432/jobs"),
            ("postgresql://db/jobs", "postgresql://db/jobs"),
            ("host=db password=secret", "a PostgreSQL database"),
        ] {
            assert_eq!(without_password(store), shown);
        }
    }
}
