//! The messages of the protocol: the parts that matter of what is read, and those that are written in place
//! of the browser.

use serde::Deserialize;
use std::borrow::Cow;
use std::time::Duration;

/// The head of a call, as the client writes it.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow, rename = "sessionId")]
    pub(super) session: Option<Cow<'a, str>>,
}

/// The parts of the rare events that matter.
#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    #[serde(default)]
    pub(super) params: Params,
    #[serde(borrow, rename = "sessionId")]
    pub(super) session: Option<Cow<'a, str>>,
}

/// What a call that makes a page, or lets a session go, is about.
#[derive(Deserialize)]
pub(super) struct Creating {
    pub(super) params: Option<CreatingParams>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatingParams {
    pub(super) browser_context_id: Option<String>,
    pub(super) session_id: Option<String>,
}

/// The answer to it.
#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) result: Option<Params>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Params {
    pub(super) waiting_for_debugger: bool,
    pub(super) session_id: Option<String>,
    pub(super) target_id: Option<String>,
    pub(super) target_info: Option<TargetInfo>,
    pub(super) request_id: Option<String>,
    pub(super) auth_challenge: Option<AuthChallenge>,
}

#[derive(Deserialize)]
pub(super) struct AuthChallenge {
    pub(super) source: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetInfo {
    pub(super) target_id: String,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    pub(super) opener_id: Option<String>,
    pub(super) browser_context_id: Option<String>,
}

/// The session of an event: browsers write it last.
pub(super) fn session_of(text: &str) -> Option<&str> {
    let (rest, session) = text.strip_suffix("\"}")?.rsplit_once('"')?;
    rest.ends_with(r#""sessionId":"#).then_some(session)
}

/// The number of the call that this message answers.
pub(in super::super) fn answered(text: &str) -> Option<u64> {
    let rest = text.strip_prefix(r#"{"id":"#)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// The code that Chrome itself uses for errors of the server.
const CODE: i64 = -32000;

/// The code of an answer that the browser did not give: the time of the call was over.
pub(in super::super) const NO_ANSWER: i64 = -32098;

/// The answer to a call whose time is over.
pub(super) fn unanswered(id: u64, limit: Duration, session: Option<&str>) -> String {
    let text = format!("{UNANSWERED}{} ms", limit.as_millis());
    failed(id, NO_ANSWER, &text, session)
}

const UNANSWERED: &str = "no answer within ";

/// The limit of the call that has this answer, if its time was over.
pub(in crate::chrome) fn limit_of_unanswered(code: i64, message: &str) -> Option<Duration> {
    let limit = message.strip_prefix(UNANSWERED)?.strip_suffix(" ms")?;
    (code == NO_ANSWER).then(|| limit.parse().ok().map(Duration::from_millis)).flatten()
}

pub(super) fn error(id: u64, message: &str, session: Option<&str>) -> String {
    failed(id, CODE, message, session)
}

/// An answer that says that a call failed. The number comes first, as in those of the browser.
pub(super) fn failed(id: u64, code: i64, message: &str, session: Option<&str>) -> String {
    let error = serde_json::json!({ "code": code, "message": message });
    answer(id, "error", &error, session)
}

pub(super) fn failed_navigation(id: u64, session: &str, target: &str) -> String {
    let result = serde_json::json!({ "frameId": target, "errorText": "the page crashed" });
    answer(id, "result", &result, Some(session))
}

pub(super) fn answer(
    id: u64,
    kind: &str,
    value: &serde_json::Value,
    session: Option<&str>,
) -> String {
    let session = session.map(|session| format!(r#","sessionId":{}"#, serde_json::json!(session)));
    format!(r#"{{"id":{id},"{kind}":{value}{}}}"#, session.unwrap_or_default())
}

/// The events of an empty document that has loaded, in place of those that will not come.
pub(super) fn empty_document(session: &str, target: &str) -> [String; 4] {
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
