//! What the bridge knows of the protocol: enough to fail calls that will never be answered.
//!
//! Pure: it sees each message once, on its way out or in, and says what else to send. It parses the
//! head of what goes out, and of what comes in only the number of an answer and a handful of rare
//! events, recognised by their first bytes.

use serde::Deserialize;
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
    /// Sessions whose renderer crashed and was not reloaded.
    crashed: HashSet<String>,
    /// Sessions that were asked for something that a reset cannot undo.
    tainted: HashSet<String>,
}

#[derive(Debug)]
struct Call {
    session: Option<String>,
    is_navigation: bool,
    limit: Duration,
    deadline: Instant,
}

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

/// The head of a call, as the client writes it.
#[derive(Deserialize)]
struct Head<'a> {
    id: u64,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, rename = "sessionId")]
    session: Option<Cow<'a, str>>,
}

/// The parts of the rare events that matter.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(default)]
    params: Params,
    #[serde(borrow, rename = "sessionId")]
    session: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Params {
    session_id: Option<String>,
    target_id: Option<String>,
    target_info: Option<TargetInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetInfo {
    target_id: String,
    browser_context_id: Option<String>,
}

/// What to do with a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    Forward,
    /// It would never be answered: this is the answer.
    Answer(String),
}

/// What an incoming message brings with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Incoming {
    /// Messages for the client, after this one.
    pub(super) inject: Vec<String>,
    /// A target whose renderer crashed.
    pub(super) crashed: Option<String>,
}

/// Events that are looked into. Chrome writes the method first.
const WATCHED: &[&str] = &[
    r#"{"method":"Target.attachedToTarget""#,
    r#"{"method":"Target.detachedFromTarget""#,
    r#"{"method":"Target.targetCrashed""#,
    r#"{"method":"Inspector.targetCrashed""#,
    r#"{"method":"Inspector.targetReloadedAfterCrash""#,
];

/// Calls that a crashed page can still do something with.
const REVIVING: &[&str] = &["Page.navigate", "Page.reload", "Page.close"];

/// Domains whose settings belong to the session or the target, and end with it. A reset closes every target
/// of a context; whatever is not listed here may have changed more, and ends the context.
const OF_THE_TARGET: &[&str] = &[
    "Accessibility.",
    "Animation.",
    "CSS.",
    "DOM.",
    "DOMSnapshot.",
    "Emulation.",
    "Fetch.",
    "Input.",
    "Log.",
    "Overlay.",
    "Page.",
    "Performance.",
    "Runtime.",
];

/// Calls of other domains that change nothing, or what a reset clears.
const UNDONE: &[&str] = &[
    "Network.clearBrowserCache",
    "Network.clearBrowserCookies",
    "Network.deleteCookies",
    "Network.disable",
    "Network.emulateNetworkConditions",
    "Network.enable",
    "Network.getCookies",
    "Network.getResponseBody",
    "Network.setBlockedURLs",
    "Network.setCacheDisabled",
    "Network.setCookie",
    "Network.setCookies",
    "Network.setExtraHTTPHeaders",
    "Network.setUserAgentOverride",
    "Storage.clearDataForOrigin",
    "Target.activateTarget",
    "Target.setAutoAttach",
];

/// Calls of those domains that reach beyond the target.
const BEYOND: &[&str] = &["Page.setDownloadBehavior"];

impl Filter {
    /// A connection on which each call may take this long.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            pending: BTreeMap::new(),
            targets: HashMap::new(),
            allowances: BTreeMap::new(),
            next_allowance: 0,
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
            let of_the_target = OF_THE_TARGET.iter().any(|domain| head.method.starts_with(domain));
            let undone = of_the_target && !BEYOND.contains(&&*head.method)
                || UNDONE.contains(&&*head.method);
            if !undone && !self.tainted.contains(session) {
                self.tainted.insert(session.clone());
            }
        }
        let is_navigation = head.method == "Page.navigate";
        let limit = limit.unwrap_or_else(|| self.limit_of(session.as_deref(), now));
        let deadline = now + limit;
        self.pending.insert(head.id, Call { session, is_navigation, limit, deadline });
        Outgoing::Forward
    }

    /// A message on its way to the client.
    pub(super) fn incoming(&mut self, text: &str) -> Incoming {
        if let Some(id) = answered(text) {
            self.pending.remove(&id);
            return Incoming::default();
        }
        if !WATCHED.iter().any(|prefix| text.starts_with(prefix)) {
            return Incoming::default();
        }
        serde_json::from_str(text).map_or(Incoming::default(), |event| self.event(event))
    }

    fn event(&mut self, event: Event<'_>) -> Incoming {
        let Event { method, params, session } = event;
        match &*method {
            "Target.attachedToTarget" => {
                if let (Some(session), Some(info)) = (params.session_id, params.target_info) {
                    let (target, context) = (info.target_id, info.browser_context_id);
                    self.targets.insert(session, Attached { target, context });
                }
            }
            "Target.detachedFromTarget" => {
                if let Some(session) = params.session_id {
                    return Incoming { inject: self.detached(&session), crashed: None };
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
            incoming.crashed = Some(target.to_owned());
            for (id, call) in self.take_of(session) {
                incoming.inject.push(if call.is_navigation {
                    failed_navigation(id, session, target)
                } else {
                    error(id, "the page crashed", Some(session))
                });
            }
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
        let calls = self.take_of(session);
        calls.into_iter().map(|(id, _)| error(id, "the page is gone", Some(session))).collect()
    }

    fn take_of(&mut self, session: &str) -> Vec<(u64, Call)> {
        let of_it = |call: &Call| call.session.as_deref() == Some(session);
        let ids: Vec<_> =
            self.pending.iter().filter(|(_, call)| of_it(call)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| Some((id, self.pending.remove(&id)?))).collect()
    }

    /// The answers of calls whose time is over.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<String> {
        let late = |(_, call): &(&u64, &Call)| call.deadline <= now;
        let late: Vec<_> = self.pending.iter().filter(late).map(|(id, _)| *id).collect();
        let expired = |id| {
            let Call { session, limit, .. } = self.pending.remove(&id)?;
            let text = format!("no answer within {limit:?}");
            Some(failed(id, NO_ANSWER, &text, session.as_deref()))
        };
        late.into_iter().filter_map(expired).collect()
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

/// The number of the call that this message answers.
pub(super) fn answered(text: &str) -> Option<u64> {
    let rest = text.strip_prefix(r#"{"id":"#)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// The code that Chrome itself uses for errors of the server.
const CODE: i64 = -32000;

/// The code of an answer that the browser did not give: the time of the call was over.
pub(in super::super) const NO_ANSWER: i64 = -32098;

fn error(id: u64, message: &str, session: Option<&str>) -> String {
    failed(id, CODE, message, session)
}

/// An answer that says that a call failed. The number comes first, as in those of the browser.
fn failed(id: u64, code: i64, message: &str, session: Option<&str>) -> String {
    let error = serde_json::json!({ "code": code, "message": message });
    answer(id, "error", &error, session)
}

fn failed_navigation(id: u64, session: &str, target: &str) -> String {
    let result = serde_json::json!({ "frameId": target, "errorText": "the page crashed" });
    answer(id, "result", &result, Some(session))
}

fn answer(id: u64, kind: &str, value: &serde_json::Value, session: Option<&str>) -> String {
    let session = session.map(|session| format!(r#","sessionId":{}"#, serde_json::json!(session)));
    format!(r#"{{"id":{id},"{kind}":{value}{}}}"#, session.unwrap_or_default())
}

/// The events of an empty document that has loaded, in place of those that will not come.
fn empty_document(session: &str, target: &str) -> [String; 4] {
    let frame = serde_json::json!({
        "id": target, "loaderId": "crashed", "url": "about:blank", "domainAndRegistry": "",
        "securityOrigin": "://", "securityOriginDetails": { "isLocalhost": false },
        "mimeType": "text/html", "secureContextType": "InsecureScheme",
        "crossOriginIsolatedContextType": "NotIsolated", "gatedAPIFeatures": [],
    });
    let event = |method: &str, params: serde_json::Value| {
        serde_json::json!({ "method": method, "params": params, "sessionId": session }).to_string()
    };
    let stage = |name: &str| serde_json::json!({ "frameId": target, "loaderId": "crashed", "name": name, "timestamp": 0.0 });
    [
        event("Page.frameNavigated", serde_json::json!({ "frame": frame, "type": "Navigation" })),
        // The client takes the new document from here.
        event("Page.lifecycleEvent", stage("init")),
        event("Page.lifecycleEvent", stage("DOMContentLoaded")),
        event("Page.lifecycleEvent", stage("load")),
    ]
}

#[cfg(test)]
mod tests;
