//! A process from its spawn to its result, and what a pipeline costs its caller.

use crate::child;
use crate::raw::{SIZE, cpu, one};
use futures_util::future::join_all;
use lastout_bench_runner::{Bar, Bench, Case, cpu_time};
use lastout_output_stream::{Process, ProcessBuilder};
use process_wrap::tokio::{CommandWrap, ProcessGroup};
use std::future::Future;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio_process_tools::{self as tpt, NumBytesExt as _};

const PROGRAM: &str = "/bin/true";
const TOKIO: &str = "tokio's Command::output";
const TOOLS: &str = "tokio-process-tools 0.11";
const WRAP: &str = "process-wrap 10, a group";
const LONG: Duration = Duration::from_secs(60);

/// How many a round takes the mean of.
const IN_A_ROW: usize = 50;
const AT_ONCE: usize = 200;

pub fn cases(bench: Bench<'_>) -> Bench<'_> {
    bench
        .case(
            in_a_row("output() of true, outlive_caller()")
                .ours(|| one_by_one(|| ours(outliving())))
                .bar(Bar::peer(TOKIO).max(1.3)),
        )
        .case(
            in_a_row("output() of true, dies with its caller")
                .ours(|| one_by_one(|| ours(dying())))
                .peer("outlive_caller()", || one_by_one(|| ours(outliving()))),
        )
        .case(
            at_once("output() of true, 200 at once, outlive_caller()")
                .ours(|| all_at_once(|| ours(outliving()))),
        )
        .case(
            at_once("output() of true, 200 at once, dies with its caller")
                .ours(|| all_at_once(|| ours(dying())))
                .peer("outlive_caller()", || all_at_once(|| ours(outliving()))),
        )
        .case(
            Case::lower("a pipeline of three stages, CPU of the caller", "ms/GiB")
                .ours(our_pipeline)
                .peer("duct 1", duct_pipeline)
                .bar(Bar::absolute().max(5.0)),
        )
}

fn in_a_row(name: &str) -> Case<'static> {
    Case::lower(name, "µs")
        .rounds(7)
        .peer(TOKIO, || one_by_one(tokio_output))
        .peer(WRAP, || one_by_one(wrapped))
        .peer(TOOLS, || one_by_one(tools))
        .peer("duct 1", || {
            let begin = Instant::now();
            (0..IN_A_ROW).for_each(|_| finish(&start()));
            micros(begin)
        })
}

fn at_once(name: &str) -> Case<'static> {
    Case::lower(name, "ms for all")
        .rounds(7)
        .peer(TOKIO, || all_at_once(tokio_output))
        .peer(WRAP, || all_at_once(wrapped))
        .peer(TOOLS, || all_at_once(tools))
        .peer("duct 1", || {
            let begin = Instant::now();
            let started: Vec<_> = (0..AT_ONCE).map(|_| start()).collect();
            started.iter().for_each(finish);
            begin.elapsed().as_secs_f64() * 1e3
        })
}

fn micros(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e6 / IN_A_ROW as f64
}

/// Microseconds for each.
fn one_by_one<F: Future<Output = ()>>(run: impl Fn() -> F) -> f64 {
    one().block_on(async {
        let begin = Instant::now();
        for _ in 0..IN_A_ROW {
            run().await;
        }
        micros(begin)
    })
}

/// Milliseconds for all.
fn all_at_once<F: Future<Output = ()>>(run: impl Fn() -> F) -> f64 {
    one().block_on(async {
        let begin = Instant::now();
        join_all((0..AT_ONCE).map(|_| run())).await;
        begin.elapsed().as_secs_f64() * 1e3
    })
}

fn dying() -> ProcessBuilder {
    Process::builder(PROGRAM)
}

fn outliving() -> ProcessBuilder {
    dying().outlive_caller()
}

async fn ours(builder: ProcessBuilder) {
    let output = builder.output().await.expect("an output");
    assert!(output.success());
}

async fn tokio_output() {
    let output = Command::new(PROGRAM).stdin(Stdio::null()).output().await.expect("an output");
    assert!(output.status.success());
}

async fn wrapped() {
    let mut command = CommandWrap::with_new(PROGRAM, |command| {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    let child = command.wrap(ProcessGroup::leader()).spawn().expect("a child");
    let output = Box::into_pin(child.wait_with_output()).await.expect("an output");
    assert!(output.status.success());
}

async fn tools() {
    let mut process = tpt::Process::new(Command::new(PROGRAM))
        .name("bench")
        .stdout_and_stderr(|stream| {
            stream
                .single_subscriber()
                .reliable_with_backpressure()
                .no_replay()
                .read_chunk_size(tpt::DEFAULT_READ_CHUNK_SIZE)
                .max_buffered_chunks(tpt::DEFAULT_MAX_BUFFERED_CHUNKS)
        })
        .spawn()
        .expect("a child");
    let keep = tpt::RawCollectionOptions::Bounded {
        max_bytes: 1.megabytes(),
        overflow_behavior: tpt::CollectionOverflowBehavior::DropAdditionalData,
    };
    let output = process
        .wait_for_completion(LONG)
        .with_raw_output(tpt::DEFAULT_OUTPUT_EOF_TIMEOUT, tpt::RawOutputOptions::symmetric(keep))
        .await
        .expect("an output")
        .expect_completed("no time-out");
    assert!(output.status.success());
}

fn start() -> duct::Handle {
    duct::cmd!(PROGRAM).stdin_null().stdout_capture().stderr_capture().start().expect("a child")
}

fn finish(handle: &duct::Handle) {
    assert!(handle.wait().expect("an output").status.success());
}

/// What the last stage of each pipeline says.
fn assert_counted(text: &[u8]) {
    assert_eq!(String::from_utf8_lossy(text).trim(), SIZE.to_string());
}

fn our_pipeline() -> f64 {
    let used = cpu(one(), async {
        let output = Process::builder(child::bytes(SIZE))
            .pipe(Process::builder("cat"))
            .pipe(Process::builder("wc").arg("-c"))
            .output()
            .await
            .expect("an output")
            .check()
            .expect("success of every stage");
        assert_counted(output.stdout().text().as_bytes());
    });
    used * 1e3
}

fn duct_pipeline() -> f64 {
    let before = cpu_time();
    let output = child::bytes_of_duct(SIZE)
        .pipe(duct::cmd!("cat"))
        .pipe(duct::cmd!("wc", "-c"))
        .stdout_capture()
        .run()
        .expect("success of every stage");
    assert_counted(&output.stdout);
    (cpu_time() - before).as_secs_f64() * 1e3
}
