//! Each turn of a browser's life is one event, and each lease has a span. The only test of its file:
//! subscribers of one process see each other's callsites.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use lastout_browser_pool::PoolConfig;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use support::{assert_clean_end, soon};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down the messages of events and the names of spans.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Visit for Recorder {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let mut text = String::new();
            write!(text, "{value:?}").unwrap();
            self.note(text);
        }
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("lastout_browser_pool")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.note(format!("span {}", span.metadata().name()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn by_events_and_a_span_for_each_lease() {
    let log = Recorder::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let config = PoolConfig::builder().max_browsers(1).spares(0);
    let (pool, fake) = support::pool(config);
    let page = pool.page().await.unwrap();
    assert_eq!(log.taken(), ["browser launched", "span lease"]);
    fake.crash_page(&page);
    soon("the loss", page.lost()).await;
    drop(page);
    assert_eq!(log.taken(), ["page lost", "lease ended"]);
    assert_clean_end(&pool, &fake).await;
    assert_eq!(log.taken(), ["browser retired", "browser ended"]);
}
