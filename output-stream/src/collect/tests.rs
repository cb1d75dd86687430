//! Collectors against everything that was ever given to them.

use super::*;
use crate::event::EndReason;
use proptest::prelude::*;

fn data(offset: u64, bytes: &[u8]) -> Event {
    Event::Data { offset, bytes: Bytes::copy_from_slice(bytes) }
}

/// The parts of a start and an end with a hole between them.
fn expected(head: &[u8], omitted: u64, tail: &[u8]) -> Vec<Part> {
    let bytes =
        |bytes: &[u8]| (!bytes.is_empty()).then(|| Part::Bytes(Bytes::copy_from_slice(bytes)));
    if omitted == 0 {
        return bytes(&[head, tail].concat()).into_iter().collect();
    }
    let hole = Part::Missing(Missing::omitted(omitted));
    bytes(head).into_iter().chain([hole]).chain(bytes(tail)).collect()
}

fn feed(sink: &mut Sink, all: &[u8], chunk: usize) {
    for (n, part) in all.chunks(chunk).enumerate() {
        sink.take(&data((n * chunk) as u64, part));
    }
}

#[test]
fn lines_are_kept_with_their_endings_and_omitted_ones_are_counted() {
    let mut sink = Sink::new(Keep::head_tail_lines(1, 2));
    feed(&mut sink, b"a\r\nbb\nccc\ndddd\nrest", 3);
    let kept = sink.snapshot();
    assert_eq!(kept.bytes(), "a\r\n[3 bytes omitted]\nccc\ndddd\nrest");
    assert_eq!((kept.total(), kept.omitted()), (19, 3));
    sink.take(&Event::End(End::new(EndReason::Eof, 0)));
    let kept = sink.snapshot();
    // The unfinished line became one.
    assert_eq!(kept.text(), "a\r\n[7 bytes omitted]\ndddd\nrest");
    assert!(kept.end().is_some_and(End::is_eof) && !kept.is_complete());
}

#[test]
fn a_gap_is_told_and_breaks_the_line() {
    let mut sink = Sink::new(Keep::tail_lines(9));
    sink.take(&data(0, b"on"));
    sink.take(&Event::Gap { from: 2, to: 10 });
    sink.take(&data(10, b"e\n"));
    let kept = sink.snapshot();
    assert_eq!(
        (kept.lost(), kept.omitted(), kept.text()),
        (8, 0, "on\n[8 bytes lost]\ne\n".into())
    );
    assert!(!kept.is_complete());
}

#[test]
fn one_byte_pieces_do_not_cost_more_than_their_bytes() {
    let mut rope = Rope::default();
    for _ in 0..100_000 {
        rope.push(Bytes::from_static(b"x"));
        rope.shrink_to(50_000);
    }
    assert!(rope.last(u64::MAX).1.len() < 10, "they lie in few pieces");
    assert!(rope.len() >= 50_000 && rope.len() < 50_000 + 16 * 1024 + 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_are_the_first_and_the_last(head in 0u64..9_000, tail in 0u64..9_000, len in 0usize..30_000, chunk in 1usize..9_000) {
        let all: Vec<u8> = (0..len).map(|n| (n / 7) as u8).collect();
        let mut sink = Sink::new(Keep::head_tail(head, tail));
        feed(&mut sink, &all, chunk);
        let kept = sink.snapshot();
        let h = len.min(head as usize);
        let t = (len - h).min(tail as usize);
        prop_assert_eq!(kept.parts(), &expected(&all[..h], (len - h - t) as u64, &all[len - t..])[..]);
        prop_assert_eq!(kept.omitted(), (len - h - t) as u64);
        prop_assert!(!kept.is_complete(), "it may go on");
        sink.take(&Event::End(End::new(EndReason::Eof, 0)));
        prop_assert_eq!(sink.snapshot().is_complete(), kept.bytes() == all);
    }

    #[test]
    fn lines_are_the_first_and_the_last(head in 0u64..9, tail in 0u64..9, text in "[ab\n\r]{0,60}", chunk in 1usize..20) {
        let mut sink = Sink::new(Keep::head_tail_lines(head, tail));
        feed(&mut sink, text.as_bytes(), chunk);
        sink.take(&Event::End(End::new(EndReason::Eof, 0)));
        let kept = sink.snapshot();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let h = lines.len().min(head as usize);
        let t = (lines.len() - h).min(tail as usize);
        let (head, tail) = (lines[..h].concat(), lines[lines.len() - t..].concat());
        let omitted = (text.len() - head.len() - tail.len()) as u64;
        prop_assert_eq!(kept.parts(), &expected(head.as_bytes(), omitted, tail.as_bytes())[..]);
    }
}

#[test]
fn nonsense_of_a_caller_is_no_panic() {
    let mut sink = Sink::new(Keep::all());
    sink.take(&Event::Gap { from: 5, to: 1 });
    assert_eq!(sink.snapshot().lost(), 0);
}

#[test]
fn only_an_end_of_file_makes_it_whole() {
    let ends = [(EndReason::Eof, true), (EndReason::Aborted, false), (EndReason::Closed, false)];
    for (reason, is_whole) in ends {
        let mut sink = Sink::new(Keep::all());
        sink.take(&Event::Data { offset: 0, bytes: Bytes::from_static(b"x") });
        sink.take(&Event::End(End::new(reason, 1)));
        assert_eq!(sink.snapshot().is_complete(), is_whole);
    }
}

/// What is kept of `events` in each of the units, when all of it fits.
fn texts(events: &[Event]) -> [String; 4] {
    let most = 1 << 20;
    let keeps =
        [Keep::head(most), Keep::tail(most), Keep::head_lines(most), Keep::tail_lines(most)];
    keeps.map(|keep| {
        let mut sink = Sink::new(keep);
        events.iter().for_each(|event| sink.take(event));
        sink.snapshot().text()
    })
}

#[test]
fn the_notice_stands_where_the_loss_is() {
    let events = [
        data(0, b"balance: 12"),
        Event::Gap { from: 11, to: 20 },
        data(20, b"34 EUR\nend\n"),
        Event::Gap { from: 31, to: 33 },
        Event::End(End::new(EndReason::Eof, 0)),
    ];
    for text in texts(&events) {
        assert_eq!(text, "balance: 12\n[9 bytes lost]\n34 EUR\nend\n[2 bytes lost]\n");
    }
    // A part in the head, a part in the tail, and what is omitted between them.
    let mut sink = Sink::new(Keep::head_tail(13, 6));
    events.iter().for_each(|event| sink.take(event));
    let text = "balance: 12\n[9 bytes lost]\n34\n[3 bytes omitted]\nR\nend\n[2 bytes lost]\n";
    assert_eq!(sink.snapshot().text(), text);
    // What was lost in the omitted part is told at its place, and no byte is counted twice.
    let mut sink = Sink::new(Keep::tail(4));
    events.iter().for_each(|event| sink.take(event));
    let kept = sink.snapshot();
    assert_eq!(kept.text(), "[18 bytes omitted, 9 bytes lost]\nend\n[2 bytes lost]\n");
    assert_eq!((kept.total(), kept.omitted(), kept.lost()), (22, 18, 11));
}

#[test]
fn the_rest_of_a_long_line_is_missed_at_its_end() {
    let long = [b'x'; 70_000];
    let mut sink = Sink::new(Keep::head_lines(9));
    sink.take(&data(0, &long));
    sink.take(&data(70_000, b"\nnext\n"));
    let kept = sink.snapshot();
    let x = "x".repeat(64 * 1024);
    assert_eq!(kept.text(), format!("{x}\n[{} bytes omitted]\n\nnext\n", 70_000 - 65_536));
}

#[test]
fn a_line_that_is_not_to_be_kept_is_not_shown_while_it_grows() {
    let mut sink = Sink::new(Keep::head_lines(1));
    sink.take(&data(0, b"first\nsec"));
    assert_eq!(sink.snapshot().text(), "first\n[3 bytes omitted]\n");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every byte that arrived is here or omitted, and every byte that was lost is counted, whatever
    /// is asked for.
    #[test]
    fn every_byte_is_here_or_counted(
        head in 0u64..40,
        tail in 0u64..40,
        is_lines in any::<bool>(),
        steps in prop::collection::vec(prop_oneof![
            3 => "[ab\n]{1,9}".prop_map(Ok),
            1 => (1u64..9).prop_map(Err),
        ], 0..30),
    ) {
        let keep = if is_lines { Keep::head_tail_lines(head / 8, tail / 8) } else { Keep::head_tail(head, tail) };
        let mut sink = Sink::new(keep);
        let (mut at, mut total, mut lost) = (0, 0, 0);
        for step in steps {
            match step {
                Ok(text) => {
                    sink.take(&data(at, text.as_bytes()));
                    at += text.len() as u64;
                    total += text.len() as u64;
                }
                Err(n) => {
                    sink.take(&Event::Gap { from: at, to: at + n });
                    at += n;
                    lost += n;
                }
            }
            let kept = sink.snapshot();
            let here: u64 = kept.parts().iter().map(|part| match part {
                Part::Bytes(bytes) => bytes.len() as u64,
                Part::Missing(_) => 0,
            }).sum();
            prop_assert_eq!((kept.total(), kept.lost()), (total, lost), "{:?}", kept);
            prop_assert_eq!(here + kept.omitted(), total, "{:?}", kept);
        }
    }
}
