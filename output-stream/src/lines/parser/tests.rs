//! The parser against a splitter that sees everything at once.

use super::*;
use proptest::prelude::*;

#[derive(Debug, PartialEq, Eq, Clone)]
struct Seen(u64, Vec<u8>, Ending, u64);

fn parse(options: LineOptions, chunks: &[&[u8]]) -> Result<Vec<Seen>, TooLong> {
    let mut parser = LineParser::new(options);
    let mut seen = Vec::new();
    let mut visit = |line: LineRef<'_>| {
        seen.push(Seen(line.offset, line.bytes.to_vec(), line.ending, line.cut));
        ControlFlow::Continue(())
    };
    let mut offset = 0;
    for chunk in chunks {
        assert_eq!(parser.feed(offset, chunk, &mut visit)?, ControlFlow::Continue(()));
        offset += chunk.len() as u64;
    }
    let _ = parser.finish(&mut visit);
    Ok(seen)
}

fn text(options: LineOptions, chunks: &[&str]) -> Vec<(String, Ending)> {
    let chunks: Vec<_> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
    let seen = parse(options, &chunks).unwrap();
    seen.into_iter().map(|line| (String::from_utf8(line.1).unwrap(), line.2)).collect()
}

fn options(separator: Separator, max_len: usize, on_long: OnLong) -> LineOptions {
    LineOptions::builder().separator(separator).max_len(max_len).on_long(on_long).build().unwrap()
}

#[test]
fn endings_are_named() {
    let lines = text(LineOptions::default(), &["a\r", "\nb\n\n", "c\rd"]);
    let expected =
        [("a", Ending::CrLf), ("b", Ending::Lf), ("", Ending::Lf), ("c\rd", Ending::End)];
    assert_eq!(lines, expected.map(|(line, ending)| (line.to_string(), ending)));
    let lines =
        text(options(Separator::LfOrCr, 9, OnLong::Truncate), &["1%\r", "2%\r", "\nx\n\ry"]);
    let expected = [("1%", Ending::Cr), ("2%", Ending::Cr), ("x", Ending::Lf), ("", Ending::Cr)];
    assert_eq!(lines[..4], expected.map(|(line, ending)| (line.to_string(), ending)));
    let lines = text(options(Separator::Byte(0), 9, OnLong::Fail), &["a\n\0b\r\0"]);
    assert_eq!(lines, [("a\n".to_string(), Ending::Byte), ("b\r".to_string(), Ending::Byte)]);
    let kept = LineOptions::builder().keep_cr().build().unwrap();
    assert_eq!(text(kept, &["a\r\n"]), [("a\r".to_string(), Ending::Lf)]);
}

#[test]
fn the_largest_limit_loses_no_line() {
    for on_long in [OnLong::Truncate, OnLong::Split, OnLong::Fail] {
        let lines =
            text(options(Separator::Lf, usize::MAX, on_long), &["one\ntw", "o\r", "\nthree"]);
        let expected = [("one", Ending::Lf), ("two", Ending::CrLf), ("three", Ending::End)];
        assert_eq!(lines, expected.map(|(line, ending)| (line.to_string(), ending)));
    }
}

#[test]
fn a_line_of_exactly_the_limit_is_whole() {
    for on_long in [OnLong::Truncate, OnLong::Split, OnLong::Fail] {
        for chunks in
            [&["abc\r\nd"][..], &["abc", "\r", "\nd"], &["abc\r", "\nd"], &["a", "bc\r\nd"]]
        {
            let lines = text(options(Separator::Lf, 3, on_long), chunks);
            assert_eq!(lines[0], ("abc".to_string(), Ending::CrLf), "{on_long:?} {chunks:?}");
            assert_eq!(lines[1], ("d".to_string(), Ending::End));
        }
    }
    let error = parse(options(Separator::Lf, 3, OnLong::Fail), &[b"x\nabcd\n"]).unwrap_err();
    assert_eq!(error, TooLong { offset: 2, limit: 3 });
}

#[test]
fn characters_stay_whole_where_a_line_is_cut() {
    let lines = text(options(Separator::Lf, 4, OnLong::Split), &["aä", "€x\u{1F600}y\n"]);
    let pieces: Vec<_> = lines.iter().map(|line| line.0.as_str()).collect();
    assert_eq!(pieces, ["aä", "€x", "\u{1F600}", "y"]);
    let seen = parse(options(Separator::Lf, 4, OnLong::Truncate), &["aä€x\n".as_bytes()]).unwrap();
    assert_eq!(seen, [Seen(0, "aä".into(), Ending::Lf, 4)]);
    let seen = parse(options(Separator::Lf, 2, OnLong::Split), &[&[0x80; 5]]).unwrap();
    assert_eq!(seen.iter().map(|line| line.1.len()).collect::<Vec<_>>(), [2, 2, 1]);
}

#[test]
fn offsets_at_the_end_of_all_offsets_are_no_panic() {
    let mut parser = LineParser::new(options(Separator::Lf, 2, OnLong::Split));
    let mut lines = Vec::new();
    let _ = parser.feed(u64::MAX, b"a\nb\nlonger\nc", |line| {
        lines.push((line.offset, line.bytes.to_vec()));
        ControlFlow::Continue(())
    });
    assert_eq!(lines[..2], [(u64::MAX, b"a".to_vec()), (1, b"b".to_vec())]);
    assert_eq!(lines.len(), 5);
}

#[test]
fn only_a_character_longer_than_the_limit_is_cut() {
    let cut = |max_len| {
        let seen = parse(options(Separator::Lf, max_len, OnLong::Truncate), &["aé€".as_bytes()]);
        String::from_utf8(seen.unwrap()[0].1.clone()).map_err(|_| max_len)
    };
    assert_eq!(
        (cut(1), cut(2), cut(3), cut(5)),
        (Ok("a".into()), Ok("a".into()), Ok("aé".into()), Ok("aé".into()))
    );
    let seen = parse(options(Separator::Lf, 1, OnLong::Truncate), &["é".as_bytes()]).unwrap();
    assert_eq!((seen[0].1.len(), seen[0].3), (1, 1));
}

#[test]
fn a_failed_line_says_why() {
    let error: Box<dyn std::error::Error> = Box::new(TooLong { offset: 3, limit: 5 });
    assert_eq!(error.to_string(), "the line at offset 3 is longer than 5 bytes");
}

#[test]
fn no_line_is_joined_across_a_gap() {
    let mut parser = LineParser::new(LineOptions::default());
    let mut seen = Vec::new();
    let mut visit = |line: LineRef<'_>| {
        seen.push((line.text().into_owned(), line.offset, line.ending, line.lost_before));
        ControlFlow::Continue(())
    };
    let _ = parser.feed(0, b"whole\nhal", &mut visit);
    let _ = parser.gap(40, &mut visit);
    let _ = parser.feed(100, b"f\nnext\n", &mut visit);
    let _ = parser.gap(40, &mut visit);
    assert_eq!(
        seen,
        [
            ("whole".into(), 0, Ending::Lf, 0),
            ("hal".into(), 6, Ending::Gap, 0),
            ("f".into(), 100, Ending::Lf, 40),
            ("next".into(), 102, Ending::Lf, 0),
        ]
    );
}

#[test]
fn a_visitor_that_breaks_is_told_where() {
    let mut parser = LineParser::new(LineOptions::default());
    let flow = parser.feed(0, b"one\ntwo\nthree", |line| {
        if line.bytes == b"two" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(flow, Ok(ControlFlow::Break(8)));
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(b'\n'), 4 => Just(b'\r'), 20 => b'a'..b'e', 2 => 0x80u8..0xF4];
    prop::collection::vec(byte, 0..200)
}

fn any_options() -> impl Strategy<Value = LineOptions> {
    let separator =
        prop_oneof![Just(Separator::Lf), Just(Separator::LfOrCr), Just(Separator::Byte(b'a'))];
    let on_long = prop_oneof![Just(OnLong::Truncate), Just(OnLong::Split), Just(OnLong::Fail)];
    (separator, 1usize..12, on_long, any::<bool>()).prop_map(
        |(separator, max_len, on_long, strip_cr)| LineOptions {
            separator,
            max_len,
            on_long,
            strip_cr,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn the_chunks_do_not_matter(bytes in input(), cuts in prop::collection::vec(1usize..20, 0..60), options in any_options()) {
        let mut chunks = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        chunks.push(rest);
        prop_assert_eq!(parse(options, &chunks), parse(options, &[&bytes]));
    }

    #[test]
    fn every_byte_is_in_a_line_an_ending_or_a_count(bytes in input(), mut options in any_options()) {
        if options.on_long == OnLong::Fail { options.on_long = OnLong::Split; }
        let seen = parse(options, &[&bytes]).unwrap();
        let mut at = 0u64;
        for (n, line) in seen.iter().enumerate() {
            prop_assert_eq!(line.0, at, "line {}", n);
            let start = at as usize;
            prop_assert_eq!(&line.1[..], &bytes[start..start + line.1.len()]);
            prop_assert!(line.1.len() <= options.max_len);
            let ending = match line.2 {
                Ending::Lf | Ending::Byte => 1,
                Ending::CrLf => 2,
                Ending::Cr => 1 + u64::from(bytes.get((at + line.1.len() as u64 + line.3) as usize + 1) == Some(&b'\n')),
                Ending::Split | Ending::End | Ending::Gap => 0,
            };
            at += line.1.len() as u64 + line.3 + ending;
        }
        prop_assert_eq!(at, bytes.len() as u64);
    }
}
