//! A time limit around a reader fires, however far ahead its source is.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(feature = "tokio")]

use lastout_output_stream::{
    Config, LineOptions, Lines, Merge, Policy, Position, Retain, Stream, WaitErrorReason, merge,
};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};

/// Far more lines than any reader takes in the one turn that it has.
const MANY: usize = 400_000;

/// A stream that has ended, all of it in memory: its readers never wait.
async fn many_lines() -> Stream {
    let config = Config::builder().retain(Retain::All).build().unwrap();
    let stream = Stream::spawn(std::io::Cursor::new(vec![b'\n'; MANY]), config);
    assert!(stream.ended().await.is_eof());
    stream
}

fn lines(stream: &Stream) -> Lines {
    stream.subscribe(Position::Start, Policy::Block).unwrap().lines(LineOptions::default())
}

fn merged(stream: &Stream) -> Merge {
    let reader = || stream.subscribe(Position::Start, Policy::Block).unwrap();
    merge(reader(), reader())
}

/// Polls `reading` once, and says whether it gave up its turn by itself.
async fn yields(reading: impl Future<Output = ()>) -> bool {
    let mut reading = std::pin::pin!(reading);
    // A fresh turn: what was awaited before has taken from the one at hand.
    tokio::task::yield_now().await;
    std::future::poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx).is_pending())).await
}

#[tokio::test]
async fn a_loop_over_lines_gives_up_its_turn() {
    let stream = many_lines().await;
    let mut count = 0;
    let mut reader = lines(&stream);
    let next = async {
        while reader.next().await.is_some() {
            count += 1;
        }
    };
    assert!(yields(next).await);
    assert!(count > 100 && count < 10_000, "{count} lines in one turn");
}

#[tokio::test]
async fn a_visitor_of_lines_gives_up_its_turn() {
    let stream = many_lines().await;
    let mut count = 0;
    let mut reader = lines(&stream);
    let visit = async {
        let visit = |_: lastout_output_stream::LineRef<'_>| {
            count += 1;
            ControlFlow::Continue(())
        };
        let _ = reader.for_each(visit).await;
    };
    assert!(yields(visit).await);
    assert!(count > 100 && count < 10_000, "{count} lines in one turn");
    // Giving up a turn loses no line.
    let mut rest = 0;
    let flow = reader.for_each(|_| {
        rest += 1;
        ControlFlow::Continue(())
    });
    assert!(flow.await.is_continue());
    assert_eq!(count + rest, MANY);
}

#[tokio::test]
async fn a_loop_over_merged_lines_gives_up_its_turn() {
    let stream = many_lines().await;
    let mut count = 0;
    let mut reader = merged(&stream).lines(LineOptions::default());
    let next = async {
        while reader.next().await.is_some() {
            count += 1;
        }
    };
    assert!(yields(next).await);
    assert!(count > 100 && count < 10_000, "{count} lines in one turn");
}

#[tokio::test]
async fn a_loop_over_events_gives_up_its_turn() {
    let stream = many_lines().await;
    // One reader gets all of it in a few events; these have enough for more than a turn.
    let mut many: Vec<_> =
        (0..1_000).map(|n| stream.subscribe(Position::Offset(n), Policy::Block).unwrap()).collect();
    let each = async {
        for reader in &mut many {
            reader.next().await;
        }
    };
    assert!(yields(each).await);
}

#[tokio::test]
async fn any_number_of_idle_readers_rest() {
    let (_writer, source) = tokio::io::duplex(8);
    let stream = Stream::spawn(source, Config::default());
    let mut readers: Vec<_> = (0..1_000).map(|_| lines(&stream)).collect();
    let all = std::future::poll_fn(|cx| {
        let pending = readers.iter_mut().map(|reader| reader.poll_next(cx).is_pending());
        Poll::Ready((
            pending.filter(|pending| *pending).count(),
            tokio::task::coop::has_budget_remaining(),
        ))
    });
    assert_eq!(all.await, (1_000, true), "who finds nothing takes nothing of the turn");
}

/// Newlines for ever, always ready.
struct Endless;

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let room = buf.initialize_unfilled();
        room.fill(b'\n');
        let n = room.len();
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_line_that_never_comes_ends_with_its_time() {
    let stream = Stream::spawn(Endless, Config::default());
    let error = stream.wait_for(Duration::from_millis(20), |_| false).await.unwrap_err();
    assert!(matches!(error.reason, WaitErrorReason::Timeout(_)));
    let mut reader = lines(&stream);
    let reading = async { while reader.next().await.is_some() {} };
    assert!(tokio::time::timeout(Duration::from_millis(20), reading).await.is_err());
}

#[test]
fn outside_of_a_runtime_a_reader_reads_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stream = runtime.block_on(many_lines());
    let mut reader = lines(&stream);
    let mut cx = Context::from_waker(Waker::noop());
    for n in 0..MANY {
        assert!(matches!(reader.poll_next(&mut cx), Poll::Ready(Some(_))), "line {n}");
    }
}
