//! How much a session may send of what nobody waits for, so that a page that floods its console costs no
//! other page the attention of the client. What is kept back is counted.

use super::message::session_of;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What a session may send of what nobody waits for: refilled each second.
#[derive(Debug)]
struct Budget {
    since: Instant,
    events: u32,
    bytes: usize,
    shed: u64,
}

/// Events of this kind that one session may send in a second, and their bytes.
pub(super) const EVENTS: u32 = 1000;
pub(super) const BYTES: usize = 4 << 20;

/// Events that a page can send as fast as it likes and that the client waits for in no call.
const NOISE: &[&str] = &[
    r#"{"method":"Runtime.consoleAPICalled""#,
    r#"{"method":"Runtime.exceptionThrown""#,
    r#"{"method":"Console.messageAdded""#,
    r#"{"method":"Log.entryAdded""#,
    r#"{"method":"Network.dataReceived""#,
    r#"{"method":"Network.eventSourceMessageReceived""#,
    r#"{"method":"Network.webSocketFrameReceived""#,
    r#"{"method":"Network.webSocketFrameSent""#,
];

/// Whether the message is an event of this kind.
pub(super) fn is_noise(text: &str) -> bool {
    NOISE.iter().any(|prefix| text.starts_with(prefix))
}

/// What each session may still send.
#[derive(Debug, Default)]
pub(super) struct Floods(HashMap<String, Budget>);

impl Floods {
    /// Whether the session has sent more of this kind than it may.
    pub(super) fn sheds(&mut self, text: &str, now: Instant) -> bool {
        let (Some(session), bytes) = (session_of(text), text.len()) else {
            return false;
        };
        if !self.0.contains_key(session) {
            let full = Budget { since: now, events: EVENTS, bytes: BYTES, shed: 0 };
            self.0.insert(session.to_owned(), full);
        }
        let Some(budget) = self.0.get_mut(session) else {
            return false;
        };
        if now.saturating_duration_since(budget.since) >= Duration::from_secs(1) {
            *budget = Budget { since: now, events: EVENTS, bytes: BYTES, ..*budget };
        }
        if budget.events == 0 || budget.bytes < bytes {
            budget.shed += 1;
            return true;
        }
        budget.events -= 1;
        budget.bytes -= bytes;
        false
    }

    /// Messages of this session that the client did not get.
    pub(super) fn shed_of(&self, session: &str) -> u64 {
        self.0.get(session).map_or(0, |budget| budget.shed)
    }

    /// The session is gone.
    pub(super) fn forget(&mut self, session: &str) {
        self.0.remove(session);
    }
}
