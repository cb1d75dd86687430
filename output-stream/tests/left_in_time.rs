//! What depends on code of the caller does not hold up a result for longer than the time limit allows, and a line that
//! is too long to go on with is an error wherever lines are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::result_large_err,
    clippy::disallowed_methods,
    reason = "tests"
)]
#![cfg(all(feature = "process", feature = "tokio"))]

use lastout_output_stream::{
    ConsumerError, Inlet, LineOptions, OnLong, Outlet, OutputError, Process, StdinEnd, TooLong,
};
use std::future::{Future, pending};
use std::io::ErrorKind;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(200);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it ends in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callbacks_and_sources_that_never_return_are_left_after_the_time_limit() {
    let (hold, held) = channel::<()>();
    let (blocks, blocked) = channel::<()>();
    let shows = async {
        let process = Process::shell("echo a").timeout(SHORT).on_line_async(|_, _| pending());
        let output = process.output().await.unwrap();
        assert_eq!(output.exit.on_line, Some(ConsumerError::Aborted));
        assert!(!output.exit.timed_out, "the process itself was in time");
        assert_eq!(output.stdout.text(), "a\n");
    };
    let blocks = async {
        let process = Process::shell("echo a").timeout(SHORT).on_line(move |_, _| {
            blocked.recv().unwrap_err();
        });
        let output = process.output().await.unwrap();
        assert_eq!(output.exit.on_line, Some(ConsumerError::Aborted));
        drop(blocks);
    };
    let feeds = async {
        let lines = std::iter::once("first".to_owned()).chain(std::iter::from_fn(move || {
            held.recv().unwrap_err();
            None
        }));
        let inlet = Inlet::lines(lines);
        let output = Process::builder("cat").stdin(inlet).timeout(SHORT).output().await.unwrap();
        assert!(output.exit.timed_out);
        assert!(matches!(output.stdin.unwrap().end, StdinEnd::Exited));
        drop(hold);
    };
    let begin = Instant::now();
    in_time(Box::pin(async { tokio::join!(shows, blocks, feeds) })).await;
    assert!(begin.elapsed() >= Duration::from_secs(5), "they have 5 s more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wait_that_is_tried_again_has_no_more_time_than_one_wait() {
    let shows = Process::shell("echo a").timeout(SHORT).on_line_async(|_, _| pending());
    let mut process = shows.spawn().unwrap();
    let tries = async {
        loop {
            // Shorter than what a callback has after the limit.
            if let Ok(exit) = tokio::time::timeout(SHORT, process.wait()).await {
                break exit.unwrap();
            }
        }
    };
    let exit = in_time(tries).await;
    assert_eq!(exit.on_line, Some(ConsumerError::Aborted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_in_a_write_that_does_not_return_is_left_after_the_time_limit() {
    // A terminal that is not read has room for less than is written at once.
    let (outer, inner) = lastout_proc_tree::terminal::open().unwrap();
    let outlets = [Outlet::default(), inner.into()];
    let process = Process::shell("head -c 300000 /dev/zero").stdout(Outlet::tee(outlets));
    let output = in_time(process.timeout(SHORT).output()).await.unwrap();
    let [copy] = &output.exit.copies[..] else { panic!("{:?}", output.exit) };
    assert_eq!(copy.error.kind(), ErrorKind::TimedOut);
    assert!(copy.written < 300_000, "{copy}");
    assert_eq!(output.stdout.total(), 300_000);
    // The end of the terminal ends the write, and with it the thread that the runtime waits for.
    drop(outer);
}

#[tokio::test]
async fn an_iterator_of_lines_is_not_asked_again_after_its_end() {
    let mut left = vec!["a"];
    let mut is_over = false;
    let lines = std::iter::from_fn(move || {
        assert!(!is_over, "asked again");
        is_over = left.is_empty();
        left.pop()
    });
    let output = in_time(Process::builder("cat").stdin(Inlet::lines(lines)).output()).await;
    let output = output.unwrap();
    assert!(matches!(output.stdin.unwrap().end, StdinEnd::Eof));
    assert_eq!(output.stdout.text(), "a\n");
}

#[tokio::test]
async fn a_line_that_is_too_long_to_go_on_is_the_last_item_of_lines_and_an_error_of_a_callback() {
    let options = LineOptions::builder().max_len(5).on_long(OnLong::Fail).build().unwrap();
    let process = move || {
        let script = "echo ok; echo 0123456789; echo more; echo other >&2";
        Process::shell(script).line_options(options)
    };
    let mut lines = process().lines().unwrap();
    let mut seen = Vec::new();
    let error = loop {
        match in_time(lines.next()).await.unwrap() {
            Ok((_, line)) => seen.push(line.text().into_owned()),
            Err(error) => break error,
        }
    };
    seen.sort();
    assert_eq!(seen, ["ok", "other"]);
    assert!(matches!(error, OutputError::TooLong(_, TooLong { offset: 3, limit: 5, .. })));
    assert!(in_time(lines.next()).await.is_none());

    let shown = Arc::new(Mutex::new(Vec::new()));
    let show = shown.clone();
    let shows = process().on_line(move |_, line| show.lock().unwrap().push(line.to_line()));
    let output = in_time(shows.output()).await.unwrap();
    let Some(ConsumerError::TooLong(error)) = output.exit.on_line else { panic!("{output:?}") };
    assert_eq!((error.offset, shown.lock().unwrap().len()), (3, 2));
    let blocking =
        tokio::task::spawn_blocking(move || process().on_line(|_, _| {}).output_blocking());
    let output = in_time(blocking).await.unwrap().unwrap();
    assert!(matches!(output.exit.on_line, Some(ConsumerError::TooLong(_))));
}
