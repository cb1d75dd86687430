//! What the bridge knows of the protocol: enough to fail calls that will never be answered.
//!
//! Pure: it sees each message once, on its way out or in, and says what else to send. It parses the
//! head of what goes out, and of what comes in only the number of an answer and a handful of rare
//! events, recognised by their first bytes.

mod auth;
mod flood;
mod message;
mod pages;
mod reset;
mod traffic;

use self::auth::Auth;
use self::flood::{Floods, changed, noise};
pub(in crate::chrome) use self::message::limit_of_unanswered;
use self::message::{
    Created, Creating, Event, Head, Params, empty_document, error, failed_navigation, session_of,
    unanswered,
};
pub(super) use self::message::{NO_ANSWER, answered};
use self::reset::is_undone;
pub(super) use self::traffic::{Incoming, Order, Outgoing};
use crate::config::FOREVER;
use crate::driver::News;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Filter {
    limit: Duration,
    /// Calls that went out and have no answer yet.
    pending: BTreeMap<u64, Call>,
    /// What each session is attached to.
    targets: HashMap<String, Attached>,
    /// Who may wait for longer than the limit, by the number that [`allow`](Self::allow) gave.
    allowances: BTreeMap<u64, Allowance>,
    next_allowance: u64,
    /// Pages that others opened, and their contexts.
    popups: BTreeMap<String, String>,
    /// New pages of contexts in which the client just makes one: the answer to it says which is whose.
    unclaimed: BTreeMap<String, String>,
    /// The contexts of leases. What is in none of them belongs to the holder of the whole browser.
    lent: HashSet<String>,
    auth: Auth,
    /// What each session and target may still send.
    floods: Floods,
    held: Vec<Held>,
    /// Sessions whose renderer crashed and was not reloaded.
    crashed: HashSet<String>,
    /// Sessions that were asked for something that a reset cannot undo.
    tainted: HashSet<String>,
}

#[derive(Debug)]
struct Call {
    session: Option<String>,
    is_navigation: bool,
    /// It lets the session run that waits for a debugger.
    resumes: bool,
    /// The context in which it makes a page.
    creates: Option<String>,
    limit: Duration,
    deadline: Instant,
}

/// A call that ends a session which does not run yet.
#[derive(Debug)]
struct Held {
    id: u64,
    session: String,
    text: String,
}

/// Lets a target run that waits for a debugger.
pub(super) const RESUMING: &str = "Runtime.runIfWaitingForDebugger";

#[derive(Debug)]
struct Attached {
    target: String,
    context: Option<String>,
}

/// The calls of a context, or of the whole connection, may take until then.
#[derive(Debug)]
struct Allowance {
    context: Option<String>,
    until: Instant,
}

/// Events that are looked into. Chrome writes the method first.
const WATCHED: &[&str] = &[
    r#"{"method":"Target.attachedToTarget""#,
    r#"{"method":"Target.detachedFromTarget""#,
    r#"{"method":"Target.targetCrashed""#,
    r#"{"method":"Target.targetCreated""#,
    r#"{"method":"Target.targetDestroyed""#,
    r#"{"method":"Fetch.authRequired""#,
    r#"{"method":"Fetch.requestPaused""#,
    r#"{"method":"Inspector.targetCrashed""#,
    r#"{"method":"Inspector.targetReloadedAfterCrash""#,
];

/// Calls that a crashed page can still do something with.
const REVIVING: &[&str] = &["Page.navigate", "Page.reload", "Page.close"];

impl Filter {
    /// A connection on which each call may take this long.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            pending: BTreeMap::new(),
            targets: HashMap::new(),
            allowances: BTreeMap::new(),
            next_allowance: 0,
            popups: BTreeMap::new(),
            unclaimed: BTreeMap::new(),
            lent: HashSet::new(),
            auth: Auth::default(),
            floods: Floods::default(),
            held: Vec::new(),
            crashed: HashSet::new(),
            tainted: HashSet::new(),
        }
    }

    /// From now on the calls of this context, or of the whole connection, may take until `until`.
    pub(super) fn allow(&mut self, context: Option<String>, until: Instant) -> u64 {
        self.next_allowance += 1;
        self.allowances.insert(self.next_allowance, Allowance { context, until });
        self.next_allowance
    }

    /// Ends an allowance. Calls that went out under it keep their time.
    pub(super) fn disallow(&mut self, number: u64) {
        self.allowances.remove(&number);
    }

    /// How long a call on this session may take.
    fn limit_of(&self, session: Option<&str>, now: Instant) -> Duration {
        let context = session.and_then(|session| self.targets.get(session)?.context.as_deref());
        let covers = |allowed: &&Allowance| {
            allowed.context.is_none() || allowed.context.as_deref() == context
        };
        let allowed = self.allowances.values().filter(covers);
        let most = allowed.map(|allowed| allowed.until.saturating_duration_since(now)).max();
        most.unwrap_or_default().max(self.limit)
    }

    /// A call on its way to the browser, with a limit of its own if it has one.
    pub(super) fn outgoing(
        &mut self,
        text: &str,
        limit: Option<Duration>,
        now: Instant,
    ) -> Outgoing {
        let Ok(head) = serde_json::from_str::<Head<'_>>(text) else {
            return Outgoing::Forward;
        };
        let session = head.session.map(Cow::into_owned);
        if let Some(session) = &session {
            if self.crashed.contains(session) && !REVIVING.contains(&&*head.method) {
                return Outgoing::Answer(error(head.id, "the page crashed", Some(session)));
            }
            // Only the client's own calls have no limit of their own.
            if head.method == "Fetch.enable" && limit.is_none() {
                self.auth.leave_to_client(session);
            }
            if !is_undone(&head.method) && !self.tainted.contains(session) {
                self.tainted.insert(session.clone());
            }
        }
        let is_navigation = head.method == "Page.navigate";
        let limit = limit.unwrap_or_else(|| self.limit_of(session.as_deref(), now));
        let deadline = now + limit.min(FOREVER);
        let aim = || serde_json::from_str::<Creating>(text).ok()?.params;
        let detaches = head.method == "Target.detachFromTarget";
        let detached = detaches.then(|| aim()?.session_id).flatten();
        if let Some(session) = detached.filter(|session| self.is_resuming(session)) {
            // What is let go before it runs would wait for ever.
            self.held.push(Held { id: head.id, session, text: text.to_owned() });
            return Outgoing::Hold;
        }
        let creates = (head.method == "Target.createTarget").then(|| aim()?.browser_context_id);
        let (creates, resumes) = (creates.flatten(), head.method == RESUMING);
        let call = Call { session, is_navigation, resumes, creates, limit, deadline };
        self.pending.insert(head.id, call);
        Outgoing::Forward
    }

    /// A message on its way to the client.
    pub(super) fn incoming(&mut self, text: &str, now: Instant) -> Incoming {
        if let Some(id) = answered(text) {
            let mut incoming = Incoming::default();
            let call = self.pending.remove(&id);
            if let Some(Call { resumes: true, session: Some(session), .. }) = &call {
                incoming.release = self.release(session);
            }
            if let Some(Call { creates: Some(context), .. }) = call {
                let created: Option<Created> = serde_json::from_str(text).ok();
                if let Some(page) = created.and_then(|created| created.result?.target_id) {
                    self.unclaimed.remove(&page);
                }
                self.claim_rest(&context, &mut incoming.news);
            }
            return incoming;
        }
        if let Some(name) = noise(text) {
            let verdict = self.floods.take(name, text, now);
            return self.judged(verdict, session_of(text));
        }
        if let Some(target) = changed(text) {
            let verdict = self.floods.take_change(target, text, now);
            return self.judged(verdict, None);
        }
        if !WATCHED.iter().any(|prefix| text.starts_with(prefix)) {
            return Incoming::default();
        }
        serde_json::from_str(text).map_or(Incoming::default(), |event| self.event(event))
    }

    fn is_resuming(&self, session: &str) -> bool {
        let of_it = |call: &Call| call.resumes && call.session.as_deref() == Some(session);
        self.pending.values().any(of_it)
    }

    /// What was held back until the session runs.
    fn release(&mut self, session: &str) -> Vec<String> {
        if self.is_resuming(session) {
            return Vec::new();
        }
        self.take_held(session).map(|held| held.text).collect()
    }

    fn take_held(&mut self, session: &str) -> impl Iterator<Item = Held> + use<> {
        let all = std::mem::take(&mut self.held).into_iter();
        let (taken, rest): (Vec<_>, _) = all.partition(|held| held.session == session);
        self.held = rest;
        taken.into_iter()
    }

    fn event(&mut self, event: Event<'_>) -> Incoming {
        let Event { method, params, session } = event;
        match &*method {
            "Target.attachedToTarget" => {
                let Params { waiting_for_debugger: waits, session_id, target_info, .. } = params;
                if let (Some(session), Some(info)) = (session_id, target_info) {
                    let (target, context) = (info.target_id, info.browser_context_id);
                    let order = self.ask_for_auth(&session, context.as_deref());
                    self.targets.insert(session.clone(), Attached { target, context });
                    let resume = waits.then_some(session);
                    return Incoming { order, resume, ..Incoming::default() };
                }
            }
            "Target.targetCreated" => {
                if let Some(info) = params.target_info {
                    return Incoming { news: self.created(info), ..Incoming::default() };
                }
            }
            "Target.targetDestroyed" => {
                if let Some(page) = params.target_id {
                    self.floods.forget_target(&page);
                    self.popups.remove(&page);
                    self.unclaimed.remove(&page);
                    return Incoming { news: vec![News::PageGone(page)], ..Incoming::default() };
                }
            }
            "Target.detachedFromTarget" => {
                if let Some(session) = params.session_id {
                    return Incoming { inject: self.detached(&session), ..Incoming::default() };
                }
            }
            "Target.targetCrashed" => {
                if let Some(target) = params.target_id {
                    let of_it = |(_, owner): &(&String, &Attached)| owner.target == target;
                    let sessions = self.targets.iter().filter(of_it);
                    let sessions: Vec<_> = sessions.map(|(session, _)| session.clone()).collect();
                    return self.crash(&sessions, &target);
                }
            }
            "Fetch.authRequired" => {
                let order = session.and_then(|session| self.answer_auth(&session, params));
                return Incoming { shed: order.is_some(), order, ..Incoming::default() };
            }
            "Fetch.requestPaused" => {
                let order = session.and_then(|session| self.go_on(&session, params));
                return Incoming { shed: order.is_some(), order, ..Incoming::default() };
            }
            "Inspector.targetCrashed" => {
                let session = session.map(Cow::into_owned);
                if let Some((target, session)) = session
                    .and_then(|session| Some((self.targets.get(&session)?.target.clone(), session)))
                {
                    return self.crash(&[session], &target);
                }
            }
            "Inspector.targetReloadedAfterCrash" => {
                if let Some(session) = session {
                    self.crashed.remove(&*session);
                }
            }
            _ => {}
        }
        Incoming::default()
    }

    /// Fails every call of the sessions, and ends the navigation that the client waits for. A crash is
    /// announced to each session and once for the target: the first counts.
    fn crash(&mut self, sessions: &[String], target: &str) -> Incoming {
        let mut incoming = Incoming::default();
        for session in sessions {
            if !self.crashed.insert(session.clone()) {
                continue;
            }
            incoming.news = vec![News::PageCrashed(target.to_owned())];
            for (id, call) in self.take_of(session) {
                incoming.inject.push(if call.is_navigation {
                    failed_navigation(id, session, target)
                } else {
                    error(id, "the page crashed", Some(session))
                });
            }
            // The call that was to let it run is among them.
            incoming.release.extend(self.release(session));
            // The client ends a navigation when it has the answer and has seen a loaded document.
            incoming.inject.extend(empty_document(session, target));
        }
        incoming
    }

    /// The target is gone: nobody answers its calls any more.
    fn detached(&mut self, session: &str) -> Vec<String> {
        self.targets.remove(session);
        self.crashed.remove(session);
        self.tainted.remove(session);
        self.floods.forget(session);
        self.auth.forget_session(session);
        let held = self.take_held(session).map(|held| error(held.id, "the page is gone", None));
        let calls = self.take_of(session).into_iter();
        calls.map(|(id, _)| error(id, "the page is gone", Some(session))).chain(held).collect()
    }

    fn take_of(&mut self, session: &str) -> Vec<(u64, Call)> {
        let of_it = |call: &Call| call.session.as_deref() == Some(session);
        let ids: Vec<_> =
            self.pending.iter().filter(|(_, call)| of_it(call)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| Some((id, self.pending.remove(&id)?))).collect()
    }

    /// The answers of calls whose time is over, and what waited for a quieter second.
    pub(super) fn expire(&mut self, now: Instant) -> Incoming {
        let late = |(_, call): &(&u64, &Call)| call.deadline <= now;
        let late: Vec<_> = self.pending.iter().filter(late).map(|(id, _)| *id).collect();
        let mut incoming = Incoming { inject: self.floods.due(now), ..Incoming::default() };
        for id in late {
            let Some(Call { session, limit, creates, resumes, .. }) = self.pending.remove(&id)
            else {
                continue;
            };
            if let Some(session) = session.as_deref().filter(|_| resumes) {
                incoming.release.extend(self.release(session));
            }
            incoming.inject.push(unanswered(id, limit, session.as_deref()));
            if let Some(context) = creates {
                self.claim_rest(&context, &mut incoming.news);
            }
        }
        incoming
    }

    /// Whether a reset makes the page like new.
    pub(super) fn is_tainted(&self, session: &str) -> bool {
        self.tainted.contains(session) || self.crashed.contains(session)
    }

    /// What was asked of the page so far made it what a new page is.
    pub(super) fn settle(&mut self, session: &str) {
        self.tainted.remove(session);
    }
}

#[cfg(any(test, fuzzing))]
mod oracle;
#[cfg(fuzzing)]
pub use self::oracle::bridge_traffic;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod tests;
