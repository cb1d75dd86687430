//! A future of a reader that is dropped before it is ready loses nothing: every `next` goes on where
//! the last one that completed ended.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(feature = "tokio")]

mod support;

use futures_util::FutureExt;
use lastout_output_stream::{
    Config, Event, LineOptions, Policy, Position, Sequence, Stream, merge,
};
use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;
use support::{Account, pattern};
use tokio::io::{AsyncWriteExt, DuplexStream};

/// Polls a fresh future again and again and drops it each time, until one is ready at its first poll.
async fn impatient<T, F: Future<Output = T>>(mut make: impl FnMut() -> F) -> T {
    loop {
        if let Some(ready) = make().now_or_never() {
            return ready;
        }
        tokio::task::yield_now().await;
    }
}

async fn write_slowly(mut writer: DuplexStream, bytes: Vec<u8>, part: usize) {
    for part in bytes.chunks(part) {
        writer.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
}

fn numbered_lines(n: usize) -> Vec<u8> {
    (0..n).map(|n| format!("line {n}\n")).collect::<String>().into_bytes()
}

#[tokio::test]
async fn next_and_next_batch() {
    for batch in [false, true] {
        let (writer, source) = tokio::io::duplex(3_000);
        let stream = Stream::spawn(source, Config::default());
        let mut reader = stream.subscribe(Position::Start, Policy::Block).unwrap();
        let writing = tokio::spawn(write_slowly(writer, pattern(0, 300_000), 777));
        let mut account = Account::starting_at(0);
        while account.end.is_none() {
            if batch {
                let mut events = Vec::new();
                // One future, polled many times, and dropped when it made its caller wait.
                loop {
                    if reader.next_batch(&mut events).now_or_never().is_some() {
                        break;
                    }
                    assert!(events.is_empty(), "what is not ready has taken nothing");
                    tokio::task::yield_now().await;
                }
                events.iter().for_each(|event| account.take(event));
            } else {
                let event = loop {
                    match reader.next().now_or_never() {
                        Some(event) => break event,
                        None => tokio::task::yield_now().await,
                    }
                };
                account.take(&event.unwrap());
            }
        }
        assert_eq!(account.delivered, 300_000);
        writing.await.unwrap();
    }
}

#[tokio::test]
async fn lines_text_and_for_each() {
    let all = numbered_lines(5_000);
    for way in 0..3 {
        let (writer, source) = tokio::io::duplex(100);
        let stream = Stream::spawn(source, Config::default());
        let reader = stream.subscribe(Position::Start, Policy::Block).unwrap();
        let writing = tokio::spawn(write_slowly(writer, all.clone(), 37));
        let mut got = String::new();
        if way == 0 {
            let mut text = reader.text();
            loop {
                match text.next().now_or_never() {
                    Some(Some(piece)) => got += &piece,
                    Some(None) => break,
                    None => tokio::task::yield_now().await,
                }
            }
        } else {
            let mut lines = reader.lines(LineOptions::default());
            loop {
                let ready = if way == 1 {
                    lines
                        .next()
                        .now_or_never()
                        .map(|line| line.map(|line| got = format!("{got}{}\n", line.text())))
                } else {
                    let visit = |line: lastout_output_stream::LineRef<'_>| {
                        got += &line.text();
                        got += "\n";
                        ControlFlow::Continue(())
                    };
                    lines.for_each(visit).now_or_never().map(|_| None)
                };
                match ready {
                    Some(None) => break,
                    Some(Some(())) => {}
                    None => tokio::task::yield_now().await,
                }
            }
        }
        assert!(got.as_bytes() == all, "way {way}");
        writing.await.unwrap();
    }
}

#[tokio::test]
async fn merged_events_and_lines() {
    for as_lines in [false, true] {
        let sequence = Sequence::new();
        let config = || Config::builder().sequence(&sequence).build().unwrap();
        let (one, first) = tokio::io::duplex(64);
        let (two, second) = tokio::io::duplex(64);
        let streams = (Stream::spawn(first, config()), Stream::spawn(second, config()));
        let readers = (
            streams.0.subscribe(Position::Start, Policy::Block).unwrap(),
            streams.1.subscribe(Position::Start, Policy::Block).unwrap(),
        );
        let all = numbered_lines(2_000);
        let writing = [one, two].map(|w| tokio::spawn(write_slowly(w, all.clone(), 29)));
        let mut merged = merge(readers.0, readers.1);
        let mut count = 0;
        if as_lines {
            let mut lines = merged.lines(LineOptions::default());
            loop {
                match lines.next().now_or_never() {
                    Some(Some(_)) => count += 1,
                    Some(None) => break,
                    None => tokio::task::yield_now().await,
                }
            }
            assert_eq!(count, 4_000);
        } else {
            loop {
                match merged.next().now_or_never() {
                    Some(Some(merged)) => {
                        if let Event::Data { bytes, .. } = merged.event {
                            count += bytes.len();
                        }
                    }
                    Some(None) => break,
                    None => tokio::task::yield_now().await,
                }
            }
            assert_eq!(count, 2 * all.len());
        }
        for writing in writing {
            writing.await.unwrap();
        }
    }
}

#[tokio::test]
async fn waiting_for_the_end_and_for_a_line() {
    let (mut writer, source) = tokio::io::duplex(100);
    let stream = Stream::spawn(source, Config::default());
    let reader = stream.subscribe(Position::Start, Policy::Block).unwrap();
    let mut lines = reader.lines(LineOptions::default());
    writer.write_all(b"one\ntwo\nthr").await.unwrap();
    support::until(|| stream.ingested() == 11).await;
    let long = Duration::from_secs(60);
    assert!(lines.wait_for(long, |_| false).now_or_never().is_none());
    assert_eq!(lines.unfinished(), b"thr");
    writer.write_all(b"ee\nfour\n").await.unwrap();
    let line = lines.wait_for(long, |_| true).await.unwrap();
    assert_eq!((&line.bytes[..], line.offset), (&b"three"[..], 8), "the seen ones are behind it");
    assert!(stream.ended().now_or_never().is_none());
    let mut collector = stream.collect(lastout_output_stream::Keep::all()).unwrap();
    assert!(collector.wait().now_or_never().is_none());
    drop(writer);
    assert!(impatient(|| stream.ended()).await.is_eof());
    assert_eq!(collector.wait().await.text(), "one\ntwo\nthree\nfour\n");
    assert_eq!(lines.next().await.unwrap().bytes, "four");
}
