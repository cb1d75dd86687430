//! The store in memory does what every store must.
#![allow(clippy::print_stdout, reason = "names the case that fails")]
#![cfg(feature = "test-util")]

use lastout_work_runner::{MemoryRegistry, conformance};
use std::sync::Arc;

#[tokio::test]
async fn every_case() {
    for case in conformance::cases() {
        println!("{}", case.name());
        case.run(Arc::new(MemoryRegistry::new())).await;
    }
}
