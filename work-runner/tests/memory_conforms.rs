//! The store in memory does what every store must.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "names the case that fails")]
#![cfg(feature = "test-util")]

use lastout_work_runner::{MemoryRegistry, NewJob, Query, Registry, conformance};
use std::sync::Arc;

#[tokio::test]
async fn every_case() {
    for case in conformance::cases() {
        println!("{}", case.name());
        case.run(Arc::new(MemoryRegistry::new())).await;
    }
}

/// Everybody waits for the end of a call: a page that finds nothing must not walk over all rows.
#[tokio::test]
async fn a_page_looks_at_ten_thousand_rows() {
    let registry = MemoryRegistry::new();
    let jobs = (0..10_001).map(|_| NewJob::raw("any", Vec::new())).collect();
    let ids = registry.enqueue(jobs).await.unwrap();
    for (query, last) in [(Query::all(), 9_999), (Query::all().newest_first(), 1)] {
        let page = registry.page(query.kind("none")).await.unwrap();
        assert!(page.jobs.is_empty());
        assert_eq!(page.next, Some(ids[last].id()));
    }
}
