//! What the filter says of each message.

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

fn call(id: u64, method: &str, session: &str) -> String {
    format!(r#"{{"id":{id},"method":"{method}","sessionId":"{session}","params":{{"a":[1]}}}}"#)
}

fn attached(session: &str, target: &str) -> String {
    format!(
        r#"{{"method":"Target.attachedToTarget","params":{{"sessionId":"{session}","targetInfo":{{"targetId":"{target}","type":"page"}},"waitingForDebugger":false}}}}"#
    )
}

fn filter() -> (Filter, Instant) {
    let mut filter = Filter::new(LIMIT);
    filter.incoming(&attached("s1", "t1"));
    filter.incoming(&attached("s2", "t2"));
    (filter, Instant::now())
}

#[test]
fn a_crash_fails_the_calls_of_its_page_alone() {
    let (mut filter, now) = filter();
    filter.outgoing(&call(1, "Runtime.evaluate", "s1"), None, now);
    filter.outgoing(&call(2, "Runtime.evaluate", "s2"), None, now);
    filter.outgoing(&call(3, "Page.navigate", "s1"), None, now);
    filter.outgoing(&call(4, "DOM.getDocument", "s1"), None, now);
    filter.incoming(r#"{"id":4,"result":{},"sessionId":"s1"}"#);
    let crash = r#"{"method":"Target.targetCrashed","params":{"targetId":"t1","status":"crashed","errorCode":5}}"#;
    let incoming = filter.incoming(crash);
    assert_eq!(incoming.crashed.as_deref(), Some("t1"));
    let inject = &incoming.inject;
    assert_eq!(inject.len(), 6, "{inject:?}");
    assert!(inject[0].contains(r#""id":1"#) && inject[0].contains("the page crashed"));
    assert!(inject[1].contains(r#""id":3"#) && inject[1].contains("errorText"));
    let late = filter.outgoing(&call(5, "Runtime.evaluate", "s1"), None, now);
    assert!(matches!(late, Outgoing::Answer(text) if text.contains(r#""id":5"#)));
    assert_eq!(filter.outgoing(&call(6, "Page.reload", "s1"), None, now), Outgoing::Forward);
    // The same crash is announced twice; the second time nothing is left to fail.
    let again = r#"{"method":"Inspector.targetCrashed","params":{},"sessionId":"s1"}"#;
    assert!(filter.incoming(again).inject.is_empty());
    let back = r#"{"method":"Inspector.targetReloadedAfterCrash","params":{},"sessionId":"s1"}"#;
    filter.incoming(back);
    assert_eq!(filter.outgoing(&call(7, "Runtime.evaluate", "s1"), None, now), Outgoing::Forward);
}

#[test]
fn a_call_that_is_not_answered_expires() {
    let (mut filter, now) = filter();
    filter.outgoing(r#"{"id":1,"method":"Browser.getVersion","params":{}}"#, None, now);
    filter.outgoing(&call(2, "Runtime.evaluate", "s1"), None, now + LIMIT / 2);
    assert!(filter.expire(now + LIMIT / 2).is_empty());
    let expired = filter.expire(now + LIMIT);
    assert_eq!(expired.len(), 1);
    assert!(expired[0].contains(r#""id":1"#) && !expired[0].contains("sessionId"));
    assert_eq!(filter.expire(now + LIMIT * 2).len(), 1);
    assert!(filter.pending.is_empty());
}

#[test]
fn the_limit_that_was_asked_for_is_the_one_that_holds() {
    let (mut filter, now) = filter();
    let with = |session: &str, context: &str| {
        let info = format!(r#""targetId":"t{session}","browserContextId":"{context}""#);
        format!(
            r#"{{"method":"Target.attachedToTarget","params":{{"sessionId":"{session}","targetInfo":{{{info}}}}}}}"#
        )
    };
    filter.incoming(&with("mine", "a"));
    filter.incoming(&with("popup", "a"));
    filter.incoming(&with("other", "b"));
    let (short, long) = (filter.allow(Some("a".into()), now + LIMIT * 2), LIMIT * 4);
    let allowed = filter.allow(Some("a".into()), now + long);
    filter.disallow(short);
    for (id, session) in [(1, "mine"), (2, "popup"), (3, "other")] {
        filter.outgoing(&call(id, "Runtime.evaluate", session), None, now);
    }
    filter.outgoing(&call(4, "Page.navigate", "other"), Some(long), now);
    let expired = filter.expire(now + LIMIT);
    assert_eq!(expired.len(), 1, "{expired:?}");
    assert_eq!(answered(&expired[0]), Some(3), "the other context has no more time");
    filter.disallow(allowed);
    filter.outgoing(&call(5, "Runtime.evaluate", "mine"), None, now + LIMIT);
    assert!(filter.expire(now + LIMIT * 2 - Duration::from_millis(1)).is_empty());
    let expired = filter.expire(now + LIMIT * 2);
    assert_eq!(answered(&expired[0]), Some(5), "an allowance that has ended gives no time");
    let mut last: Vec<_> = filter.expire(now + long).iter().map(|text| answered(text)).collect();
    last.sort_unstable();
    assert_eq!(last, [Some(1), Some(2), Some(4)]);
}

#[test]
fn a_page_that_goes_fails_its_calls() {
    let (mut filter, now) = filter();
    filter.outgoing(&call(1, "Runtime.evaluate", "s1"), None, now);
    let gone =
        r#"{"method":"Target.detachedFromTarget","params":{"sessionId":"s1","targetId":"t1"}}"#;
    assert_eq!(filter.incoming(gone).inject.len(), 1);
    assert!(filter.pending.is_empty() && !filter.targets.contains_key("s1"));
}

#[test]
fn only_what_a_reset_undoes_leaves_a_page_clean() {
    let (mut filter, now) = filter();
    for method in UNDONE.iter().chain(&["DOM.querySelector", "Emulation.setTimezoneOverride"]) {
        filter.outgoing(&call(1, method, "s1"), None, now);
        assert!(!filter.is_tainted("s1"), "{method}");
    }
    let lasting = [
        "Browser.grantPermissions",
        "Storage.overrideQuotaForOrigin",
        "Target.createTarget",
        "New.one",
    ];
    for method in BEYOND.iter().chain(&lasting) {
        filter.settle("s1");
        filter.outgoing(&call(2, method, "s1"), None, now);
        assert!(filter.is_tainted("s1") && !filter.is_tainted("s2"), "{method}");
    }
}

#[test]
fn the_client_understands_what_is_injected() {
    use chromiumoxide::cdp::{CdpEvent, CdpEventMessage};
    use chromiumoxide::types::Message;
    for text in empty_document("s", "t") {
        let message = serde_json::from_str::<Message<CdpEventMessage>>(&text);
        let Ok(Message::Event(event)) = message else { panic!("{text}: {message:?}") };
        let known = matches!(
            event.params,
            CdpEvent::PageFrameNavigated(_) | CdpEvent::PageLifecycleEvent(_)
        );
        assert!(known, "{event:?}");
        assert_eq!(event.session_id.as_deref(), Some("s"));
    }
    for text in [error(1, "x", None), failed_navigation(2, "s", "t")] {
        let message = serde_json::from_str::<Message<CdpEventMessage>>(&text);
        assert!(matches!(message, Ok(Message::Response(_))), "{text}: {message:?}");
    }
}

#[test]
fn rubbish_is_passed_on() {
    let (mut filter, now) = filter();
    for text in ["", "{", "null", r#"{"id":}"#, r#"{"id":99999999999999999999999}"#, "{\"id\":"] {
        assert_eq!(filter.outgoing(text, None, now), Outgoing::Forward);
        assert_eq!(filter.incoming(text), Incoming::default());
    }
}
