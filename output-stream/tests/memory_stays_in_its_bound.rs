//! What a stream allocates is bounded by its configuration and its readers, and shown by its numbers.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(feature = "tokio")]

mod support;

use lastout_output_stream::{Config, Policy, Position, Retain, Stream};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use support::{pattern, until};
use tokio::io::AsyncWriteExt;

/// At most seven segments beside history and window.
const SEGMENTS: u64 = 7 * 64 * 1024;

#[tokio::test]
async fn the_places_of_lines_and_chunks_count_towards_the_cap() {
    let (cap, window) = (64 * 1024, 64 * 1024);
    for retain in [Retain::Lines(usize::MAX), Retain::Chunks(usize::MAX)] {
        let config = Config::builder().retain(retain).retain_cap(cap).window(window).chunk_size(3);
        let source = std::io::Cursor::new(vec![b'\n'; 1_000_000]);
        let stream = Stream::spawn(source, config.build().unwrap());
        assert!(stream.ended().await.is_eof());
        let stats = stream.stats();
        let bound = cap + window + (cap + window) / 16 + SEGMENTS;
        assert!(stats.peak_memory <= bound, "{retain:?}: {stats:?}");
        assert!(stats.retained > 0 && stats.memory <= stats.peak_memory, "{retain:?}: {stats:?}");
    }
}

#[tokio::test]
async fn what_is_kept_for_readers_alone_is_shown_and_goes_with_them() {
    let window = 32 * 1024;
    let config = Config::builder().retain(Retain::Nothing).window(window).build().unwrap();
    let (mut writer, source) = tokio::io::duplex(64 * 1024);
    let stream = Stream::spawn(source, config);
    let mut readers = Vec::new();
    let mut written = 0;
    for _ in 0..16 {
        readers.push(stream.subscribe(Position::Live, Policy::DropNewest).unwrap());
        let part = pattern(written, 4 * window as usize);
        writer.write_all(&part).await.unwrap();
        written += part.len() as u64;
        until(|| stream.ingested() == written).await;
    }
    let kept: u64 = readers.iter().map(|reader| reader.stats().kept).sum();
    let stats = stream.stats();
    assert!(kept >= 15 * window / 2, "each reader has something of its own: {kept}");
    assert!(stats.memory >= kept && stats.peak_memory >= stats.memory, "{kept} of {stats:?}");
    let bound = (window + window / 3 + SEGMENTS / 7 * 2) * 17 + SEGMENTS;
    assert!(stats.peak_memory <= bound, "at most a window for each reader: {stats:?}");
    readers.clear();
    let stats = stream.stats();
    assert!(stats.memory <= 2 * window + SEGMENTS, "nothing is kept for nobody: {stats:?}");
}

#[tokio::test]
async fn a_wait_for_the_end_that_is_dropped_leaves_no_waker() {
    struct Nothing;
    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }
    let (_writer, source) = tokio::io::duplex(64);
    let stream = Stream::spawn(source, Config::default());
    let wakers: Vec<_> = (0..100).map(|_| Arc::new(Nothing)).collect();
    for waker in &wakers {
        let waker = Waker::from(waker.clone());
        let mut ended = pin!(stream.ended());
        assert!(ended.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert!(wakers.iter().all(|waker| Arc::strong_count(waker) == 1), "none is held any more");
}
