//! A named pipe holds up the start until its other end is open, and for no longer than a time limit, a cancellation
//! or the life of the future allows.
#![allow(
    clippy::unwrap_used,
    clippy::result_large_err,
    clippy::disallowed_methods,
    reason = "tests"
)]
#![cfg(all(feature = "process", feature = "tokio"))]

use lastout_output_stream::{Inlet, Outlet, Process, ProcessBuilder};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

/// A named pipe that is removed with this.
struct Fifo(PathBuf);

impl Fifo {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lastout-{name}-{}", std::process::id()));
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        Self(path)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn cat() -> ProcessBuilder {
    Process::builder("cat")
}

/// The last cause of an error.
fn cause(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, work).await.unwrap()
}

#[tokio::test]
async fn a_time_limit_and_a_cancellation_end_the_wait_for_the_other_end() {
    let fifo = Fifo::new("unopened");
    let reads = || cat().stdin(Inlet::file(&fifo.0));
    let writes = || cat().stdout(Outlet::file(&fifo.0));
    let tees = || cat().stdout(Outlet::tee([Outlet::default(), Outlet::append(&fifo.0)]));
    for (builder, which) in [(reads(), "stdin"), (writes(), "stdout"), (tees(), "stdout")] {
        let error = cause(&in_time(builder.clone().timeout(SHORT).output()).await.unwrap_err());
        let why = "its time limit of 200ms was over before the other end was opened";
        let expected = format!("open {} for {which}: {why}", fifo.0.display());
        assert!(error.ends_with(&expected), "{error}");
        let error = cause(&builder.clone().timeout(SHORT).spawn().unwrap_err());
        assert!(error.ends_with(&expected), "{error}");
        let blocking = {
            let builder = builder.clone();
            tokio::task::spawn_blocking(|| builder.timeout(SHORT).output_blocking())
        };
        assert!(cause(&in_time(blocking).await.unwrap().unwrap_err()).ends_with(&expected));
        if which == "stdin" {
            let row = in_time(builder.clone().pipe(cat()).timeout(SHORT).output()).await;
            assert!(cause(&row.unwrap_err()).ends_with(&expected));
        }
        let cancelled = builder.cancel_on(tokio::time::sleep(SHORT)).output();
        let error = cause(&in_time(cancelled).await.unwrap_err());
        assert!(error.ends_with("it was cancelled before the other end was opened"), "{error}");
    }
    // Dropping the future ends it as well, and keeps no end open.
    assert!(tokio::time::timeout(SHORT, reads().output()).await.is_err());
    let writer = OpenOptions::new()
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(&fifo.0);
    assert_eq!(writer.unwrap_err().raw_os_error(), Some(rustix::io::Errno::NXIO.raw_os_error()));
}

#[tokio::test]
async fn every_byte_passes_whichever_end_is_opened_first_and_another_task_may_open_it() {
    let fifo = Fifo::new("passed");
    for begin in [Duration::ZERO, SHORT] {
        let path = fifo.0.clone();
        let write = async {
            tokio::time::sleep(begin).await;
            let write = move || File::options().write(true).open(path)?.write_all(&[b'x'; 200_000]);
            tokio::task::spawn_blocking(write).await.unwrap().unwrap();
        };
        let read = cat().stdin(Inlet::file(&fifo.0)).timeout(LONG).output();
        let (output, ()) = in_time(Box::pin(async { tokio::join!(read, write) })).await;
        let output = output.unwrap().check().unwrap();
        assert_eq!(output.stdout.total(), 200_000);
        assert!(output.exit.elapsed >= begin, "the wait counts");
        let path = fifo.0.clone();
        let read = async {
            tokio::time::sleep(begin).await;
            let read = move || {
                let mut bytes = Vec::new();
                File::open(path)?.read_to_end(&mut bytes).map(|_| bytes.len())
            };
            tokio::task::spawn_blocking(read).await.unwrap().unwrap()
        };
        let script = "head -c 200000 /dev/zero";
        let write = Process::shell(script).stdout(Outlet::file(&fifo.0)).timeout(LONG).output();
        let (output, read) = in_time(Box::pin(async { tokio::join!(write, read) })).await;
        output.unwrap().check().unwrap();
        assert_eq!(read, 200_000);
    }
}

#[tokio::test]
async fn a_writer_that_has_not_written_yet_and_one_that_wrote_nothing_let_the_process_start() {
    let fifo = Fifo::new("silent");
    let path = fifo.0.clone();
    let silent = tokio::task::spawn_blocking(move || File::options().write(true).open(path));
    // The process says that it runs before the first byte is written.
    let mut process = Process::shell("echo runs; cat").stdin(Inlet::file(&fifo.0));
    process = process.timeout(LONG);
    let process = tokio::task::spawn_blocking({
        let runtime = tokio::runtime::Handle::current();
        move || {
            let _here = runtime.enter();
            process.spawn()
        }
    });
    let mut process = in_time(process).await.unwrap().unwrap();
    process.wait_for(LONG, |line| line.bytes == b"runs").await.unwrap();
    in_time(silent).await.unwrap().unwrap().write_all(b"late\n").unwrap();
    in_time(process.wait()).await.unwrap();
    let path = fifo.0.clone();
    let nothing =
        tokio::task::spawn_blocking(move || File::options().write(true).open(path).map(drop));
    let begin = Instant::now();
    let output = in_time(cat().stdin(Inlet::file(&fifo.0)).timeout(LONG).output()).await;
    assert!(output.unwrap().check().unwrap().stdout.text().is_empty());
    assert!(begin.elapsed() < LONG);
    in_time(nothing).await.unwrap().unwrap();
}
