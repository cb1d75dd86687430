//! The store in PostgreSQL does what every store must.
#![allow(clippy::print_stdout, reason = "names the case that fails")]
#![cfg(all(feature = "test-util", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::conformance;
use lastout_work_runner::postgres::{PostgresOptions, PostgresRegistry};
use std::sync::Arc;
use support::database::Database;

#[tokio::test]
async fn every_case() {
    let database = Database::create().await;
    for (n, case) in conformance::cases().into_iter().enumerate() {
        println!("{}", case.name());
        let options = PostgresOptions::new().schema(format!("case_{n}"));
        let registry = PostgresRegistry::connect_with(database.config(), &options).await.unwrap();
        case.run(Arc::new(registry)).await;
    }
    database.remove().await;
}
