//! What the filter and the router keep whatever is said: they never panic, each call is answered once, calls of the
//! bridge's own end, and a password goes only to the proxy of its context.

use super::super::router::{OWN, OwnCall, Router};
use super::*;
use crate::error::OpError;
use crate::proxy::Credentials;
use serde_json::{Value, json};
use std::pin::Pin;
use std::task::{Context, Waker};
use tokio::sync::mpsc::UnboundedReceiver;

/// What a browser and a client said, with places for sessions, contexts and numbers: `<` before what comes in, `>`
/// before what goes out.
pub(super) const RECORDED: &str = include_str!("recorded.txt");

type OwnAnswer = Pin<Box<dyn Future<Output = Result<Value, OpError>>>>;

/// A bridge without its two connections, and what it owes.
pub(super) struct Oracle {
    router: Router,
    called: UnboundedReceiver<OwnCall>,
    /// Calls of the bridge's own that have no answer yet.
    own: Vec<OwnAnswer>,
    now: Instant,
    /// The calls that went out whole, and how often each was answered.
    calls: BTreeMap<u64, u32>,
}

impl Oracle {
    /// A bridge that answers the proxy of the context `c0`, which is leased.
    pub(super) fn new() -> Self {
        let (router, called) = Router::new(Duration::from_secs(5));
        let credentials = Credentials { user: "user".into(), password: "secret".into() };
        router.lend("c0");
        router.authenticate("c0", &credentials);
        Self { router, called, own: Vec::new(), now: Instant::now(), calls: BTreeMap::new() }
    }

    /// Time passes.
    pub(super) fn later(&mut self, time: Duration) {
        self.now += time;
        let late = self.router.filter().expire(self.now);
        self.follow(late);
    }

    /// The client sends this.
    pub(super) fn sent(&mut self, call: &str) {
        let id = serde_json::from_str::<Head<'_>>(call).ok().map(|head| head.id);
        // A client gives each number once, and those of the bridge never.
        if id.is_some_and(|id| id >= OWN || self.calls.contains_key(&id)) {
            return;
        }
        self.calls.extend(id.map(|id| (id, 0)));
        self.pass_on(call, None);
    }

    /// The bridge asks for something itself.
    pub(super) fn asked(&mut self) {
        let router = self.router.clone();
        let limit = Duration::from_secs(5);
        self.own.push(Box::pin(async move {
            router.call(None, "Browser.getVersion", &json!({}), limit).await
        }));
        self.settle();
    }

    /// The browser sends this.
    pub(super) fn told(&mut self, message: &str) {
        let id = answered(message);
        let is_own = id.is_some_and(|id| id >= OWN);
        let is_pending = id.is_some_and(|id| self.router.filter().pending.contains_key(&id));
        let incoming = self.router.filter().incoming(message, self.now);
        if !incoming.shed {
            assert_eq!(self.router.keeps(message), is_own, "answer to another client: {message}");
        }
        if is_pending {
            self.answered(message);
        }
        if let Some(order) = &incoming.order {
            let filter = self.router.filter();
            let at = filter.targets.get(&order.session);
            let in_context = at.is_some_and(|at| at.context.as_deref() == Some("c0"));
            assert!(in_context, "an order for a session of another context: {order:?}");
            let asks: Value = serde_json::from_str(message).unwrap_or_default();
            let from_proxy = asks["params"]["authChallenge"]["source"] == "Proxy";
            let has_password = order.params.to_string().contains("secret");
            assert!(!has_password || from_proxy, "a password for who is no proxy: {order:?}");
        }
        self.follow(incoming);
    }

    /// What was not answered waits until its limit, and no longer.
    pub(super) fn end(mut self) {
        for _ in 0..2 {
            self.later(Duration::from_secs(60));
        }
        let open = self.calls.iter().find(|(_, count)| **count != 1);
        assert!(open.is_none(), "never answered, or twice: {open:?}");
        assert!(self.router.filter().held.is_empty(), "held for ever");
        assert!(self.own.is_empty(), "a call of the bridge's own waits for ever");
    }

    /// A call on its way to the browser.
    fn pass_on(&mut self, call: &str, limit: Option<Duration>) {
        let verdict = self.router.filter().outgoing(call, limit, self.now);
        if let Outgoing::Answer(answer) = verdict {
            self.inject(&answer);
        }
    }

    /// What came with a message, or with time.
    fn follow(&mut self, incoming: Incoming) {
        let Incoming { inject, release, order, resume, .. } = incoming;
        self.router.release(release);
        order.into_iter().for_each(|order| self.router.order(order));
        resume.into_iter().for_each(|session| self.router.resume(session));
        for message in inject {
            self.inject(&message);
        }
        self.settle();
    }

    fn inject(&mut self, message: &str) {
        assert!(!message.contains("secret"), "a password for the client: {message}");
        if !self.router.keeps(message) {
            self.answered(message);
        }
    }

    fn answered(&mut self, message: &str) {
        let count = answered(message).and_then(|id| self.calls.get_mut(&id));
        if let Some(count) = count {
            *count += 1;
            assert_eq!(*count, 1, "answered twice: {message}");
        }
    }

    /// Sends what the bridge itself has to send, and lets its own calls end.
    fn settle(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        self.own.retain_mut(|call| call.as_mut().poll(&mut context).is_pending());
        while let Ok(OwnCall { text, limit }) = self.called.try_recv() {
            self.pass_on(&text, Some(limit));
        }
    }
}

/// Lets the oracle see traffic as it is written in the recording, with `+` before milliseconds, and `=` for a call of
/// the bridge's own.
#[cfg(fuzzing)]
pub fn bridge_traffic(text: &str) {
    let mut oracle = Oracle::new();
    for line in text.lines() {
        match line.split_at_checked(1) {
            Some((">", call)) => oracle.sent(call.trim_start()),
            Some(("<", message)) => oracle.told(message.trim_start()),
            Some(("+", time)) => {
                oracle.later(Duration::from_millis(time.parse::<u16>().unwrap_or(1).into()));
            }
            Some(("=", _)) => oracle.asked(),
            _ => {}
        }
    }
    oracle.end();
}
