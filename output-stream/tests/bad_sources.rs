//! Whatever a source does, the stream has a defined end, and everybody gets it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(feature = "tokio")]

mod support;

use lastout_output_stream::{
    Config, ConsumerError, End, EndReason, Event, Keep, LineOptions, LinesEnd, OnLong, OnStall,
    Policy, Position, Retain, Separator, Stream, SubscribeError, TeeEnd, WaitErrorReason,
};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use support::{Account, pattern, until};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

const LONG: Duration = Duration::from_secs(60);

/// Plays what each read gives; `None` never becomes ready.
struct Script(VecDeque<Option<io::Result<Vec<u8>>>>);

impl Script {
    fn new(steps: impl IntoIterator<Item = Option<io::Result<Vec<u8>>>>) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.pop_front().unwrap_or(Some(Ok(Vec::new()))) {
            Some(Ok(bytes)) => {
                buf.put_slice(&bytes);
                Poll::Ready(Ok(()))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => {
                self.0.push_front(None);
                Poll::Pending
            }
        }
    }
}

async fn read_all(stream: &Stream) -> Account {
    let mut reader = stream.subscribe(Position::Start, Policy::Block).unwrap();
    let mut account = Account::starting_at(0);
    while let Some(event) = reader.next().await {
        account.take(&event);
    }
    assert!(reader.next().await.is_none(), "nothing follows the end");
    account
}

#[tokio::test]
async fn a_read_error_comes_after_the_data_for_early_and_late_readers() {
    let broken = || io::Error::new(io::ErrorKind::ConnectionReset, "cable cut");
    let source = Script::new([Some(Ok(pattern(0, 500))), Some(Err(broken()))]);
    let stream = Stream::spawn(source, Config::builder().name("cable").build().unwrap());
    let kept = stream.collect(Keep::all()).unwrap().wait().await;
    assert!(kept.total() == 500 && !kept.is_complete());
    for _ in 0..3 {
        let account = read_all(&stream).await;
        assert_eq!(account.delivered, 500);
        let text = account.end.as_ref().unwrap().to_string();
        assert_eq!(text, "cable: read error at byte 500: cable cut");
        let Some(End { reason: EndReason::ReadError(error), .. }) = account.end else {
            panic!("{account:?}")
        };
        assert_eq!(error.to_string(), "cable cut");
    }
}

#[tokio::test]
async fn an_interrupted_read_is_tried_again_and_an_empty_one_is_the_end() {
    let interrupted = || Some(Err(io::ErrorKind::Interrupted.into()));
    let steps = [interrupted(), Some(Ok(pattern(0, 9))), interrupted(), Some(Ok(Vec::new()))];
    let stream = Stream::spawn(Script::new(steps), Config::default());
    let account = read_all(&stream).await;
    assert_eq!((account.delivered, account.end.unwrap().is_eof()), (9, true));
}

#[tokio::test]
async fn a_source_that_panics_aborts_its_stream_alone() {
    struct Panics;
    impl AsyncRead for Panics {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            panic!("in a source")
        }
    }
    let stream = Stream::spawn(Panics, Config::default());
    assert!(matches!(read_all(&stream).await.end, Some(End { reason: EndReason::Aborted, .. })));
}

#[test]
fn a_runtime_that_is_shut_down_aborts_its_streams() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let source = Script::new([Some(Ok(pattern(0, 77))), None]);
    let (stream, mut collector) = runtime.block_on(async {
        let stream = Stream::spawn(source, Config::default());
        until(|| stream.ingested() == 77).await;
        let collector = stream.collect(Keep::all()).unwrap();
        until(|| collector.snapshot().total() == 77).await;
        (stream, collector)
    });
    let reader = stream.subscribe(Position::Start, Policy::Block).unwrap();
    runtime.shutdown_background();
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    other.block_on(async {
        assert!(matches!(stream.ended().await, End { reason: EndReason::Aborted, .. }));
        let account = read_all(&stream).await;
        assert_eq!(account.delivered, 77, "what was read is not lost with the runtime");
        for _ in 0..2 {
            let kept = collector.wait().await;
            assert_eq!(kept.total(), 77);
            assert!(
                matches!(kept.end(), Some(End { reason: EndReason::Aborted, .. })),
                "it does not look like the whole"
            );
            assert!(!kept.is_complete());
        }
    });
    drop(reader);
}

#[tokio::test]
async fn a_hundred_mebibytes_without_a_line_end_stay_bounded() {
    let total = 100u64 << 20;
    let source = AsyncReadExt::take(tokio::io::repeat(b'x'), total);
    let config = Config::builder().retain(Retain::Lines(10)).retain_cap(1 << 20).build().unwrap();
    let stream = Stream::spawn(source, config);
    let reader = stream.subscribe(Position::Start, Policy::Block).unwrap();
    let mut lines = reader.lines(LineOptions::default());
    let line = lines.next().await.unwrap();
    assert_eq!((line.bytes.len(), line.cut), (64 << 10, total - (64 << 10)));
    assert!(lines.next().await.is_none());
    let peak = stream.stats().peak_memory;
    assert!(peak < 4 << 20, "{peak} bytes");
}

#[tokio::test]
async fn a_line_that_is_too_long_can_end_the_lines() {
    let stream = Stream::spawn(&b"ok\ntoo long\nok\n"[..], Config::default());
    let options = LineOptions::builder().max_len(5).on_long(OnLong::Fail).build().unwrap();
    let mut lines = stream.subscribe(Position::Start, Policy::Block).unwrap().lines(options);
    assert_eq!(lines.next().await.unwrap().text(), "ok");
    assert!(lines.next().await.is_none());
    let Some(LinesEnd::TooLong(at)) = lines.end() else { panic!("{:?}", lines.end()) };
    assert_eq!((at.offset, at.limit), (3, 5));
}

#[tokio::test]
async fn bytes_that_are_no_text_pass_unchanged() {
    let bytes = [b"a\xff\xfe\0b\n".as_slice(), b"\xc3"].concat();
    let stream = Stream::spawn(io::Cursor::new(bytes.clone()), Config::default());
    let mut lines = stream
        .subscribe(Position::Start, Policy::Block)
        .unwrap()
        .lines(LineOptions::builder().separator(Separator::Byte(0)).build().unwrap());
    let line = lines.next().await.unwrap();
    assert_eq!((&line.bytes[..], &*line.text()), (&b"a\xff\xfe"[..], "a\u{FFFD}\u{FFFD}"));
    assert_eq!(lines.next().await.unwrap().bytes, &bytes[4..]);
    assert_eq!(stream.collect(Keep::all()).unwrap().wait().await.bytes(), bytes);
}

#[tokio::test]
async fn a_predicate_or_callback_that_panics_harms_nobody_else() {
    let stream = Stream::spawn(&b"one\ntwo\nthree\n"[..], Config::default());
    let waiting = stream.clone();
    let waited = tokio::spawn(async move {
        let reader = waiting.subscribe(Position::Start, Policy::Block).unwrap();
        let mut lines = reader.lines(LineOptions::default());
        let wait = lines.wait_for(LONG, |line| line.bytes == b"two" && panic!("in a predicate"));
        let caught =
            futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(wait)).await;
        assert!(caught.is_err());
        lines.next().await.unwrap()
    });
    assert_eq!(waited.await.unwrap().text(), "three", "the cursor is behind the line of the panic");
    let reader = stream.subscribe(Position::Start, Policy::Block).unwrap();
    let mut inspecting = reader.inspect(|_| panic!("in a callback"));
    let expected = ConsumerError::Panicked("in a callback".into());
    assert_eq!(inspecting.wait().await.unwrap_err(), expected);
    assert_eq!(stream.collect(Keep::all()).unwrap().wait().await.total(), 14);
    assert!(stream.stats().subscribers.is_empty(), "who panicked is detached");
}

#[tokio::test]
async fn a_wait_that_fails_gives_back_what_it_saw() {
    let stream = Stream::spawn(
        Script::new([Some(Ok(b"warming\nport 8".to_vec())), None]),
        Config::default(),
    );
    let error = stream.wait_for(Duration::from_millis(50), |_| false).await.unwrap_err();
    assert!(matches!(error.reason, WaitErrorReason::Timeout(_)));
    assert_eq!(error.seen.text(), "warming\nport 8");
    let text = error.to_string();
    assert_eq!(text, "wait for a line: none matched within 50ms; last line: port 8");
    stream.close();
    let error = stream.wait_for(LONG, |_| false).await.unwrap_err();
    assert!(matches!(
        error.reason,
        WaitErrorReason::Ended(LinesEnd::Stream(End { reason: EndReason::Closed, .. }))
    ));
    assert_eq!(error.seen.text(), "warming\nport 8");
}

#[tokio::test]
async fn a_single_subscriber_is_alone_until_it_leaves() {
    let config = Config::builder().single_subscriber().build().unwrap();
    let stream = Stream::spawn(io::Cursor::new(pattern(0, 5_000)), config);
    let mut first = stream.subscribe(Position::Start, Policy::Block).unwrap();
    let busy = stream.subscribe(Position::Start, Policy::Block).unwrap_err();
    assert_eq!(busy, SubscribeError::Busy);
    let mut account = Account::starting_at(0);
    account.take(&first.next().await.unwrap());
    let position = first.position();
    drop(first);
    let mut second = stream.subscribe(Position::Offset(position), Policy::Block).unwrap();
    while let Some(event) = second.next().await {
        account.take(&event);
    }
    assert_eq!(account.delivered, 5_000, "handed over without a hole or a repetition");
    assert!(stream.subscribe(Position::Start, Policy::Block).is_ok(), "it has ended");
    let zero = Policy::block_for(Duration::ZERO, OnStall::Detach);
    let stream = Stream::spawn(tokio::io::empty(), Config::default());
    assert_eq!(stream.subscribe(Position::Start, zero).unwrap_err(), SubscribeError::ZeroStall);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_reader_with_a_stall_limit_stops_nobody_else() {
    for then in [OnStall::Detach, OnStall::Lossy] {
        let config = Config::builder().window(64 << 10).retain(Retain::Nothing).build().unwrap();
        let (mut writer, source) = tokio::io::duplex(8 << 10);
        let stream = Stream::spawn(source, config);
        let stall = Policy::block_for(Duration::from_millis(20), then);
        let mut stuck = stream.subscribe(Position::Start, stall).unwrap();
        let mut healthy = stream.subscribe(Position::Start, Policy::Block).unwrap();
        let reading = tokio::spawn(async move {
            let mut account = Account::starting_at(0);
            while let Some(event) = healthy.next().await {
                account.take(&event);
            }
            account
        });
        writer.write_all(&pattern(0, 1 << 20)).await.unwrap();
        drop(writer);
        let account = reading.await.unwrap();
        assert_eq!((account.delivered, account.lost), (1 << 20, 0));
        let mut late = Account::starting_at(0);
        while let Some(event) = stuck.next().await {
            late.take(&event);
        }
        assert!(late.lost > 0, "{then:?}");
        match then {
            OnStall::Detach => {
                assert!(matches!(late.end, Some(End { reason: EndReason::Detached, .. })));
            }
            _ => assert_eq!(late.delivered + late.lost, 1 << 20),
        }
        assert!(stream.stats().blocked >= Duration::from_millis(1));
    }
}

#[tokio::test]
async fn a_writer_that_fails_ends_its_copy_alone() {
    let stream = Stream::spawn(io::Cursor::new(pattern(0, 200_000)), Config::default());
    let (near, far) = tokio::io::duplex(1_000);
    let mut broken = stream.subscribe(Position::Start, Policy::Block).unwrap().tee(near);
    let mut good = stream.subscribe(Position::Start, Policy::Block).unwrap().tee(Vec::new());
    drop(far);
    let broken = broken.wait().await.unwrap();
    assert!(matches!(broken.end, TeeEnd::WriteError(_)) && broken.written <= 1_000);
    let good = good.wait().await.unwrap();
    assert!(
        matches!(good.end, TeeEnd::Stream(End { reason: EndReason::Eof, .. }))
            && good.writer == pattern(0, 200_000)
    );
}

#[tokio::test]
async fn a_copy_that_has_ended_closes_its_writer() {
    let stream = Stream::spawn(&b"all of it"[..], Config::default());
    let (near, mut far) = tokio::io::duplex(64);
    let mut copy = stream.subscribe(Position::Start, Policy::Block).unwrap().tee(near);
    let mut got = Vec::new();
    // The consumer is still there, with its writer in it.
    far.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"all of it");
    assert_eq!(copy.wait().await.unwrap().written, 9);
}

#[tokio::test]
async fn a_source_that_would_block_has_failed() {
    let source =
        Script::new([Some(Ok(pattern(0, 4))), Some(Err(io::ErrorKind::WouldBlock.into())), None]);
    let stream = Stream::spawn(source, Config::default());
    let account = read_all(&stream).await;
    assert_eq!(account.delivered, 4);
    let end = account.end.unwrap();
    assert!(
        matches!(&end, End { reason: EndReason::ReadError(error), .. } if error.kind() == io::ErrorKind::WouldBlock),
        "{end}"
    );
}

#[tokio::test]
async fn a_waker_that_panics_harms_nobody_else() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("in a waker")
        }
    }
    let (mut writer, source) = tokio::io::duplex(64);
    let stream = Stream::spawn(source, Config::default());
    let mut bad = stream.subscribe(Position::Start, Policy::Block).unwrap();
    let waker = std::task::Waker::from(std::sync::Arc::new(Panics));
    assert!(bad.poll_next(&mut Context::from_waker(&waker)).is_pending());
    let mut collector = stream.collect(Keep::all()).unwrap();
    writer.write_all(&pattern(0, 40)).await.unwrap();
    until(|| stream.ingested() == 40).await;
    drop(writer);
    let kept = collector.wait().await;
    assert!(kept.is_complete() && kept.total() == 40);
}

#[tokio::test]
async fn the_last_drop_closes_the_source() {
    let (writer, source) = tokio::io::duplex(100);
    let stream = Stream::spawn(source, Config::default());
    let reader = stream.subscribe(Position::Start, Policy::Block).unwrap();
    drop(stream);
    let mut writer = writer;
    writer.write_all(b"still read").await.unwrap();
    drop(reader);
    let broken = async {
        loop {
            if writer.write_all(&[0; 64]).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(LONG, broken).await.unwrap();
}

#[tokio::test]
async fn draining_reads_what_is_there_and_closing_does_not_wait() {
    let stream = Stream::spawn(
        Script::new([Some(Ok(pattern(0, 10))), Some(Ok(pattern(10, 10))), None]),
        Config::default(),
    );
    stream.drain();
    assert!(matches!(stream.ended().await, End { reason: EndReason::Drained, .. }));
    assert_eq!(read_all(&stream).await.delivered, 20);
    let stream = Stream::spawn(Script::new([None]), Config::default());
    tokio::task::yield_now().await;
    stream.close();
    assert!(matches!(stream.ended().await, End { reason: EndReason::Closed, .. }));
    // More reads than a task may make in one turn.
    let (mut writer, source) = tokio::io::duplex(1 << 20);
    writer.write_all(&pattern(0, 100_000)).await.unwrap();
    let config = Config::builder().chunk_size(100).build().unwrap();
    let stream = Stream::spawn(source, config);
    stream.drain();
    assert!(matches!(stream.ended().await, End { reason: EndReason::Drained, .. }));
    assert_eq!(read_all(&stream).await.delivered, 100_000);
    let endless = Stream::spawn(tokio::io::repeat(1), Config::default());
    endless.drain();
    assert!(matches!(endless.ended().await, End { reason: EndReason::Drained, .. }));
    assert!(endless.ingested() >= 1 << 20);
}

#[tokio::test]
async fn a_late_line_reader_starts_so_many_lines_back() {
    let text: String = (0..1_000).map(|n| format!("line {n}\n")).collect();
    let stream =
        Stream::spawn(io::Cursor::new(format!("{text}rest").into_bytes()), Config::default());
    stream.ended().await;
    let reader = stream.subscribe(Position::LastLines(2), Policy::Block).unwrap();
    let mut lines = reader.lines(LineOptions::default());
    let mut got = Vec::new();
    while let Some(line) = lines.next().await {
        got.push(line.text().into_owned());
    }
    assert_eq!(got, ["line 998", "line 999", "rest"]);
    let all = stream.subscribe(Position::LastLines(5_000), Policy::Block).unwrap();
    assert_eq!(all.position(), 0);
    let mut live = stream.subscribe(Position::Live, Policy::Block).unwrap();
    assert!(matches!(live.next().await, Some(Event::End(End { reason: EndReason::Eof, .. }))));
}
