//! Collectors against everything that was ever given to them.

use super::*;
use proptest::prelude::*;

fn data(offset: u64, bytes: &[u8]) -> Event {
    Event::Data { offset, bytes: Bytes::copy_from_slice(bytes) }
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
    assert_eq!((&kept.head()[..], &kept.tail()[..]), (&b"a\r\n"[..], &b"ccc\ndddd\nrest"[..]));
    assert_eq!((kept.total(), kept.omitted()), (19, 3));
    sink.take(&Event::End(End::Eof));
    let kept = sink.snapshot();
    assert_eq!(&kept.tail()[..], b"dddd\nrest", "the unfinished line became one");
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
    assert_eq!((kept.lost(), kept.omitted(), &kept.tail()[..]), (8, 0, &b"one\n"[..]));
    assert!(!kept.is_complete());
}

#[test]
fn one_byte_pieces_do_not_cost_more_than_their_bytes() {
    let mut rope = Rope::default();
    for _ in 0..100_000 {
        rope.push(Bytes::from_static(b"x"));
        rope.shrink_to(50_000);
    }
    assert!(rope.last(u64::MAX).len() < 10, "they lie in few pieces");
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
        prop_assert_eq!(&kept.head()[..], &all[..h]);
        prop_assert_eq!(&kept.tail()[..], &all[len - t..]);
        prop_assert_eq!(kept.omitted(), (len - h - t) as u64);
        prop_assert!(!kept.is_complete(), "it may go on");
        sink.take(&Event::End(End::Eof));
        prop_assert_eq!(sink.snapshot().is_complete(), kept.bytes() == all);
    }

    #[test]
    fn lines_are_the_first_and_the_last(head in 0u64..9, tail in 0u64..9, text in "[ab\n\r]{0,60}", chunk in 1usize..20) {
        let mut sink = Sink::new(Keep::head_tail_lines(head, tail));
        feed(&mut sink, text.as_bytes(), chunk);
        sink.take(&Event::End(End::Eof));
        let kept = sink.snapshot();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let h = lines.len().min(head as usize);
        let t = (lines.len() - h).min(tail as usize);
        prop_assert_eq!(kept.head().to_vec(), lines[..h].concat().into_bytes());
        prop_assert_eq!(kept.tail().to_vec(), lines[lines.len() - t..].concat().into_bytes());
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
    for (end, is_whole) in [(End::Eof, true), (End::Aborted, false), (End::Closed, false)] {
        let mut sink = Sink::new(Keep::all());
        sink.take(&Event::Data { offset: 0, bytes: Bytes::from_static(b"x") });
        sink.take(&Event::End(end));
        assert_eq!(sink.snapshot().is_complete(), is_whole);
    }
}
