//! Limits the events that a page may send without being asked, so that a page that floods does not keep the client
//! from other pages. What is kept back is counted.
//!
//! Two kinds of events are shed. Those of a session have a budget that is refilled each second. A change of a
//! target's title or address replaces the last one of this target: the latest goes on, at a slower rate.
//!
//! Shedding spares the client, and not the browser, whose main process does all of this work in one line for all
//! its pages. A page of a lease that goes on writing too much is ended.

use super::message::session_of;
use super::{Attached, Filter, Incoming, Order};
use crate::driver::News;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Events of this kind that one session may send in a second, and their bytes.
pub(super) const EVENTS: u32 = 1000;
pub(super) const BYTES: usize = 4 << 20;

/// Changes of one target that go on in a second, before the latest waits for the next second.
pub(super) const CHANGES: u32 = 20;

/// Messages on the console of one session in a second that are too many when they go on for so many seconds.
pub(super) const TOO_LOUD: u32 = 3000;
pub(super) const TOO_LONG: u32 = 5;

const SECOND: Duration = Duration::from_secs(1);

/// Events that a page can send as fast as it likes, and that the client keeps no account of. Pieces of one answer,
/// such as a heap snapshot, are not among them; the replay after `Debugger.enable` or `CSS.enable` is.
const NOISE: &[&str] = &[
    "Animation.",
    "Audits.",
    "CSS.",
    "Console.",
    "DOM.",
    "DOMStorage.",
    "Debugger.scriptFailedToParse",
    "Debugger.scriptParsed",
    "Log.",
    "Media.",
    "Network.",
    "Page.frameResized",
    "Page.windowOpen",
    "PerformanceTimeline.",
    "Runtime.bindingCalled",
    "Runtime.consoleAPICalled",
    "Runtime.exceptionThrown",
    "Storage.",
    "WebAudio.",
];

/// Those that a page writes itself.
const TALK: &[&str] = &["Console.", "Log.", "Runtime."];

/// Events that are waited for: the answer to a call that gives no nodes itself, and a request that stays paused until
/// the client lets it go on.
const AWAITED: &[&str] = &["DOM.setChildNodes", "Network.requestIntercepted"];

/// Requests of a session that are followed to their end at a time. No further one begins until one of them ends.
pub(super) const REQUESTS: usize = 10_000;

/// Events from which the client learns what becomes of a request.
const OF_A_REQUEST: &[&str] = &[
    "Network.loadingFailed",
    "Network.loadingFinished",
    "Network.requestServedFromCache",
    "Network.requestWillBeSent",
    "Network.responseReceived",
];

const CHANGED: &str =
    r#"{"method":"Target.targetInfoChanged","params":{"targetInfo":{"targetId":""#;

/// The name of an event that may be shed for its session.
pub(super) fn noise(text: &str) -> Option<&str> {
    let name = text.strip_prefix(r#"{"method":""#)?.split('"').next()?;
    let sheddable = NOISE.iter().any(|noise| name.starts_with(noise)) && !AWAITED.contains(&name);
    sheddable.then_some(name)
}

/// The target that changed.
pub(super) fn changed(text: &str) -> Option<&str> {
    text.strip_prefix(CHANGED)?.split('"').next()
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Passes,
    Sheds,
    /// It is shed, and its page, if it is that of a lease, is ended: said once.
    Ends,
}

/// What may still be sent until the next second.
#[derive(Debug)]
struct Budget {
    since: Instant,
    events: u32,
    bytes: usize,
}

impl Budget {
    fn new(events: u32, now: Instant) -> Self {
        Self { since: now, events, bytes: BYTES }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= SECOND
    }

    /// Whether there was room for it; it is taken then.
    fn takes(&mut self, bytes: usize) -> bool {
        let room = self.events > 0 && self.bytes >= bytes;
        if room {
            self.events -= 1;
            self.bytes -= bytes;
        }
        room
    }
}

#[derive(Debug)]
struct Session {
    budget: Budget,
    /// What it wrote in this second, and for how many seconds it has written too much.
    talk: u32,
    loud: u32,
    /// Requests whose start the client has seen, and not yet their end: the rest of them is never shed.
    requests: HashSet<String>,
    shed: u64,
}

#[derive(Debug)]
struct Target {
    budget: Budget,
    /// The latest change, while it waits.
    latest: Option<String>,
    replaced: u64,
}

impl Session {
    fn new(now: Instant) -> Self {
        let budget = Budget::new(EVENTS, now);
        Self { budget, talk: 0, loud: 0, requests: HashSet::new(), shed: 0 }
    }

    /// Begins another second, if it is time. Whether too much was written for too long: said once.
    fn turn(&mut self, now: Instant) -> bool {
        if !self.budget.is_over(now) {
            return false;
        }
        let goes_on = now.saturating_duration_since(self.budget.since) < 2 * SECOND;
        let is_loud = self.talk >= TOO_LOUD && goes_on;
        self.loud = if is_loud { self.loud.saturating_add(1) } else { 0 };
        (self.budget, self.talk) = (Budget::new(EVENTS, now), 0);
        self.loud == TOO_LONG
    }
}

impl Target {
    fn new(now: Instant) -> Self {
        let budget = Budget::new(CHANGES, now);
        Self { budget, latest: None, replaced: 0 }
    }
}

/// What each session and each target may still send.
#[derive(Debug, Default)]
pub(super) struct Floods {
    sessions: HashMap<String, Session>,
    targets: HashMap<String, Target>,
}

impl Floods {
    /// Takes an event of a session, if there is room for it.
    pub(super) fn take(&mut self, name: &str, text: &str, now: Instant) -> Verdict {
        let Some(key) = session_of(text) else {
            return Verdict::Passes;
        };
        if !self.sessions.contains_key(key) {
            self.sessions.insert(key.to_owned(), Session::new(now));
        }
        let Some(session) = self.sessions.get_mut(key) else {
            return Verdict::Passes;
        };
        let too_loud = session.turn(now);
        session.talk += u32::from(TALK.iter().any(|talk| name.starts_with(talk)));
        let room = session.budget.takes(text.len());
        let passes = match request_of(name, text) {
            Some(request) => request.passes(room, &mut session.requests),
            None => room,
        };
        session.shed += u64::from(too_loud || !passes);
        match (too_loud, passes) {
            (true, _) => Verdict::Ends,
            (false, true) => Verdict::Passes,
            (false, false) => Verdict::Sheds,
        }
    }

    /// Takes a change of a target, or keeps it until there is room, if no other replaces it before.
    pub(super) fn take_change(&mut self, target: &str, text: &str, now: Instant) -> Verdict {
        if !self.targets.contains_key(target) {
            self.targets.insert(target.to_owned(), Target::new(now));
        }
        let Some(known) = self.targets.get_mut(target) else {
            return Verdict::Passes;
        };
        if known.budget.is_over(now) {
            known.budget = Budget::new(CHANGES, now);
        }
        if known.budget.takes(text.len()) {
            // An older one that still waited comes to nothing.
            known.replaced += u64::from(known.latest.take().is_some());
            return Verdict::Passes;
        }
        known.replaced += u64::from(known.latest.replace(text.to_owned()).is_some());
        Verdict::Sheds
    }

    /// The changes that have waited long enough.
    pub(super) fn due(&mut self, now: Instant) -> Vec<String> {
        let waited = self.targets.values_mut().filter(|target| target.budget.is_over(now));
        waited.filter_map(|target| target.latest.take()).collect()
    }

    /// Messages of this session and its target that the client did not get.
    pub(super) fn shed_of(&self, session: &str, target: Option<&str>) -> u64 {
        let shed = self.sessions.get(session).map_or(0, |session| session.shed);
        let target = target.and_then(|target| self.targets.get(target));
        shed + target.map_or(0, |target| target.replaced)
    }

    /// The session is gone.
    pub(super) fn forget(&mut self, session: &str) {
        self.sessions.remove(session);
    }

    /// The target is gone.
    pub(super) fn forget_target(&mut self, target: &str) {
        self.targets.remove(target);
    }
}

impl Filter {
    /// What follows from a flood, or none, of this session. A page in no lease shares its browser with no other
    /// tenant, and is not ended.
    pub(super) fn judged(&self, verdict: Verdict, session: Option<&str>) -> Incoming {
        let mut incoming = Incoming { shed: verdict != Verdict::Passes, ..Incoming::default() };
        let ended = session.filter(|_| verdict == Verdict::Ends);
        let ended = ended.and_then(|key| self.targets.get_key_value(key));
        let is_lent = |at: &Attached| at.context.as_ref().is_some_and(|at| self.lent.contains(at));
        if let Some((session, at)) = ended.filter(|(_, at)| is_lent(at)) {
            incoming.news = vec![News::PageFlooded(at.target.clone())];
            let (session, params) = (session.clone(), serde_json::json!({}));
            incoming.order = Some(Order { session, method: "Page.crash", params });
        }
        incoming
    }

    /// Messages of this session that the client did not get.
    pub(in crate::chrome::bridge) fn shed_of(&self, session: &str) -> u64 {
        let target = self.targets.get(session).map(|at| at.target.as_str());
        self.floods.shed_of(session, target)
    }
}

/// A message about a request.
struct Request<'a> {
    id: &'a str,
    /// Navigations are waited for.
    is_navigation: bool,
    starts: bool,
    ends: bool,
}

/// The request that this message is about; browsers write its number first.
fn request_of<'a>(name: &str, text: &'a str) -> Option<Request<'a>> {
    if !OF_A_REQUEST.contains(&name) {
        return None;
    }
    let (_, params) = text.split_once(r#""params":{"requestId":""#)?;
    let (id, rest) = params.split_once('"')?;
    let loader = rest.strip_prefix(r#","loaderId":""#).and_then(|rest| rest.split('"').next());
    Some(Request {
        id,
        // The request for a document has the number of its loader.
        is_navigation: loader == Some(id),
        starts: name == "Network.requestWillBeSent",
        ends: name.starts_with("Network.loading"),
    })
}

impl Request<'_> {
    /// Whether the client gets the message: the rest of a request whose start it got always. A navigation is told even
    /// where it cannot be followed.
    fn passes(&self, room: bool, known: &mut HashSet<String>) -> bool {
        let is_known = known.contains(self.id);
        let is_followed = !self.starts || is_known || known.len() < REQUESTS;
        let passes = (room && is_followed) || is_known || self.is_navigation;
        if passes && self.starts && is_followed {
            known.insert(self.id.to_owned());
        }
        if self.ends && is_known {
            known.remove(self.id);
        }
        passes
    }
}
