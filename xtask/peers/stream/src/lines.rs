//! 10 million short lines through a pipe.

use crate::child;
use crate::raw::{cpu, one, two};
use bstr::io::BufReadExt;
use futures_util::StreamExt as _;
use lastout_bench_runner::{Bar, Bench, Case, cpu_time};
use lastout_output_stream::{Config, LineOptions, Policy, Position, Retain, Stream};
use process_stream::ProcessExt as _;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use tokio::io::AsyncBufReadExt;
use tokio::process::Command;
use tokio_process_tools as tpt;
use tokio_process_tools::Consumable as _;

const LINES: u64 = 10_000_000;

pub fn cases(bench: Bench<'_>) -> Bench<'_> {
    bench
        .case(
            Case::lower("10 M short lines, current thread", "CPU ns/line")
                .rounds(5)
                .floor(floor)
                .ours(|| ours(one()))
                .peer("ours, owned lines", || owned(one()))
                .peer("bstr for_byte_line", bstr)
                .peer("tokio lines()", || tokio_lines(one()))
                .peer("tokio-process-tools 0.11", || tools(one()))
                .bar(Bar::floor().max(1.3))
                .bar(Bar::peer("tokio lines()").max(0.25))
                .bar(Bar::peer("tokio-process-tools 0.11").max(0.3)),
        )
        .case(
            Case::lower("10 M short lines, two threads", "CPU ns/line")
                .rounds(3)
                .floor(floor)
                .ours(|| ours(two()))
                .peer("tokio lines()", || tokio_lines(two()))
                .peer("tokio-process-tools 0.11", || tools(two()))
                .peer("process-stream 0.5", process_stream),
        )
}

/// The cost of a line of `used` CPU seconds for all.
fn per_line(used: f64) -> f64 {
    used * 1e9 / LINES as f64
}

fn floor() -> f64 {
    let before = cpu_time();
    let mut child = child::lines(LINES).spawn().expect("a child");
    let mut pipe = child.stdout.take().expect("a pipe");
    let mut buffer = vec![0; 64 * 1024];
    let (mut lines, mut bytes) = (0, 0);
    loop {
        let n = pipe.read(&mut buffer).expect("read");
        if n == 0 {
            break;
        }
        let mut rest = &buffer[..n];
        while let Some(at) = memchr::memchr(b'\n', rest) {
            lines += 1;
            bytes += at;
            rest = &rest[at + 1..];
        }
        bytes += rest.len();
    }
    let used = cpu_time() - before;
    std::hint::black_box(bytes);
    assert_eq!(lines, LINES);
    child.wait().expect("the child");
    per_line(used.as_secs_f64())
}

fn bstr() -> f64 {
    let before = cpu_time();
    let mut child = child::lines(LINES).spawn().expect("a child");
    let pipe = child.stdout.take().expect("a pipe");
    let (mut lines, mut bytes) = (0, 0);
    BufReader::with_capacity(64 * 1024, pipe)
        .for_byte_line(|line| {
            lines += 1;
            bytes += line.len();
            Ok(true)
        })
        .expect("read");
    let used = cpu_time() - before;
    std::hint::black_box(bytes);
    assert_eq!(lines, LINES);
    child.wait().expect("the child");
    per_line(used.as_secs_f64())
}

fn stream(child: &mut tokio::process::Child) -> Stream {
    let pipe = child.stdout.take().expect("a pipe");
    Stream::spawn(pipe, Config::builder().retain(Retain::Nothing).build().expect("valid"))
}

fn ours(runtime: tokio::runtime::Runtime) -> f64 {
    per_line(cpu(runtime, async {
        let mut child = Command::from(child::lines(LINES)).spawn().expect("a child");
        let reader = stream(&mut child).subscribe(Position::Start, Policy::Block).expect("free");
        let (mut lines, mut bytes) = (0, 0);
        let flow = reader
            .lines(LineOptions::default())
            .for_each(|line| {
                lines += 1;
                bytes += line.bytes.len();
                ControlFlow::Continue(())
            })
            .await;
        assert!(flow.is_continue());
        std::hint::black_box(bytes);
        assert_eq!(lines, LINES);
        child.wait().await.expect("the child");
    }))
}

fn owned(runtime: tokio::runtime::Runtime) -> f64 {
    per_line(cpu(runtime, async {
        let mut child = Command::from(child::lines(LINES)).spawn().expect("a child");
        let reader = stream(&mut child).subscribe(Position::Start, Policy::Block).expect("free");
        let mut all = reader.lines(LineOptions::default());
        let (mut lines, mut bytes) = (0, 0);
        while let Some(line) = all.next().await {
            lines += 1;
            bytes += line.bytes.len();
        }
        std::hint::black_box(bytes);
        assert_eq!(lines, LINES);
        child.wait().await.expect("the child");
    }))
}

fn tokio_lines(runtime: tokio::runtime::Runtime) -> f64 {
    per_line(cpu(runtime, async {
        let mut child = Command::from(child::lines(LINES)).spawn().expect("a child");
        let pipe = child.stdout.take().expect("a pipe");
        let mut all = tokio::io::BufReader::with_capacity(64 * 1024, pipe).lines();
        let (mut lines, mut bytes) = (0, 0);
        while let Some(line) = all.next_line().await.expect("read") {
            lines += 1;
            bytes += line.len();
        }
        std::hint::black_box(bytes);
        assert_eq!(lines, LINES);
        child.wait().await.expect("the child");
    }))
}

fn tools(runtime: tokio::runtime::Runtime) -> f64 {
    per_line(cpu(runtime, async {
        let mut process = tpt::Process::new(Command::from(child::lines(LINES)))
            .name("bench")
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
        let options = tpt::LineParsingOptions::default();
        let count = tpt::ParseLines::collect(options, (0u64, 0usize), |line, sum| {
            sum.0 += 1;
            sum.1 += line.len();
            tpt::Next::Continue
        });
        let consumer = process.stdout().consume(count).expect("free");
        let (lines, bytes) = consumer.wait().await.expect("the consumer");
        std::hint::black_box(bytes);
        assert_eq!(lines, LINES);
        let wait = std::time::Duration::from_secs(600);
        process.wait_for_completion(wait).await.expect("the child").expect_completed("no time-out");
    }))
}

fn process_stream() -> f64 {
    per_line(cpu(two(), async {
        // It knows no environment of its own: the child inherits that of a shell.
        let command = child::lines(LINES);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut process = process_stream::Process::new("env");
        for (name, value) in command.get_envs() {
            let value = value.expect("set").to_string_lossy();
            process.arg(format!("{}={value}", name.to_string_lossy()));
        }
        process.arg(program);
        let mut stream = process.spawn_and_stream().expect("a child");
        let mut lines = 0;
        while let Some(item) = stream.next().await {
            lines += u64::from(matches!(item, process_stream::ProcessItem::Output(_)));
        }
        assert_eq!(lines, LINES);
    }))
}
