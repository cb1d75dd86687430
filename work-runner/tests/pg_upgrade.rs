//! A PostgreSQL schema of each earlier version with jobs in every state is brought to this one.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::postgres::{PostgresOptions, PostgresRegistry};
use lastout_work_runner::{Query, Registry, StoreErrorKind};
use std::sync::Arc;
use support::database::{Database, count, run};
use support::older_versions::{JOBS, POSTGRES_STEPS, VERSIONS, check, statements, steps_to};

async fn older_version(version: i64) -> Database {
    let database = Database::create().await;
    run(database.config(), include_str!("support/first_version_postgres.sql")).await;
    run(database.config(), &steps_to(version, POSTGRES_STEPS)).await;
    run(database.config(), &statements("lastout.", version)).await;
    run(database.config(), "SELECT setval('lastout.job_id', 100)").await;
    database
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_in_every_state_go_on() {
    for version in VERSIONS {
        let database = older_version(version).await;
        check(Arc::new(PostgresRegistry::connect(database.config()).await.unwrap()), version).await;
        database.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_worker_of_an_older_version_is_not_overtaken() {
    for version in VERSIONS {
        refuses_while_a_worker_lives(version).await;
    }
}

async fn refuses_while_a_worker_lives(version: i64) {
    let database = older_version(version).await;
    let lease = "INSERT INTO lastout.workers VALUES (9, 'h', '', 1, 1, 9223372036854775807)";
    run(database.config(), lease).await;
    let error = PostgresRegistry::connect(database.config()).await.unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::SchemaVersion { have, .. } if have == version));
    let found = "SELECT value FROM lastout.meta WHERE key = 'schema'";
    assert_eq!(count(database.config(), found).await, version, "nothing was changed");
    run(database.config(), "DELETE FROM lastout.workers").await;
    check(Arc::new(PostgresRegistry::connect(database.config()).await.unwrap()), version).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_opened_as_it_is_stays_as_it_is() {
    let as_it_is = PostgresOptions::new().migrate(false);
    for version in VERSIONS {
        let database = older_version(version).await;
        let open = || PostgresRegistry::connect_with(database.config(), &as_it_is);
        let refused = open().await.unwrap_err();
        assert!(
            matches!(refused.kind(), StoreErrorKind::SchemaVersion { have, .. } if have == version)
        );
        let found = "SELECT value FROM lastout.meta WHERE key = 'schema'";
        assert_eq!(count(database.config(), found).await, version, "nothing was changed");
        let registry = Arc::new(PostgresRegistry::connect(database.config()).await.unwrap());
        check(registry, version).await;
        assert_eq!(open().await.unwrap().list(Query::all()).await.unwrap().len(), JOBS);
        database.remove().await;
    }
    let database = Database::create().await;
    let refused = PostgresRegistry::connect_with(database.config(), &as_it_is).await.unwrap_err();
    assert!(matches!(refused.kind(), StoreErrorKind::SchemaVersion { have: 0, .. }), "{refused}");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'lastout'";
    assert_eq!(count(database.config(), schemas).await, 0, "nothing was made");
    database.remove().await;
}
