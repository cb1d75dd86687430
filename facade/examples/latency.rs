//! A protocol that answers from one thread, while services of tokio work beside it.
//!
//! The protocol runs on `async_rt`. Frames of eight bytes come in by TCP: `E…` is echoed at once; `J…`
//! becomes a durable job on the tokio side, through the bridge, and is answered when it is stored. There
//! a runner works the jobs off, each on a page of a browser pool (a scripted one, so that this runs
//! anywhere). A client measures each answer; the histogram at the end shows what the neighbours cost.
//!
//! ```text
//! cargo run --release --example latency --all-features -- --seconds 5
//! ```

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use lastout::async_rt::net::{TcpListener, TcpStream};
use lastout::async_rt::{Runtime, spawn_boxed, tokio_compat::with_tokio};
use lastout::browser_pool::{Pool, PoolConfig};
use lastout::supervisor::{Failure, Stopping, Thread};
use lastout::test_util::browsers::FakeDriver;
use lastout::work_runner::{
    DurableWorker, Job, JobError, MemoryRegistry, NewJob, Registry, WorkDriver, WorkRunner,
};
use lastout::{Report, Supervisor};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// The length of a frame.
const FRAME: usize = 8;
/// Every so many frames one is a job.
const JOB_EVERY: u64 = 50;

fn main() -> Result<ExitCode, Failure> {
    let seconds = seconds()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(run(Duration::from_secs(seconds)))?;
    println!("\n{report}");
    Ok(ExitCode::from(&report))
}

fn seconds() -> Result<u64, lexopt::Error> {
    let (mut parser, mut seconds) = (lexopt::Parser::from_env(), 5);
    while let Some(arg) = parser.next()? {
        match arg {
            lexopt::Arg::Long("seconds") => {
                seconds = lexopt::ValueExt::parse(&parser.value()?)?;
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(seconds)
}

async fn run(time: Duration) -> Result<Report, Failure> {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let pool = Pool::start(FakeDriver::new(), PoolConfig::default())?;
    let pages = pool.clone();
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle("page", move |job: Job<u64>| {
            let pages = pages.clone();
            async move {
                let page = pages.page().await?;
                let sum = (0..20_000_u64).fold(*job, |sum, k| sum.rotate_left(5) ^ k);
                page.release();
                Ok::<_, JobError>(sum)
            }
        })
        .build()?;
    let runner = WorkRunner::inline(worker);
    let driver = runner.driver(registry);
    let running = runner.spawn();

    let (told, address) = mpsc::channel();
    let protocol = Thread::spawn("protocol", move |stopping| protocol(&stopping, driver, &told))?;
    let address = address.recv()?;
    let supervisor = Supervisor::builder()
        .member("browsers", pool)
        .member("jobs", running)
        .member("protocol", protocol)
        .build()?;
    let handle = supervisor.handle();
    let (measured, measurements) = mpsc::channel();
    let client = Thread::spawn("client", move |_| {
        let result = measure(address, time);
        handle.stop();
        Ok(measured.send(result)?)
    })?;
    let report = supervisor.run_until_signal().await?;
    drop(client);
    let (echoes, jobs) = measurements.recv()??;
    histogram("answers", echoes);
    histogram("stored jobs", jobs);
    Ok(report)
}

/// The protocol's thread: serves until it is asked to stop.
fn protocol(
    stopping: &Stopping,
    driver: WorkDriver,
    told: &mpsc::Sender<SocketAddr>,
) -> Result<(), Failure> {
    let runtime = Runtime::new()?;
    let served: Result<(), Failure> = runtime.block_on(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
        told.send(listener.local_addr()?)?;
        let accepting = spawn_boxed(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = spawn_boxed(serve(stream, driver.clone()));
                // It ends with its client, and with the runtime at the latest.
                drop(connection);
            }
        });
        stopping.asked().await;
        accepting.abort();
        // It answers that it was aborted, which is what was wanted.
        let _ = accepting.await;
        Ok(())
    });
    served?;
    Ok(runtime.shutdown_quiesce(Duration::from_secs(2))?)
}

async fn serve(stream: TcpStream, driver: WorkDriver) {
    let mut frame = [0; FRAME];
    let mut number = 0_u64;
    while read(&stream, &mut frame).await.is_ok() {
        if frame[0] == b'J' {
            number += 1;
            let Ok(job) = NewJob::new("page", &number) else {
                return;
            };
            if !matches!(with_tokio(driver.enqueue(job)).await, Ok(Ok(_))) {
                return;
            }
        }
        if write(&stream, &frame).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &TcpStream, frame: &mut [u8]) -> std::io::Result<()> {
    let mut filled = 0;
    while filled < frame.len() {
        match stream.try_read(&mut frame[filled..]) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                stream.readable().await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn write(stream: &TcpStream, frame: &[u8]) -> std::io::Result<()> {
    let mut written = 0;
    while written < frame.len() {
        match stream.try_write(&frame[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                stream.writable().await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Asks and waits, one frame after the other; the times of echoes, and of jobs.
fn measure(address: SocketAddr, time: Duration) -> Result<(Vec<Duration>, Vec<Duration>), Failure> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (began, mut count) = (Instant::now(), 0);
    let (mut echoes, mut jobs) = (Vec::new(), Vec::new());
    while began.elapsed() < time {
        count += 1;
        let is_job = count % JOB_EVERY == 0;
        let sent = if is_job { *b"J_______" } else { *b"E_______" };
        let mut answer = [0; FRAME];
        let asked = Instant::now();
        stream.write_all(&sent)?;
        stream.read_exact(&mut answer)?;
        let took = asked.elapsed();
        if answer != sent {
            return Err("the answer is another frame".into());
        }
        if is_job { &mut jobs } else { &mut echoes }.push(took);
    }
    Ok((echoes, jobs))
}

/// Prints quantiles, and a bar for each class of times; the classes double.
fn histogram(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let Some(most) = times.last() else {
        return;
    };
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "\n{name}: {}; p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, max {most:.1?}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999)
    );
    let class = |time: &Duration| time.as_micros().max(1).ilog2();
    for step in class(&times[0])..=class(most) {
        let count = times.iter().filter(|time| class(time) == step).count();
        let bar = "#".repeat((count * 50).div_ceil(times.len()));
        println!("{:>9} µs {count:>8} {bar}", format!("< {}", 2_u64 << step));
    }
}
