//! Models of the protocol between readers and the pump, one for each invariant of the state.
//!
//! The segments have their smallest size and every push fills one, so that a push evicts.

use crate::config::{Config, Retain};
use crate::event::{End, EndReason, Event};
use crate::policy::{Policy, Position};
use crate::shared::{Shared, Turn};
use crate::state::{Admit, Id, Orders, Taken};
use loom::future::block_on;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

const SEGMENT: u64 = 4096;

fn shared(retain: Retain) -> Arc<Shared> {
    let config = Config::builder().retain(retain).window(1).build().expect("not zero");
    assert_eq!(config.limits.segment as u64, SEGMENT);
    Arc::new(Shared::new(&config))
}

/// A pump that reads `pushes` segments and then comes to the end of its source.
fn pump(shared: &Shared, pushes: u64) {
    let mut room = shared.lock().room();
    for _ in 0..pushes {
        room.extend_from_slice(&[7; SEGMENT as usize]);
        let (orders, turn) = shared.push(&mut room);
        if orders == Orders::Stop || (turn == Turn::Ask && !admission(shared)) {
            return shared.finish(EndReason::Closed, room, Instant::now());
        }
    }
    shared.finish(EndReason::Eof, room, Instant::now());
}

fn admission(shared: &Shared) -> bool {
    block_on(poll_fn(|cx| match shared.poll_admit(cx, Instant::now(), true) {
        (_, Orders::Stop) => Poll::Ready(false),
        (_, Orders::Drain) => Poll::Ready(true),
        (Admit::Blocked { .. }, _) => Poll::Pending,
        _ => Poll::Ready(true),
    }))
}

/// What a subscriber saw: where it started, what it got, what it lost, and where it stands.
#[derive(Debug, Default)]
struct Seen {
    delivered: u64,
    lost: u64,
    at: u64,
}

/// Reads to the end, and checks that events are contiguous and that there is one end.
fn read_all(shared: &Shared, id: Id) -> Seen {
    let mut seen = Seen { at: shared.lock().stats_of(id).attached_at, ..Seen::default() };
    loop {
        match block_on(poll_fn(|cx| shared.poll_read(id, cx))) {
            Taken::Event(Event::Data { offset, bytes }, _) => {
                assert_eq!(offset, seen.at, "a hole or a repetition");
                seen.delivered += bytes.len() as u64;
                seen.at += bytes.len() as u64;
            }
            Taken::Event(Event::Gap { from, to }, _) => {
                assert_eq!(from, seen.at);
                seen.lost += to - from;
                seen.at = to;
            }
            Taken::Event(Event::End(_), _) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(shared.try_read(id), Taken::Finished), "one end, and then nothing");
    seen
}

#[test]
fn i1_a_subscriber_that_attaches_meanwhile_misses_nothing_unaccounted() {
    loom::model(|| {
        let shared = shared(Retain::Nothing);
        let pumping = loom::thread::spawn({
            let shared = shared.clone();
            move || pump(&shared, 2)
        });
        let id = shared.attach(Position::Start, Policy::DropOldest).expect("not exclusive");
        let seen = read_all(&shared, id);
        assert_eq!((seen.delivered + seen.lost, seen.at), (2 * SEGMENT, 2 * SEGMENT));
        pumping.join().expect("the pump");
    });
}

#[test]
fn i2_a_reader_that_found_nothing_is_woken() {
    loom::model(|| {
        let shared = shared(Retain::Nothing);
        let id = shared.attach(Position::Start, Policy::Block).expect("not exclusive");
        let pumping = loom::thread::spawn({
            let shared = shared.clone();
            move || pump(&shared, 1)
        });
        assert_eq!(read_all(&shared, id).delivered, SEGMENT);
        pumping.join().expect("the pump");
    });
}

#[test]
fn i3_a_blocked_pump_is_woken_by_a_read_and_by_a_drop() {
    for leaves in [false, true] {
        loom::model(move || {
            let shared = shared(Retain::Nothing);
            let id = shared.attach(Position::Start, Policy::Block).expect("not exclusive");
            let reading = loom::thread::spawn({
                let shared = shared.clone();
                move || {
                    if leaves {
                        shared.detach(id);
                    } else {
                        assert_eq!(read_all(&shared, id).delivered, 3 * SEGMENT);
                    }
                }
            });
            pump(&shared, 3);
            reading.join().expect("the reader");
        });
    }
}

#[test]
fn i4_the_end_is_for_those_attached_and_for_those_to_come() {
    loom::model(|| {
        let shared = shared(Retain::Bytes(SEGMENT));
        let early = shared.attach(Position::Live, Policy::DropNewest).expect("not exclusive");
        let pumping = loom::thread::spawn({
            let shared = shared.clone();
            move || pump(&shared, 1)
        });
        let late = shared.attach(Position::Start, Policy::DropOldest).expect("not exclusive");
        assert_eq!(read_all(&shared, early).delivered, SEGMENT);
        assert_eq!(read_all(&shared, late).delivered, SEGMENT);
        pumping.join().expect("the pump");
    });
}

#[test]
fn i5_a_blocking_reader_loses_nothing() {
    loom::model(|| {
        let shared = shared(Retain::Nothing);
        let id = shared.attach(Position::Start, Policy::Block).expect("not exclusive");
        let pumping = loom::thread::spawn({
            let shared = shared.clone();
            move || pump(&shared, 3)
        });
        let seen = read_all(&shared, id);
        assert_eq!((seen.delivered, seen.lost), (3 * SEGMENT, 0));
        pumping.join().expect("the pump");
    });
}

#[test]
fn i6_a_waiting_pump_is_woken_by_new_orders() {
    loom::model(|| {
        let shared = shared(Retain::Nothing);
        let _holds = shared.attach(Position::Start, Policy::Block).expect("not exclusive");
        let closing = loom::thread::spawn({
            let shared = shared.clone();
            move || shared.order(Orders::Stop)
        });
        // Once for a reader that never reads, once for a source that never has anything.
        pump(&shared, 3);
        let orders = block_on(poll_fn(|cx| match shared.poll_orders(cx) {
            Orders::Run => Poll::Pending,
            orders => Poll::Ready(orders),
        }));
        assert_eq!(orders, Orders::Stop);
        let id = shared.attach(Position::Live, Policy::Block).expect("not exclusive");
        assert!(matches!(
            shared.try_read(id),
            Taken::Event(Event::End(End { reason: EndReason::Closed, .. }), _)
        ));
        closing.join().expect("the closer");
    });
}

#[test]
fn i6_a_drain_waits_for_no_reader() {
    loom::model(|| {
        let shared = shared(Retain::Nothing);
        let slow = shared.attach(Position::Start, Policy::Block).expect("not exclusive");
        let draining = loom::thread::spawn({
            let shared = shared.clone();
            move || shared.order(Orders::Drain)
        });
        pump(&shared, 3);
        assert_eq!(read_all(&shared, slow).delivered, 3 * SEGMENT);
        draining.join().expect("the drain");
    });
}
