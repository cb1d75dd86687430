//! A PostgreSQL schema of the first version with jobs in every state is brought to this one.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::StoreErrorKind;
use lastout_work_runner::postgres::PostgresRegistry;
use std::sync::Arc;
use support::database::{Database, count, run};
use support::first_version::{FIRST_VERSION, check, statements};

async fn first_version() -> Database {
    let database = Database::create().await;
    run(database.config(), include_str!("support/first_version_postgres.sql")).await;
    run(database.config(), &statements("lastout.")).await;
    run(database.config(), "SELECT setval('lastout.job_id', 100)").await;
    database
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_in_every_state_go_on() {
    let database = first_version().await;
    check(Arc::new(PostgresRegistry::connect(database.config()).await.unwrap())).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_worker_of_the_older_version_is_not_overtaken() {
    let database = first_version().await;
    let lease = "INSERT INTO lastout.workers VALUES (9, 'h', '', 1, 1, 9223372036854775807)";
    run(database.config(), lease).await;
    let error = PostgresRegistry::connect(database.config()).await.unwrap_err();
    let have = FIRST_VERSION;
    assert!(matches!(error.kind(), StoreErrorKind::SchemaVersion { have: h, .. } if h == have));
    let version = "SELECT value FROM lastout.meta WHERE key = 'schema'";
    assert_eq!(count(database.config(), version).await, have, "nothing was changed");
    run(database.config(), "DELETE FROM lastout.workers").await;
    check(Arc::new(PostgresRegistry::connect(database.config()).await.unwrap())).await;
    database.remove().await;
}
