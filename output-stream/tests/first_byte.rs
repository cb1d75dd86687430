//! Who attaches before the first read gets every byte, however fast the source is.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(feature = "tokio")]

mod support;

use lastout_output_stream::{
    Config, End, EndReason, Event, Keep, LineOptions, Policy, Position, Prepared, Retain, Stream,
};
use support::{Account, pattern};

const SIZE: usize = 3 << 20;

/// Keeps nothing for those who come later.
fn prepared() -> Prepared {
    let config = Config::builder().retain(Retain::Nothing).window(64 << 10);
    Stream::prepare(config.build().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_attached_before_the_start_gets_every_byte() {
    let prepared = prepared();
    let mut reader = prepared.subscribe(Position::Start, Policy::Block).unwrap();
    let collector = prepared.collect(Keep::all()).unwrap();
    let stream = prepared.spawn(std::io::Cursor::new(pattern(0, SIZE)));
    let mut account = Account::starting_at(0);
    while let Some(event) = reader.next().await {
        account.take(&event);
    }
    assert_eq!((account.delivered, account.lost), (SIZE as u64, 0));
    assert!(stream.ended().await.is_eof());
    let mut collector = collector;
    assert!(collector.wait().await.is_complete());
}

#[cfg(feature = "blocking")]
#[tokio::test]
async fn also_when_the_source_is_read_by_a_thread() {
    let prepared = prepared();
    let mut collector = prepared.collect(Keep::all()).unwrap();
    let stream = prepared.spawn_blocking(std::io::Cursor::new(pattern(0, SIZE))).unwrap();
    assert!(collector.wait().await.is_complete());
    assert_eq!(stream.ingested(), SIZE as u64);
}

#[tokio::test]
async fn a_stream_that_is_never_started_ends() {
    let prepared = prepared();
    let mut reader = prepared.subscribe(Position::Start, Policy::Block).unwrap();
    let handle = Stream::clone(&prepared);
    assert!(handle.end().is_none());
    drop(prepared);
    assert!(matches!(reader.next().await, Some(Event::End(End { reason: EndReason::Closed, .. }))));
    assert!(matches!(handle.ended().await, End { reason: EndReason::Closed, .. }));
}

#[tokio::test]
async fn a_stream_gives_its_lines_and_its_text_from_the_start() {
    let stream = Stream::spawn(&b"one\ntwo\n"[..], Config::default());
    let mut lines = stream.lines(LineOptions::default()).unwrap();
    assert_eq!(lines.next().await.unwrap().text(), "one");
    assert_eq!(lines.next().await.unwrap().text(), "two");
    let mut text = stream.text().unwrap();
    assert_eq!(text.next().await.unwrap(), "one\ntwo\n");
}

#[cfg(all(feature = "process", feature = "tokio"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_writes_to_readers_that_were_there_before_it() {
    use lastout_output_stream::Process;
    let (out, err) = (prepared(), prepared());
    let mut reader = out.subscribe(Position::Start, Policy::Block).unwrap();
    let mut errors = err.lines(LineOptions::default()).unwrap();
    let mut process = Process::shell(format!("echo first >&2; head -c {SIZE} /dev/zero"))
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap();
    assert_eq!(errors.next().await.unwrap().text(), "first");
    let mut total = 0;
    while let Some(event) = reader.next().await {
        match event {
            Event::Data { bytes, .. } => total += bytes.len(),
            Event::Gap { from, to } => panic!("lost {from}..{to}"),
            Event::End(end) => assert!(end.is_eof()),
        }
    }
    assert_eq!(total, SIZE);
    assert!(process.wait().await.unwrap().success());

    let never = prepared();
    let mut reader = never.subscribe(Position::Start, Policy::Block).unwrap();
    assert!(Process::builder("/nonexistent/program").stdout(never).spawn().is_err());
    assert!(matches!(reader.next().await, Some(Event::End(End { reason: EndReason::Closed, .. }))));
}
