//! The log against a `Vec` that remembers everything.

use super::*;
use crate::config::{Config, Retain};
use proptest::prelude::*;

fn log(retain: Retain, window: u64) -> Log {
    let config = Config::builder().retain(retain).window(window).build().unwrap();
    Log::new(&config.limits)
}

fn push(log: &mut Log, room: &mut BytesMut, bytes: &[u8]) {
    for part in bytes.chunks(1.max(room.capacity())) {
        let mut part = part;
        while !part.is_empty() {
            let n = part.len().min(room.capacity());
            room.extend_from_slice(&part[..n]);
            log.push(room);
            part = &part[n..];
        }
    }
}

#[test]
fn one_byte_reads_cost_one_byte_each() {
    let budget = 1024 * 1024u64;
    let mut log = log(Retain::Bytes(budget), 64 * 1024);
    let mut room = log.room();
    let mut peak = 0;
    for n in 0..3 * budget {
        push(&mut log, &mut room, &[n as u8]);
        peak = peak.max(log.memory());
        while log.evict().is_some() {}
    }
    assert!(log.end() - log.first() >= budget);
    let bound = budget + budget / 10 + 2 * 64 * 1024;
    assert!(peak <= bound, "{peak} allocated for {budget}");
}

#[test]
fn a_large_part_is_shared_and_a_small_one_copied() {
    let mut log = log(Retain::All, 1024 * 1024);
    let mut room = log.room();
    push(&mut log, &mut room, &[1; SHARE_FROM]);
    let first = log.slice(0).unwrap();
    let again = log.slice(0).unwrap();
    assert_eq!((first.as_ptr(), first.len()), (again.as_ptr(), SHARE_FROM));
    push(&mut log, &mut room, b"small");
    let at = SHARE_FROM as u64;
    assert_ne!(log.slice(at).unwrap().as_ptr(), log.slice(at).unwrap().as_ptr());
    assert_eq!(log.charged, 64 * 1024, "both lie in one segment");
}

#[test]
fn a_short_finished_log_keeps_only_its_bytes_allocated() {
    let mut log = log(Retain::Bytes(1024 * 1024), 1024 * 1024);
    let mut room = log.room();
    push(&mut log, &mut room, b"hello");
    log.finish(room);
    assert_eq!(log.slice(0).unwrap(), "hello");
    assert_eq!(log.memory(), 5);
}

#[test]
fn a_reader_that_keeps_up_reads_through_the_same_few_segments() {
    let mut log = log(Retain::Nothing, 1024 * 1024);
    let mut room = log.room();
    let mut places = std::collections::HashSet::new();
    let mut held = Bytes::new();
    for n in 0..100u64 {
        push(&mut log, &mut room, &[7; 64 * 1024]);
        held = log.slice(n * 64 * 1024).unwrap();
        assert_eq!(held.len(), 64 * 1024);
        places.insert(held.as_ptr());
        assert!(log.evict().is_some());
    }
    drop(held);
    assert!(places.len() <= 4, "{} segments in use", places.len());
}

#[test]
fn lines_are_counted_back_over_pieces() {
    let pieces = ["a\nbb\n", "c", "cc\nrest"].map(Bytes::from);
    let back = |n| bytes_of_last_lines(&pieces, n);
    assert_eq!([back(0), back(1), back(2), back(3), back(9)], [4, 8, 11, 13, 13]);
    assert_eq!(bytes_of_last_lines(&[], 3), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Read(usize),
    Evict,
    Seal,
    Share(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1usize..9_000).prop_map(Step::Push),
        4 => (1usize..4).prop_map(Step::Push),
        6 => any::<usize>().prop_map(Step::Read),
        3 => Just(Step::Evict),
        1 => Just(Step::Share(0)),
        1 => any::<usize>().prop_map(Step::Share),
    ];
    prop::collection::vec(prop_oneof![60 => step, 1 => Just(Step::Seal)], 1..120)
}

fn retains() -> impl Strategy<Value = Retain> {
    prop_oneof![
        Just(Retain::Nothing),
        Just(Retain::All),
        (1u64..40_000).prop_map(Retain::Bytes),
        (1usize..20).prop_map(Retain::Chunks),
        (1usize..300).prop_map(Retain::Lines),
    ]
}

/// What the retention promises, computed from everything that was ever pushed.
fn promised(retain: Retain, all: &[u8], chunks: &[usize]) -> usize {
    match retain {
        Retain::Nothing => all.len(),
        Retain::All => 0,
        Retain::Bytes(n) => all.len().saturating_sub(n as usize),
        Retain::Chunks(n) => chunks[chunks.len().saturating_sub(n)..].first().map_or(0, |c| *c),
        Retain::Lines(n) => {
            let ends = all.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1);
            let starts: Vec<_> = std::iter::once(0).chain(ends).collect();
            starts[starts.len().saturating_sub(n + 1)]
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_vec_with_a_moving_front(retain in retains(), steps in steps()) {
        let mut log = log(retain, 16 * 1024);
        let mut room = log.room();
        let (mut all, mut chunks, mut sealed) = (Vec::new(), Vec::new(), false);
        for step in steps {
            match step {
                Step::Push(n) => {
                    for _ in 0..n.min(room.capacity()) {
                        let byte = if all.len() % 41 == 40 { b'\n' } else { all.len() as u8 | 128 };
                        room.extend_from_slice(&[byte]);
                        all.push(byte);
                    }
                    chunks.push(all.len() - room.len());
                    log.push(&mut room);
                }
                Step::Read(place) => {
                    let first = log.first() as usize;
                    let at = first + place % (all.len() - first + 1);
                    match log.slice(at as u64) {
                        Some(bytes) => prop_assert_eq!(&bytes[..], &all[at..at + bytes.len()]),
                        None => prop_assert_eq!(at, all.len()),
                    }
                }
                Step::Evict => {
                    let front = log.first();
                    if let Some(Evicted { start, bytes, .. }) = log.evict() {
                        prop_assert_eq!(start, front);
                        let start = start as usize;
                        prop_assert_eq!(&bytes[..], &all[start..start + bytes.len()]);
                    }
                }
                Step::Seal => { log.seal(); sealed = true; }
                Step::Share(place) => {
                    let first = log.first() as usize;
                    let at = first + place % (all.len() - first + 1);
                    let shared = log.share_from(at as u64).concat();
                    prop_assert_eq!(&shared[..], &all[at..]);
                }
            }
            prop_assert_eq!(log.end(), all.len() as u64);
            let floor = if sealed { all.len() } else { promised(retain, &all, &chunks) };
            prop_assert_eq!(log.floor(), floor as u64);
            prop_assert!(log.first() <= log.floor());
            let excess: u64 = log.pieces.iter().filter(|p| p.end() <= log.floor).map(Piece::weight).sum();
            prop_assert_eq!(log.excess, excess);
        }
        log.finish(room);
        let first = log.first() as usize;
        prop_assert_eq!(log.share_from(first as u64).concat(), &all[first..]);
        while log.evict().is_some() {}
        let charged: u64 = log.pieces.iter().map(|p| p.charge as u64).sum();
        prop_assert_eq!(log.charged, charged);
    }
}
