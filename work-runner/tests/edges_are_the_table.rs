//! Every pair of state and event does what the table of edges says, and nothing else; and the
//! invariants hold over any sequence of events.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lastout_work_runner::lifecycle::{EDGES, Event, EventName, Refused, step};
use lastout_work_runner::{
    Edit, JobId, JobRecord, Lease, NewJob, Outcome, Recovery, State, WorkerId,
};
use proptest::prelude::*;
use std::collections::HashSet;
use std::time::Duration;

const WORKER: WorkerId = WorkerId(7);

fn row(state: State) -> JobRecord {
    let mut row = JobRecord::new(JobId(1), NewJob::raw("any", vec![]), 1000);
    row.state = state;
    if state >= State::Running {
        row.fence.0 = 3;
        row.owner = WORKER;
        row.attempt = 1;
    }
    row
}

fn outcomes() -> Vec<Outcome> {
    let error = || "because".to_owned();
    vec![
        Outcome::Done { result: None },
        Outcome::Confirm,
        Outcome::Retry { error: error(), delay_ms: 5 },
        Outcome::Fail { error: error() },
        Outcome::Reject { error: error() },
        Outcome::Snooze { delay_ms: 5 },
        Outcome::Stopped { error: None },
        Outcome::Release,
    ]
}

fn events(lease: Lease) -> Vec<Event> {
    let mut events = vec![
        Event::Promote,
        Event::Admit,
        Event::Claim { owner: WORKER },
        Event::Crash,
        Event::Cancel,
        Event::Abandon { reason: "over".into() },
        Event::Requeue,
        Event::Edit(Edit::new().priority(3)),
        Event::Edit(Edit::new().delay(Duration::from_secs(1))),
    ];
    events.extend(outcomes().into_iter().map(|outcome| Event::Report(lease, outcome)));
    events
}

#[test]
fn every_pair_of_state_and_event() {
    let mut names = HashSet::new();
    for state in State::ALL {
        for event in events(row(state).lease()) {
            names.insert(event.name());
            let before = row(state);
            let mut after = before.clone();
            let edge = EDGES.iter().find(|(from, by, _)| *from == state && *by == event.name());
            let moved = step(&mut after, event.clone(), 2000);
            match edge {
                Some((_, _, to)) => {
                    assert_eq!(moved, Ok(()), "{state} by {event:?}");
                    assert!(
                        to.contains(&after.state),
                        "{state} by {event:?} led to {}",
                        after.state
                    );
                    assert!(after.fence >= before.fence, "a fence never falls");
                    assert_eq!(after.ended_at > 0, after.state.is_terminal(), "{after:?}");
                }
                None => {
                    assert!(moved.is_err(), "{state} by {event:?}");
                    assert_eq!(after, before, "a refused event changes nothing");
                }
            }
        }
    }
    assert_eq!(names.len(), 16, "every event was tried");
    let pairs: HashSet<_> = EDGES.iter().map(|(from, by, _)| (from, by)).collect();
    assert_eq!(pairs.len(), EDGES.len(), "no edge stands twice");
}

#[test]
fn only_requeue_leads_out_of_an_end() {
    for (from, by, to) in EDGES {
        assert_eq!(from.is_terminal(), *by == EventName::Requeue, "{from} by {by:?}");
        assert!(*from != State::Unreadable && !to.contains(&State::Unreadable), "set aside");
        assert!(
            !to.is_empty() && !to.contains(&State::Held),
            "the store decides between ready and held"
        );
    }
    for state in State::ALL {
        assert_eq!(State::from_code(state.code()), Some(state));
        assert_eq!(State::from_name(state.name()), Some(state));
    }
    assert_eq!(
        (State::from_code(10), State::from_code(-1), State::from_name("lost")),
        (None, None, None)
    );
}

#[test]
fn a_foreign_lease_is_refused_in_every_state() {
    for state in State::ALL {
        for outcome in outcomes() {
            let own = row(state).lease();
            for lease in [
                Lease::new(own.job, lastout_work_runner::Fence(own.fence.0 + 1), own.owner),
                Lease::new(own.job, own.fence, WorkerId(8)),
            ] {
                let mut row = row(state);
                let refused = step(&mut row, Event::Report(lease, outcome.clone()), 2000);
                assert!(matches!(refused, Err(Refused::LeaseLost(_))), "{state} {outcome:?}");
            }
        }
    }
}

/// Which event comes next; leases are the current one, or one of an earlier claim.
fn any_event() -> impl Strategy<Value = (usize, bool)> {
    (0..17_usize, prop::bool::weighted(0.2))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_over_any_sequence(
        choices in prop::collection::vec(any_event(), 1..60),
        recovery in prop::sample::select(vec![Recovery::Rerun, Recovery::NeverRerun]),
        max_attempts in 1..4_u16,
        max_crashes in 1..4_u16,
        start in any::<bool>(),
    ) {
        let new = NewJob::raw("any", vec![]).recovery(recovery).max_attempts(max_attempts);
        let mut row = JobRecord::new(JobId(1), new.max_crashes(max_crashes), 0);
        let (mut stale, mut ends, mut revivals, mut now) = (row.lease(), 0, 0, 0);
        for (choice, use_stale) in choices {
            now += 1;
            let before = row.clone();
            let lease = if use_stale { stale } else { row.lease() };
            let event = events(lease).swap_remove(choice);
            let name = event.name();
            let moved = step(&mut row, event, now);
            if moved.is_ok() && name == EventName::Claim {
                stale = before.lease();
                if start || row.crashes > 0 {
                    row.started = row.fence;
                }
            }
            // I3: what is applied under a lease was shown the current one.
            let by_report = !matches!(name, EventName::Promote | EventName::Admit | EventName::Claim
                | EventName::Crash | EventName::Cancel | EventName::Abandon | EventName::Requeue
                | EventName::Edit);
            if moved.is_ok() && by_report {
                prop_assert_eq!((lease.fence, lease.owner), (before.fence, before.owner));
            }
            prop_assert!(row.fence >= before.fence);
            // I4
            prop_assert!(row.attempt <= row.max_attempts + row.crashes, "{:?}", row);
            prop_assert!(row.attempt >= 0 && row.crashes <= row.max_crashes, "{:?}", row);
            // I2: an end comes once for each life.
            ends += i32::from(!before.state.is_terminal() && row.state.is_terminal());
            revivals += i32::from(before.state.is_terminal() && !row.state.is_terminal());
            prop_assert_eq!(ends - revivals, i32::from(row.state.is_terminal()));
        }
    }
}
