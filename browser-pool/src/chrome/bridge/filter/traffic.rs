//! What becomes of a message.

use crate::driver::News;

/// What to do with a call.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::chrome::bridge) enum Outgoing {
    Forward,
    /// It goes to the browser later, among what an incoming message brings with it.
    Hold,
    /// It would never be answered: this is the answer.
    Answer(String),
}

/// A call of the bridge's own whose answer nobody waits for.
#[derive(Debug, PartialEq)]
pub(in crate::chrome::bridge) struct Order {
    pub(in crate::chrome::bridge) session: String,
    pub(in crate::chrome::bridge) method: &'static str,
    pub(in crate::chrome::bridge) params: serde_json::Value,
}

/// What an incoming message brings with it.
#[derive(Debug, Default, PartialEq)]
pub(in crate::chrome::bridge) struct Incoming {
    /// Messages for the client, after this one.
    pub(in crate::chrome::bridge) inject: Vec<String>,
    /// What the pool is told.
    pub(in crate::chrome::bridge) news: Vec<News>,
    /// Calls of the client that can go to the browser now.
    pub(in crate::chrome::bridge) release: Vec<String>,
    /// A call of the bridge's own, which goes before the session is let run.
    pub(in crate::chrome::bridge) order: Option<Order>,
    /// A session that waits until somebody lets it run.
    pub(in crate::chrome::bridge) resume: Option<String>,
    /// The client does not get the message: there are too many of the kind.
    pub(in crate::chrome::bridge) shed: bool,
}
