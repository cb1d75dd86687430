//! What the filter says of each message.

use super::super::router::OWN;
use super::flood::{BYTES, CHANGES, EVENTS, REQUESTS, TOO_LONG, TOO_LOUD};
use super::reset::{BEYOND, UNDONE};
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

fn attached_in(session: &str, target: &str, context: &str) -> String {
    let info = format!(r#""targetId":"{target}","type":"page","browserContextId":"{context}""#);
    format!(
        r#"{{"method":"Target.attachedToTarget","params":{{"sessionId":"{session}","targetInfo":{{{info}}}}}}}"#
    )
}

fn filter() -> (Filter, Instant) {
    let mut filter = Filter::new(LIMIT);
    filter.incoming(&attached("s1", "t1"), Instant::now());
    filter.incoming(&attached("s2", "t2"), Instant::now());
    (filter, Instant::now())
}

#[test]
fn a_crash_fails_the_calls_of_its_page_alone() {
    let (mut filter, now) = filter();
    filter.outgoing(&call(1, "Runtime.evaluate", "s1"), None, now);
    filter.outgoing(&call(2, "Runtime.evaluate", "s2"), None, now);
    filter.outgoing(&call(3, "Page.navigate", "s1"), None, now);
    filter.outgoing(&call(4, "DOM.getDocument", "s1"), None, now);
    filter.incoming(r#"{"id":4,"result":{},"sessionId":"s1"}"#, Instant::now());
    let crash = r#"{"method":"Target.targetCrashed","params":{"targetId":"t1","status":"crashed","errorCode":5}}"#;
    let incoming = filter.incoming(crash, Instant::now());
    assert_eq!(incoming.news, [News::PageCrashed("t1".into())]);
    let inject = &incoming.inject;
    assert_eq!(inject.len(), 6, "{inject:?}");
    assert!(inject[0].contains(r#""id":1"#) && inject[0].contains("the page crashed"));
    assert!(inject[1].contains(r#""id":3"#) && inject[1].contains("errorText"));
    let late = filter.outgoing(&call(5, "Runtime.evaluate", "s1"), None, now);
    assert!(matches!(late, Outgoing::Answer(text) if text.contains(r#""id":5"#)));
    assert_eq!(filter.outgoing(&call(6, "Page.reload", "s1"), None, now), Outgoing::Forward);
    // The same crash is announced twice; the second time nothing is left to fail.
    let again = r#"{"method":"Inspector.targetCrashed","params":{},"sessionId":"s1"}"#;
    assert!(filter.incoming(again, Instant::now()).inject.is_empty());
    let back = r#"{"method":"Inspector.targetReloadedAfterCrash","params":{},"sessionId":"s1"}"#;
    filter.incoming(back, Instant::now());
    assert_eq!(filter.outgoing(&call(7, "Runtime.evaluate", "s1"), None, now), Outgoing::Forward);
}

#[test]
fn a_call_that_is_not_answered_expires() {
    let (mut filter, now) = filter();
    filter.outgoing(r#"{"id":1,"method":"Browser.getVersion","params":{}}"#, None, now);
    filter.outgoing(&call(2, "Runtime.evaluate", "s1"), None, now + LIMIT / 2);
    assert!(filter.expire(now + LIMIT / 2).inject.is_empty());
    let expired = filter.expire(now + LIMIT).inject;
    assert_eq!(expired.len(), 1);
    assert!(expired[0].contains(r#""id":1"#) && !expired[0].contains("sessionId"));
    assert_eq!(filter.expire(now + LIMIT * 2).inject.len(), 1);
    assert!(filter.pending.is_empty());
}

#[test]
fn a_limit_of_any_length_is_one() {
    let (mut filter, now) = filter();
    for (id, limit) in [(1, Duration::ZERO), (2, Duration::MAX)] {
        let call = call(id, "Runtime.evaluate", "s1");
        assert_eq!(filter.outgoing(&call, Some(limit), now), Outgoing::Forward);
    }
    let expired = filter.expire(now + LIMIT).inject;
    assert_eq!((expired.len(), filter.pending.len()), (1, 1), "{expired:?}");
}

#[test]
fn the_limit_that_was_asked_for_is_the_one_that_holds() {
    let (mut filter, now) = filter();
    let with = |session: &str, context: &str| attached_in(session, session, context);
    filter.incoming(&with("mine", "a"), Instant::now());
    filter.incoming(&with("popup", "a"), Instant::now());
    filter.incoming(&with("other", "b"), Instant::now());
    let (short, long) = (filter.allow(Some("a".into()), now + LIMIT * 2), LIMIT * 4);
    let allowed = filter.allow(Some("a".into()), now + long);
    filter.disallow(short);
    for (id, session) in [(1, "mine"), (2, "popup"), (3, "other")] {
        filter.outgoing(&call(id, "Runtime.evaluate", session), None, now);
    }
    filter.outgoing(&call(4, "Page.navigate", "other"), Some(long), now);
    let expired = filter.expire(now + LIMIT).inject;
    assert_eq!(expired.len(), 1, "{expired:?}");
    assert_eq!(answered(&expired[0]), Some(3), "the other context has no more time");
    filter.disallow(allowed);
    filter.outgoing(&call(5, "Runtime.evaluate", "mine"), None, now + LIMIT);
    assert!(filter.expire(now + LIMIT * 2 - Duration::from_millis(1)).inject.is_empty());
    let expired = filter.expire(now + LIMIT * 2).inject;
    assert_eq!(answered(&expired[0]), Some(5), "an allowance that has ended gives no time");
    let mut last: Vec<_> =
        filter.expire(now + long).inject.iter().map(|text| answered(text)).collect();
    last.sort_unstable();
    assert_eq!(last, [Some(1), Some(2), Some(4)]);
}

#[test]
fn a_page_that_goes_fails_its_calls() {
    let (mut filter, now) = filter();
    filter.outgoing(&call(1, "Runtime.evaluate", "s1"), None, now);
    let gone =
        r#"{"method":"Target.detachedFromTarget","params":{"sessionId":"s1","targetId":"t1"}}"#;
    assert_eq!(filter.incoming(gone, Instant::now()).inject.len(), 1);
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
        assert_eq!(filter.incoming(text, Instant::now()), Incoming::default());
    }
}

fn created(target: &str, opener: Option<&str>) -> String {
    let opener = opener.map(|opener| format!(r#""openerId":"{opener}","#)).unwrap_or_default();
    format!(
        r#"{{"method":"Target.targetCreated","params":{{"targetInfo":{{"targetId":"{target}","type":"page",{opener}"browserContextId":"c"}}}}}}"#
    )
}

fn create(id: u64) -> String {
    format!(
        r#"{{"id":{id},"method":"Target.createTarget","params":{{"url":"about:blank","browserContextId":"c"}}}}"#
    )
}

#[test]
fn a_page_that_nobody_asked_for_was_opened_by_a_page() {
    let (mut filter, now) = filter();
    let opened = |page: &str| News::PopupOpened { context: "c".into(), page: page.into() };
    filter.outgoing(&create(1), None, now);
    filter.outgoing(&create(2), None, now);
    assert_eq!(filter.incoming(&created("a", Some("t1")), now).news, [opened("a")]);
    // Any of these may be what was asked for, until the answers tell.
    for page in ["b", "asked", "late"] {
        assert_eq!(filter.incoming(&created(page, None), now).news, []);
    }
    let answer = r#"{"id":1,"result":{"targetId":"asked"}}"#;
    assert_eq!(filter.incoming(answer, now).news, [], "another call may have made the others");
    assert_eq!(filter.expire(now + LIMIT).news, [opened("b"), opened("late")]);
    assert_eq!(filter.incoming(&created("d", None), now).news, [opened("d")]);
    assert_eq!(filter.popups("c"), ["a", "b", "d", "late"]);
    let gone = r#"{"method":"Target.targetDestroyed","params":{"targetId":"b"}}"#;
    assert_eq!(filter.incoming(gone, now).news, [News::PageGone("b".into())]);
    assert_eq!(filter.popups("c"), ["a", "d", "late"]);
}

#[test]
fn a_flood_is_shed_for_its_own_session_and_counted() {
    let (mut filter, now) = filter();
    let noise = |name: &str, session: &str, text: &str| {
        format!(r#"{{"method":"{name}","params":{{"args":["{text}"]}},"sessionId":"{session}"}}"#)
    };
    let names = [
        "Runtime.consoleAPICalled",
        "Runtime.bindingCalled",
        "DOM.attributeModified",
        "Network.webSocketFrameReceived",
        "Page.windowOpen",
    ];
    let mut shed = 0;
    for (second, name) in names.iter().enumerate() {
        let now = now + Duration::from_secs(second as u64);
        let noise = |session, text| noise(name, session, text);
        let passed = (0..5000).filter(|_| !filter.incoming(&noise("s1", "x"), now).shed).count();
        shed += 5000 - u64::from(EVENTS);
        assert_eq!((passed, filter.shed_of("s1")), (EVENTS as usize, shed), "{name}");
        assert!(!filter.incoming(&noise("s2", "x"), now).shed, "another page may speak");
    }
    let later = now + Duration::from_secs(names.len() as u64);
    let again = noise(names[0], "s1", "x");
    assert!(!filter.incoming(&again, later).shed, "a second later it may again");
    assert!(filter.incoming(&noise(names[0], "s1", &"x".repeat(BYTES)), later).shed);
    let waited_for = [
        "DOM.setChildNodes",
        "Fetch.requestPaused",
        "HeapProfiler.addHeapSnapshotChunk",
        "Network.requestIntercepted",
        "Page.frameNavigated",
        "Page.lifecycleEvent",
        "Runtime.executionContextCreated",
        "Target.targetCreated",
    ];
    for name in waited_for {
        let event = noise(name, "s1", "x");
        assert!((0..5000).all(|_| !filter.incoming(&event, now).shed), "{name}");
    }
}

#[test]
fn a_request_whose_start_arrived_is_told_to_its_end() {
    let (mut filter, now) = filter();
    let told = |name: &str, request: &str, loader: &str| {
        format!(
            r#"{{"method":"Network.{name}","params":{{"requestId":"{request}","loaderId":"{loader}"}},"sessionId":"s1"}}"#
        )
    };
    for n in 0..5000 {
        assert_eq!(
            filter.incoming(&told("requestWillBeSent", &n.to_string(), "L"), now).shed,
            n >= EVENTS
        );
    }
    for name in ["responseReceived", "loadingFinished"] {
        for n in 0..5000 {
            let shed = filter.incoming(&told(name, &n.to_string(), "L"), now).shed;
            assert_eq!(shed, n >= EVENTS, "{name} of {n}");
        }
    }
    assert!(filter.incoming(&told("loadingFinished", "0", "L"), now).shed, "it has ended");
    for name in ["requestWillBeSent", "responseReceived", "loadingFailed"] {
        assert!(!filter.incoming(&told(name, "L", "L"), now).shed, "{name} of a navigation");
    }
}

#[test]
fn requests_that_never_end_are_followed_up_to_a_bound() {
    let (mut filter, now) = filter();
    let told = |name: &str, request: usize| {
        format!(
            r#"{{"method":"Network.{name}","params":{{"requestId":"{request}","loaderId":"L"}},"sessionId":"s1"}}"#
        )
    };
    let most = u32::try_from(REQUESTS).unwrap();
    let second = |n: u32| now + Duration::from_secs((n / EVENTS).into());
    let mut begin =
        |n: u32| !filter.incoming(&told("requestWillBeSent", n as usize), second(n)).shed;
    let begun = (0..2 * most).filter(|n| begin(*n)).count();
    assert_eq!(begun, REQUESTS);
    let mut tell = |name, n: u32| !filter.incoming(&told(name, n as usize), second(2 * most)).shed;
    assert!(tell("loadingFinished", 0));
    assert!(tell("requestWillBeSent", 3 * most) && !tell("requestWillBeSent", 3 * most + 1));
}

#[test]
fn of_the_changes_of_a_target_the_latest_arrives() {
    let (mut filter, now) = filter();
    filter.incoming(&attached("s1", "t1"), now);
    let change = |target: &str, title: u32| {
        format!(
            r#"{{"method":"Target.targetInfoChanged","params":{{"targetInfo":{{"targetId":"{target}","type":"page","title":"{title}"}}}}}}"#
        )
    };
    for title in 0..5000 {
        assert_eq!(filter.incoming(&change("t1", title), now).shed, title >= CHANGES, "{title}");
    }
    assert!(!filter.incoming(&change("t2", 0), now).shed, "another target may change");
    let nothing: [&str; 0] = [];
    assert_eq!(filter.expire(now + Duration::from_millis(999)).inject, nothing);
    assert_eq!(filter.expire(now + Duration::from_secs(1)).inject, [change("t1", 4999)]);
    assert_eq!(filter.expire(now + Duration::from_secs(9)).inject, nothing, "it came once");
    assert_eq!(filter.shed_of("s1"), 5000 - u64::from(CHANGES) - 1);
    let later = now + Duration::from_secs(9);
    for title in 0..=CHANGES {
        filter.incoming(&change("t1", title), later);
    }
    let gone = r#"{"method":"Target.targetDestroyed","params":{"targetId":"t1"}}"#;
    filter.incoming(gone, later);
    assert_eq!(filter.expire(later + Duration::from_secs(1)).inject, nothing, "it is gone");
}

#[test]
fn a_page_that_floods_on_is_ended_once_if_it_is_in_a_lease() {
    let (mut filter, now) = filter();
    filter.lend("lent".into());
    filter.incoming(&attached_in("s1", "t1", "lent"), now);
    filter.incoming(&attached_in("s2", "t2", "another"), now);
    let noise = |session| {
        format!(r#"{{"method":"Runtime.bindingCalled","params":{{}},"sessionId":"{session}"}}"#)
    };
    let [lent, another] = ["s1", "s2"].map(noise);
    let (mut ended, mut shed) = (Vec::new(), 0);
    let mut tell = |second: u32| {
        let incoming = filter.incoming(&lent, now + second * Duration::from_secs(1));
        if let Some(Order { session, method, .. }) = incoming.order {
            assert_eq!(method, "Page.crash");
            assert!(incoming.shed && incoming.news.len() == 1, "{:?}", incoming.news);
            ended.push((session, second));
        }
        shed += u64::from(incoming.shed);
        let incoming = filter.incoming(&another, now + second * Duration::from_secs(1));
        assert!(incoming.order.is_none() && incoming.news.is_empty(), "{incoming:?}");
    };
    // A pause begins the count again.
    let pauses = (0..TOO_LONG - 1).chain(TOO_LONG + 5..3 * TOO_LONG + 5);
    for second in pauses {
        (0..TOO_LOUD).for_each(|_| tell(second));
    }
    assert_eq!(ended, [("s1".to_owned(), 2 * TOO_LONG + 5)]);
    assert_eq!(filter.shed_of("s1"), shed, "the one that ends it is counted as well");
}

#[test]
fn what_waits_for_a_debugger_is_resumed() {
    let (mut filter, now) = filter();
    let waits = r#"{"method":"Target.attachedToTarget","params":{"sessionId":"w","targetInfo":{"targetId":"t","type":"service_worker"},"waitingForDebugger":true}}"#;
    assert_eq!(filter.incoming(waits, now).resume.as_deref(), Some("w"));
    assert_eq!(filter.incoming(&attached("s", "t"), now).resume, None);
    // The client lets the worker go before it runs; that has to wait for it.
    filter.incoming(waits, now);
    filter.outgoing(&call(1, RESUMING, "w"), None, now);
    let go =
        r#"{"id":2,"method":"Target.detachFromTarget","sessionId":"s","params":{"sessionId":"w"}}"#;
    assert_eq!(filter.outgoing(go, None, now), Outgoing::Hold);
    filter.outgoing(&call(OWN, RESUMING, "w"), None, now);
    let first = filter.incoming(r#"{"id":1,"result":{},"sessionId":"w"}"#, now);
    assert_eq!(first.release, [""; 0], "another call to it is on its way");
    let answer = format!(r#"{{"id":{OWN},"result":{{}},"sessionId":"w"}}"#);
    assert_eq!(filter.incoming(&answer, now).release, [go]);
    assert_eq!(filter.outgoing(go, None, now), Outgoing::Forward);
    let other = r#"{"id":3,"method":"Target.detachFromTarget","params":{"sessionId":"x"}}"#;
    assert_eq!(filter.outgoing(other, None, now), Outgoing::Forward);
}

#[test]
fn a_session_that_is_let_go_before_it_runs_is_let_go_when_it_crashes() {
    let (mut filter, now) = filter();
    filter.outgoing(&call(1, RESUMING, "s1"), None, now);
    let detach = r#"{"id":2,"method":"Target.detachFromTarget","params":{"sessionId":"s1"}}"#;
    assert_eq!(filter.outgoing(detach, None, now), Outgoing::Hold);
    let crash = r#"{"method":"Target.targetCrashed","params":{"targetId":"t1","status":"crashed","errorCode":5}}"#;
    assert_eq!(filter.incoming(crash, now).release, [detach]);
}
