//! What the rest of the driver may ask of a connection, past the client: calls of its own, more time for the
//! client's, and what the filter knows.

use super::filter::{Filter, NO_ANSWER, Order, RESUMING, answered};
use crate::error::{Loss, OpError};
use crate::proxy::Credentials;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// The numbers of the bridge's own calls begin here, and those of the client are below. The protocol has
/// 31 bits for them.
pub(super) const OWN: u64 = 1 << 30;

/// How long the answer to a call is remembered for that nobody waits for.
const RESUME: Duration = Duration::from_secs(30);

/// What the rest of the driver may ask of the connection.
#[derive(Debug, Clone)]
pub(in super::super) struct Router(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    filter: Mutex<Filter>,
    /// Who waits for the answer to a call of the bridge's own.
    own: Mutex<HashMap<u64, oneshot::Sender<String>>>,
    next: AtomicU64,
    calls: mpsc::UnboundedSender<OwnCall>,
}

/// A call of the bridge's own, on its way to the browser.
#[derive(Debug)]
pub(super) struct OwnCall {
    pub(super) text: String,
    pub(super) limit: Duration,
}

/// What the browser answers: one of the two.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: serde_json::Value,
    error: Option<ProtocolError>,
}

#[derive(Deserialize)]
struct ProtocolError {
    code: i64,
    message: String,
}

impl Router {
    pub(super) fn new(limit: Duration) -> (Self, mpsc::UnboundedReceiver<OwnCall>) {
        let (calls, called) = mpsc::unbounded_channel();
        let filter = Mutex::new(Filter::new(limit));
        let (own, next) = (Mutex::default(), AtomicU64::new(0));
        (Self(Arc::new(Shared { filter, own, next, calls })), called)
    }

    pub(super) fn filter(&self) -> MutexGuard<'_, Filter> {
        self.0.filter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<String>>> {
        self.0.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the page was asked for something that a reset cannot undo.
    pub(in super::super) fn is_tainted(&self, session: &str) -> bool {
        self.filter().is_tainted(session)
    }

    /// The page is as a new page is.
    pub(in super::super) fn settle(&self, session: &str) {
        self.filter().settle(session);
    }

    /// Lets the client's calls in this context, or on the whole connection, take that long, until what
    /// this returns is dropped.
    pub(in super::super) fn allow(&self, context: Option<&str>, limit: Duration) -> Allowed {
        let until = Instant::now() + limit;
        let number = self.filter().allow(context.map(str::to_owned), until);
        Allowed { router: self.clone(), number }
    }

    /// Messages of this page that were kept back because there were too many.
    pub(in super::super) fn shed_of(&self, session: &str) -> u64 {
        self.filter().shed_of(session)
    }

    /// The pages that others opened in this context.
    pub(in super::super) fn popups(&self, context: &str) -> Vec<String> {
        self.filter().popups(context)
    }

    /// Whether this is a page of the context.
    pub(in super::super) fn is_page_of(&self, context: &str, target: &str) -> bool {
        self.filter().is_in(context, target)
    }

    /// Lets what waits for a debugger run: the client lets some wait for ever, such as service workers.
    pub(super) fn resume(&self, session: String) {
        self.order(Order { session, method: RESUMING, params: serde_json::json!({}) });
    }

    /// Sends a call whose answer nobody waits for.
    pub(super) fn order(&self, Order { session, method, params }: Order) {
        let (_, text) = self.write(Some(&session), method, &params);
        // When the bridge ends, nobody waits any more.
        drop(self.0.calls.send(OwnCall { text, limit: RESUME }));
    }

    /// Answers the proxy of this context with a name and a password.
    pub(in super::super) fn authenticate(&self, context: &str, credentials: &Credentials) {
        self.filter().authenticate(context.into(), credentials.clone());
    }

    /// Leaves paused requests of this session to the client.
    pub(in super::super) fn take_requests(&self, session: &str) {
        self.filter().leave_to_client(session);
    }

    /// Ends that: no request is paused, but for those of a context whose proxy is answered.
    pub(in super::super) fn give_requests_back(&self, session: &str) {
        let order = self.filter().take_from_client(session);
        self.order(order);
    }

    /// The context was made for a lease.
    pub(in super::super) fn lend(&self, context: &str) {
        self.filter().lend(context.into());
    }

    /// The context is gone.
    pub(in super::super) fn forget_context(&self, context: &str) {
        self.filter().forget_context(context);
    }

    /// Sends what the client had sent before, and what could not go to the browser then.
    pub(super) fn release(&self, calls: Vec<String>) {
        for text in calls {
            // When the bridge ends, nobody waits any more.
            drop(self.0.calls.send(OwnCall { text, limit: RESUME }));
        }
    }

    /// A call of the bridge's own, and its number.
    fn write(
        &self,
        session: Option<&str>,
        method: &str,
        params: &serde_json::Value,
    ) -> (u64, String) {
        // Relaxed: only the number matters.
        let id = OWN + self.0.next.fetch_add(1, Ordering::Relaxed) % OWN;
        let session =
            session.map(|session| format!(r#","sessionId":{}"#, serde_json::json!(session)));
        let session = session.unwrap_or_default();
        (id, format!(r#"{{"id":{id},"method":"{method}","params":{params}{session}}}"#))
    }

    /// Asks the browser past the client, which has limits of its own.
    ///
    /// # Cancel safety
    ///
    /// The call goes on when the future is dropped; its answer is lost.
    pub(in super::super) async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        params: &serde_json::Value,
        limit: Duration,
    ) -> Result<serde_json::Value, OpError> {
        let (id, text) = self.write(session, method, params);
        let (sender, answer) = oneshot::channel();
        let waits = Waits { router: self, id };
        self.own().insert(id, sender);
        let gone = |_| OpError::Lost(Loss::Disconnected);
        self.0
            .calls
            .send(OwnCall { text, limit })
            .map_err(|_| OpError::Lost(Loss::Disconnected))?;
        let text = answer.await.map_err(gone)?;
        drop(waits);
        let answer: Answer = serde_json::from_str(&text).map_err(OpError::driver)?;
        match answer.error {
            None => Ok(answer.result),
            Some(error) if error.code == NO_ANSWER => {
                Err(OpError::TimedOut { what: "ask the browser", after: limit })
            }
            Some(error) => Err(OpError::driver(error.message)),
        }
    }

    /// Keeps back the answer to a call of the bridge's own; `false` for what is the client's.
    pub(super) fn keeps(&self, text: &str) -> bool {
        let Some(id) = answered(text).filter(|id| *id >= OWN) else {
            return false;
        };
        let waiting = self.own().remove(&id);
        // Somebody who has gone needs no answer.
        waiting.into_iter().for_each(|waiting| drop(waiting.send(text.to_owned())));
        true
    }
}

/// Ends an allowance when it is dropped.
#[derive(Debug)]
pub(in super::super) struct Allowed {
    router: Router,
    number: u64,
}

impl Drop for Allowed {
    fn drop(&mut self) {
        self.router.filter().disallow(self.number);
    }
}

/// Forgets a call of the bridge's own whose caller has gone.
struct Waits<'a> {
    router: &'a Router,
    id: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let waiting = self.router.own().remove(&self.id);
        drop(waiting);
    }
}

/// Fails the bridge's own calls when there is no bridge any more.
pub(super) struct Ends(pub(super) Router);

impl Drop for Ends {
    fn drop(&mut self) {
        let waiting = std::mem::take(&mut *self.0.own());
        drop(waiting);
    }
}
