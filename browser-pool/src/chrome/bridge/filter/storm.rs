//! Recorded traffic in any order, cut, doubled and mutated: the filter never panics, answers each call once, and gives
//! a password only to the proxy of its context.

use super::*;
use crate::proxy::Credentials;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What browsers and the client send, with places for sessions, contexts and numbers.
const INCOMING: &[&str] = &[
    r#"{"method":"Target.attachedToTarget","params":{"sessionId":"S","targetInfo":{"targetId":"T","type":"page","title":"","url":"about:blank","attached":true,"browserContextId":"C"},"waitingForDebugger":true}}"#,
    r#"{"method":"Target.detachedFromTarget","params":{"sessionId":"S","targetId":"T"}}"#,
    r#"{"method":"Target.targetCreated","params":{"targetInfo":{"targetId":"T","type":"page","openerId":"T","browserContextId":"C"}}}"#,
    r#"{"method":"Target.targetDestroyed","params":{"targetId":"T"}}"#,
    r#"{"method":"Target.targetCrashed","params":{"targetId":"T","status":"crashed","errorCode":5}}"#,
    r#"{"method":"Inspector.targetCrashed","params":{},"sessionId":"S"}"#,
    r#"{"method":"Inspector.targetReloadedAfterCrash","params":{},"sessionId":"S"}"#,
    r#"{"method":"Fetch.requestPaused","params":{"requestId":"R","request":{"url":"http://a/"}},"sessionId":"S"}"#,
    r#"{"method":"Fetch.authRequired","params":{"requestId":"R","authChallenge":{"source":"Proxy","origin":"http://p","scheme":"basic","realm":""}},"sessionId":"S"}"#,
    r#"{"method":"Fetch.authRequired","params":{"requestId":"R","authChallenge":{"source":"Server","origin":"http://p","scheme":"basic","realm":""}},"sessionId":"S"}"#,
    r#"{"method":"Runtime.consoleAPICalled","params":{"type":"log","args":[]},"sessionId":"S"}"#,
    r#"{"method":"Page.lifecycleEvent","params":{"frameId":"T","name":"load"},"sessionId":"S"}"#,
    r#"{"id":N,"result":{"targetId":"T"}}"#,
    r#"{"id":N,"error":{"code":-32000,"message":"no"},"sessionId":"S"}"#,
];

const OUTGOING: &[&str] = &[
    r#"{"id":N,"method":"Runtime.evaluate","params":{"expression":"1"},"sessionId":"S"}"#,
    r#"{"id":N,"method":"Page.navigate","params":{"url":"http://a/"},"sessionId":"S"}"#,
    r#"{"id":N,"method":"Runtime.runIfWaitingForDebugger","params":{},"sessionId":"S"}"#,
    r#"{"id":N,"method":"Target.detachFromTarget","params":{"sessionId":"S"}}"#,
    r#"{"id":N,"method":"Target.createTarget","params":{"url":"about:blank","browserContextId":"C"}}"#,
    r#"{"id":N,"method":"Fetch.enable","params":{},"sessionId":"S"}"#,
];

#[derive(Debug, Clone)]
struct Step {
    is_outgoing: bool,
    which: usize,
    session: u8,
    context: u8,
    number: u64,
    /// Where a byte is replaced, and by which.
    wrong: Option<(usize, u8)>,
    cut: Option<usize>,
    later: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wrong = prop::option::weighted(0.15, (0..300_usize, any::<u8>()));
    let cut = prop::option::weighted(0.05, 0..300_usize);
    let step = (any::<bool>(), 0..14_usize, 0..3_u8, 0..2_u8, 1..40_u64, wrong, cut, 0..3000_u64);
    let step =
        step.prop_map(|(is_outgoing, which, session, context, number, wrong, cut, later)| Step {
            is_outgoing,
            which,
            session,
            context,
            number,
            wrong,
            cut,
            later,
        });
    prop::collection::vec(step, 1..120)
}

fn text(step: &Step, templates: &[&str], number: u64) -> String {
    let Step { session, context, which, .. } = step;
    let text = templates[which % templates.len()]
        .replace("\"S\"", &format!("\"s{session}\""))
        .replace("\"T\"", &format!("\"t{session}\""))
        .replace("\"C\"", &format!("\"c{context}\""))
        .replace("\"R\"", &format!("\"r{}\"", step.number % 4))
        .replace(":N", &format!(":{number}"));
    let mut bytes = text.into_bytes();
    if let Some((at, byte)) = step.wrong {
        let at = at % bytes.len();
        bytes[at] = byte;
    }
    bytes.truncate(step.cut.unwrap_or(usize::MAX));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the router does with calls that were held; the answers that they get at once.
fn send_again(filter: &mut Filter, calls: Vec<String>, now: Instant) -> Vec<String> {
    let limit = Some(Duration::from_secs(30));
    let sent = calls.into_iter().map(|call| filter.outgoing(&call, limit, now));
    let answers = sent.filter_map(|verdict| match verdict {
        Outgoing::Answer(answer) => Some(answer),
        Outgoing::Forward | Outgoing::Hold => None,
    });
    answers.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_call_is_answered_once_and_a_password_goes_to_its_proxy_alone(steps in steps()) {
        let mut filter = Filter::new(Duration::from_secs(5));
        let credentials = Credentials { user: "user".into(), password: "secret".into() };
        filter.authenticate("c0".into(), credentials);
        let (mut now, mut next) = (Instant::now(), 0);
        // The calls that went out whole, and how often each was answered.
        let mut calls: BTreeMap<u64, u32> = BTreeMap::new();
        for step in steps {
            now += Duration::from_millis(step.later);
            let mut made = filter.expire(now);
            if step.is_outgoing {
                next += 1;
                let call = text(&step, OUTGOING, next);
                let head = serde_json::from_str::<Head<'_>>(&call).ok();
                // A client gives each number once; a mutated one is no client's.
                if head.as_ref().is_none_or(|head| head.id == next) {
                    if let Outgoing::Answer(answer) = filter.outgoing(&call, None, now) {
                        made.inject.push(answer);
                    }
                    calls.extend(head.map(|_| (next, 0)));
                }
            } else {
                let message = text(&step, INCOMING, step.number);
                let is_pending = answered(&message).is_some_and(|id| filter.pending.contains_key(&id));
                if let Some(count) = answered(&message).and_then(|id| calls.get_mut(&id)) {
                    *count += u32::from(is_pending);
                }
                let from_proxy = message.contains("\"source\":\"Proxy\"");
                let incoming = filter.incoming(&message, now);
                if let Some(order) = &incoming.order {
                    let has = order.params.to_string().contains("secret");
                    let at = filter.targets.get(&order.session);
                    let own = at.is_some_and(|at| at.context.as_deref() == Some("c0"));
                    prop_assert!(own, "an order for a session of another context: {order:?}");
                    prop_assert!(!has || from_proxy, "a password for who is no proxy: {order:?}");
                }
                made.inject.extend(incoming.inject);
                made.release.extend(incoming.release);
            }
            made.inject.extend(send_again(&mut filter, made.release, now));
            for message in &made.inject {
                prop_assert!(!message.contains("secret"));
                if let Some(count) = answered(message).and_then(|id| calls.get_mut(&id)) {
                    *count += 1;
                }
            }
            let twice = calls.iter().find(|(_, count)| **count > 1);
            prop_assert!(twice.is_none(), "answered twice: {twice:?}");
        }
        // What was not answered waits until its limit, and no longer.
        let mut late = Vec::new();
        for _ in 0..2 {
            now += Duration::from_secs(60);
            let over = filter.expire(now);
            late.extend(over.inject);
            late.extend(send_again(&mut filter, over.release, now));
        }
        for message in late {
            if let Some(count) = answered(&message).and_then(|id| calls.get_mut(&id)) {
                *count += 1;
            }
        }
        let held: Vec<_> = filter.held.iter().map(|held| held.id).collect();
        let open = calls.iter().find(|(id, count)| **count != 1 && !held.contains(id));
        prop_assert!(open.is_none(), "never answered, or twice: {open:?}");
        prop_assert!(held.is_empty(), "held for ever: {held:?}");
    }
}
