//! With the feature, every event is a `tracing` event with the crate as its target.
#![cfg(feature = "tracing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_cleanup_worker::{CleanupWorker, Options};
use std::sync::{Arc, Mutex};
use support::LONG;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "age" => {}
            name => self.0 += &format!(" {name}={value:?}"),
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == "lastout_cleanup_worker" {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn each_event_is_one_line_with_its_label() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let worker = CleanupWorker::builder().build().unwrap();
    let handle = worker.handle().clone();
    let label = |label| Options::new().label(label);
    handle.submit_with(async { Err::<(), _>("no") }, label("a")).unwrap();
    handle.flush_blocking(LONG).unwrap();
    handle.submit_with(std::future::pending::<()>(), label("b")).unwrap();
    let report = worker.shutdown_blocking(std::time::Duration::ZERO);
    assert!(!report.is_clean());
    drop(handle.submit_with(async {}, label("c")).unwrap_err());
    assert_eq!(
        *log.0.lock().unwrap(),
        [
            r#"WARN message=cleanup failed label="a" error=no"#,
            r#"WARN message=cleanup abandoned label="b""#,
            r#"WARN message=cleanup refused label="c" reason=Closed"#,
        ]
    );
}
