//! Server-sent events: the sections of the overview that have changed.

use super::body::{Body, Next, Rest};
use super::{Shared, Snapshot};
use crate::supervisor::contain::{Either, race};
use hyper::body::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};

/// One page that is fed.
struct Feed {
    shared: Arc<Shared>,
    /// Raised when the server or the console ends.
    closed: [watch::Receiver<bool>; 2],
    /// What the page shows, by section.
    sent: HashMap<&'static str, String>,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

/// Events until the console closes, or `None` when as many pages are fed as may be.
pub(super) fn feed(shared: &Arc<Shared>, server: watch::Receiver<bool>) -> Option<Body> {
    let place = Arc::clone(&shared.watchers).try_acquire_owned().ok()?;
    let feed = Feed {
        shared: Arc::clone(shared),
        closed: [server, shared.closed.subscribe()],
        sent: HashMap::new(),
        is_first: true,
        _place: place,
    };
    Some(Body::events(next(feed)))
}

fn next(mut feed: Feed) -> Next {
    Box::pin(async move {
        let shared = Arc::clone(&feed.shared);
        let [server, console] = &mut feed.closed;
        let is_first = std::mem::replace(&mut feed.is_first, false);
        let ended = race(server.wait_for(|closed| *closed), console.wait_for(|closed| *closed));
        let looked = async {
            if !is_first {
                tokio::time::sleep(shared.every).await;
            }
            shared.snapshot().await
        };
        let Either::Second(snapshot) = race(ended, looked).await else { return None };
        let text = changes(&mut feed.sent, &snapshot);
        Some((Bytes::from(text), Rest(Box::new(move || next(feed)))))
    })
}

/// The sections that the page does not show yet, and a beat in any case. No section has a line break: its
/// text is escaped.
fn changes(sent: &mut HashMap<&'static str, String>, snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for (name, html) in &snapshot.sections {
        if sent.get(name).map(String::as_str) == Some(html.as_str()) {
            continue;
        }
        text.push_str(&format!("event: {name}\ndata: {}\n\n", html.as_str()));
        sent.insert(name, html.as_str().to_owned());
    }
    text.push_str("event: beat\ndata: live\n\n");
    text
}
