//! The store in an SQLite file does what every store must.
#![allow(clippy::print_stdout, reason = "names the case that fails")]
#![cfg(all(feature = "test-util", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::conformance;
use lastout_work_runner::sqlite::{Durability, SqliteOptions, SqliteRegistry};
use std::sync::Arc;
use support::Folder;

async fn every_case_with(durability: Durability) {
    let folder = Folder::new();
    for case in conformance::cases() {
        println!("{}", case.name());
        let options = SqliteOptions::new().durability(durability);
        let path = folder.path().join(format!("{}.db", case.name()));
        let registry = SqliteRegistry::open_with(path, &options).unwrap();
        case.run(Arc::new(registry)).await;
    }
}

#[tokio::test]
async fn every_case_with_normal_durability() {
    every_case_with(Durability::Normal).await;
}

#[tokio::test]
async fn every_case_with_full_durability() {
    every_case_with(Durability::Full).await;
}
