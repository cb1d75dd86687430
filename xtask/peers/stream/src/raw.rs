//! 1 GiB through a pipe.

use crate::child;
use lastout_bench_runner::{Bar, Bench, Case, cpu_time};
use lastout_output_stream::{Config, Event, Keep, Policy, Position, Retain, Stream};
use std::future::Future;
use std::io::Read;
use std::time::Instant;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio_process_tools as tpt;
use tokio_process_tools::Consumable as _;

pub const SIZE: u64 = 1 << 30;
const GB: f64 = SIZE as f64 / 1e9;

pub fn cases(bench: Bench<'_>) -> Bench<'_> {
    let against_tools = Bar::peer("tokio-process-tools 0.11").max(1.0 / 1.4);
    bench
        .case(
            Case::lower("1 GiB reliable, current thread", "CPU s/GB")
                .rounds(7)
                .floor(floor)
                .ours(|| ours(one(), 1))
                .peer("tokio raw loop", || tokio_raw(one()))
                .peer("tokio-process-tools 0.11", || tools(one(), true).0)
                .bar(Bar::floor().max(1.1)),
        )
        .case(
            Case::lower("1 GiB reliable, two threads", "CPU s/GB")
                .rounds(7)
                .floor(floor)
                .ours(|| ours(two(), 1))
                .peer("tokio raw loop", || tokio_raw(two()))
                .peer("tokio-process-tools 0.11", || tools(two(), true).0)
                .bar(Bar::floor().max(1.5))
                .bar(against_tools),
        )
        .case(
            Case::lower("1 GiB reliable, 4 subscribers, current thread", "CPU s/GB")
                .rounds(7)
                .ours(|| ours(one(), 4))
                .peer("one subscriber", || ours(one(), 1))
                .bar(Bar::peer("one subscriber").max(1.1)),
        )
        .case(
            Case::lower("1 GiB reliable, 4 subscribers, two threads", "CPU s/GB")
                .rounds(7)
                .ours(|| ours(two(), 4))
                .peer("one subscriber", || ours(two(), 1))
                .peer("tokio-process-tools 0.11 broadcast, one", tools_broadcast),
        )
        .case(
            Case::lower("1 GiB lossy, lost by a reader that keeps up", "bytes")
                .ours(lossy)
                .peer("tokio-process-tools 0.11 (chunks of 16 KiB)", || tools(two(), false).1)
                .bar(Bar::absolute().max(0.0)),
        )
        .case(
            Case::higher("1 GiB into a tail of 32 MiB, by the clock", "GB/s")
                .ours(keep_tail)
                .bar(Bar::absolute().min(1.0)),
        )
}

pub fn one() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

pub fn two() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Runs the reader as a task of the runtime, as a service does, and gives its CPU seconds.
pub fn cpu<F: Future<Output = ()> + Send + 'static>(
    runtime: tokio::runtime::Runtime,
    work: F,
) -> f64 {
    let before = cpu_time();
    runtime.block_on(async { tokio::spawn(work).await.expect("the reader") });
    let used = cpu_time() - before;
    used.as_secs_f64()
}

fn floor() -> f64 {
    let before = cpu_time();
    let mut child = child::bytes(SIZE).spawn().expect("a child");
    let mut pipe = child.stdout.take().expect("a pipe");
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        match pipe.read(&mut buffer).expect("read") {
            0 => break,
            n => total += n as u64,
        }
    }
    let used = cpu_time() - before;
    assert_eq!(total, SIZE);
    child.wait().expect("the child");
    used.as_secs_f64() / GB
}

fn tokio_raw(runtime: tokio::runtime::Runtime) -> f64 {
    cpu(runtime, async {
        let mut child = Command::from(child::bytes(SIZE)).spawn().expect("a child");
        let mut pipe = child.stdout.take().expect("a pipe");
        let mut buffer = vec![0; 64 * 1024];
        let mut total = 0;
        loop {
            match pipe.read(&mut buffer).await.expect("read") {
                0 => break,
                n => total += n as u64,
            }
        }
        assert_eq!(total, SIZE);
        child.wait().await.expect("the child");
    }) / GB
}

fn ours(runtime: tokio::runtime::Runtime, subscribers: usize) -> f64 {
    cpu(runtime, async move {
        let mut child = Command::from(child::bytes(SIZE)).spawn().expect("a child");
        let pipe = child.stdout.take().expect("a pipe");
        let config = Config::builder().retain(Retain::Nothing).build().expect("valid");
        let prepared = Stream::prepare(config);
        let reader = || prepared.subscribe(Position::Start, Policy::Block).expect("not exclusive");
        let others = (1..subscribers).map(|_| tokio::spawn(read_all(reader()))).collect::<Vec<_>>();
        let reader = reader();
        let _stream = prepared.spawn(pipe);
        assert_eq!(read_all(reader).await, (SIZE, 0));
        for other in others {
            assert_eq!(other.await.expect("a reader"), (SIZE, 0));
        }
        child.wait().await.expect("the child");
    }) / GB
}

/// Counts delivered and lost bytes.
async fn read_all(mut reader: lastout_output_stream::Subscriber) -> (u64, u64) {
    let (mut total, mut lost) = (0, 0);
    while let Some(event) = reader.next().await {
        match event {
            Event::Data { bytes, .. } => total += bytes.len() as u64,
            Event::Gap { from, to } => lost += to - from,
            Event::End(end) => assert!(end.is_eof()),
        }
    }
    (total, lost)
}

fn lossy() -> f64 {
    two().block_on(async {
        let work = tokio::spawn(async {
            let mut child = Command::from(child::bytes(SIZE)).spawn().expect("a child");
            let pipe = child.stdout.take().expect("a pipe");
            let config = Config::builder().retain(Retain::Nothing).build().expect("valid");
            let stream = Stream::spawn(pipe, config);
            let reader = stream.subscribe(Position::Start, Policy::DropOldest).expect("free");
            let (total, lost) = read_all(reader).await;
            assert_eq!(total + lost, SIZE);
            child.wait().await.expect("the child");
            lost as f64
        });
        work.await.expect("the reader")
    })
}

fn keep_tail() -> f64 {
    let runtime = two();
    let begin = Instant::now();
    runtime.block_on(async {
        let mut child = Command::from(child::bytes(SIZE)).spawn().expect("a child");
        let pipe = child.stdout.take().expect("a pipe");
        let config = Config::builder().retain(Retain::Nothing).build().expect("valid");
        let prepared = Stream::prepare(config);
        let mut tail = prepared.collect(Keep::tail(32 << 20)).expect("free");
        let _stream = prepared.spawn(pipe);
        let kept = tail.wait().await;
        assert_eq!((kept.total(), kept.total() - kept.omitted()), (SIZE, 32 << 20));
        child.wait().await.expect("the child");
    });
    GB / begin.elapsed().as_secs_f64()
}

#[derive(Default)]
struct Count {
    bytes: u64,
}

impl tpt::StreamVisitor for Count {
    type Output = u64;

    fn on_chunk(&mut self, chunk: tpt::Chunk) -> tpt::Next {
        self.bytes += chunk.as_ref().len() as u64;
        tpt::Next::Continue
    }

    fn into_output(self) -> u64 {
        self.bytes
    }
}

const WAIT: std::time::Duration = std::time::Duration::from_secs(600);

/// CPU seconds for each GB, and the lost bytes.
fn tools(runtime: tokio::runtime::Runtime, reliable: bool) -> (f64, f64) {
    let (send, receive) = std::sync::mpsc::channel();
    let used = cpu(runtime, async move {
        let command = Command::from(child::bytes(SIZE));
        let named = tpt::Process::new(command).name("bench");
        let total = if reliable {
            let mut process = named
                .stdout(|stream| {
                    stream
                        .single_subscriber()
                        .reliable_with_backpressure()
                        .no_replay()
                        .read_chunk_size(tpt::DEFAULT_READ_CHUNK_SIZE)
                        .max_buffered_chunks(tpt::DEFAULT_MAX_BUFFERED_CHUNKS)
                })
                .stderr(|stream| stream.discard())
                .spawn()
                .expect("a child");
            let consumer = process.stdout().consume(Count::default()).expect("free");
            let total = consumer.wait().await.expect("the consumer");
            process
                .wait_for_completion(WAIT)
                .await
                .expect("the child")
                .expect_completed("no time-out");
            assert_eq!(total, SIZE);
            total
        } else {
            let mut process = named
                .stdout(|stream| {
                    stream
                        .single_subscriber()
                        .lossy_without_backpressure()
                        .no_replay()
                        .read_chunk_size(tpt::DEFAULT_READ_CHUNK_SIZE)
                        .max_buffered_chunks(tpt::DEFAULT_MAX_BUFFERED_CHUNKS)
                })
                .stderr(|stream| stream.discard())
                .spawn()
                .expect("a child");
            let consumer = process.stdout().consume(Count::default()).expect("free");
            let total = consumer.wait().await.expect("the consumer");
            process
                .wait_for_completion(WAIT)
                .await
                .expect("the child")
                .expect_completed("no time-out");
            total
        };
        send.send(SIZE - total).expect("the bench waits");
    });
    (used / GB, receive.recv().expect("a count") as f64)
}

fn tools_broadcast() -> f64 {
    cpu(two(), async {
        let mut process = tpt::Process::new(Command::from(child::bytes(SIZE)))
            .name("bench")
            .stdout(|stream| {
                stream
                    .broadcast()
                    .reliable_with_backpressure()
                    .no_replay()
                    .read_chunk_size(tpt::DEFAULT_READ_CHUNK_SIZE)
                    .max_buffered_chunks(tpt::DEFAULT_MAX_BUFFERED_CHUNKS)
            })
            .stderr(|stream| stream.discard())
            .spawn()
            .expect("a child");
        let Ok(consumer) = process.stdout().consume(Count::default());
        assert_eq!(consumer.wait().await.expect("the consumer"), SIZE);
        process.wait_for_completion(WAIT).await.expect("the child").expect_completed("no time-out");
    }) / GB
}
