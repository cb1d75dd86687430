//! What history costs, and many streams at once.

use crate::raw::{one, two};
use lastout_bench_runner::{Bar, Bench, Case};
use lastout_output_stream::{Config, Event, Policy, Position, Retain, Stream};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::unix::pipe;

const MIB: u64 = 1 << 20;

pub fn cases(bench: Bench<'_>) -> Bench<'_> {
    bench
        .case(
            Case::lower("attach to 32 MiB of history", "us")
                .ours(attach)
                .bar(Bar::absolute().max(10.0)),
        )
        .case(
            Case::lower("memory of 1 MiB of history in 1-byte reads, less one segment", "x budget")
                .ours(|| history(MIB))
                .bar(Bar::absolute().max(1.1)),
        )
        .case(
            Case::lower("memory of 8 MiB of history in 1-byte reads, less one segment", "x budget")
                .ours(|| history(8 * MIB))
                .bar(Bar::absolute().max(1.1)),
        )
        .case(
            Case::lower("1 000 streams at once, threads beside those of the runtime", "threads")
                .ours(|| many(1_000))
                .bar(Bar::absolute().max(0.0)),
        )
}

/// Gives `left` bytes in reads of at most `most`.
struct Source {
    left: u64,
    most: usize,
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = buf.remaining().min(self.most).min(self.left as usize);
        buf.put_slice(&[b'x'; 64 * 1024][..n]);
        self.left -= n as u64;
        Poll::Ready(Ok(()))
    }
}

/// The median of many: one attach is too short for a single look at the clock.
fn attach() -> f64 {
    one().block_on(async {
        let config = Config::builder().retain(Retain::Bytes(32 * MIB)).build().expect("valid");
        let stream = Stream::spawn(Source { left: 40 * MIB, most: 5_000 }, config);
        assert!(stream.ended().await.is_eof());
        let mut times: Vec<_> = (0..999)
            .map(|_| {
                let start = Instant::now();
                let mut reader = stream.subscribe(Position::Start, Policy::Block).expect("free");
                let first = reader.try_next();
                let second = reader.try_next();
                let time = start.elapsed();
                assert!(matches!(first, Poll::Ready(Some(Event::Gap { .. }))));
                assert!(matches!(second, Poll::Ready(Some(Event::Data { .. }))));
                time
            })
            .collect();
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e6
    })
}

fn history(budget: u64) -> f64 {
    one().block_on(async {
        let config = Config::builder().retain(Retain::Bytes(budget)).build().expect("valid");
        let stream = Stream::spawn(Source { left: 2 * budget + 77, most: 1 }, config);
        assert!(stream.ended().await.is_eof());
        let stats = stream.stats();
        assert!(stats.retained >= budget);
        (stats.peak_memory - 64 * 1024) as f64 / budget as f64
    })
}

/// Streams over pipes, each with a reader, all fed at once.
fn many(count: usize) -> f64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live, writable `rlimit`.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur = limit.rlim_max.min(4 * count as u64 + 200);
    // SAFETY: `limit` is a live `rlimit`.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    let runtime = two();
    let before = threads();
    let during = runtime.block_on(async {
        let mut writers = Vec::new();
        let mut readers = Vec::new();
        for _ in 0..count {
            let (writer, source) = pipe::pipe().expect("a pipe");
            let stream = Stream::spawn(source, Config::default());
            let mut reader = stream.subscribe(Position::Start, Policy::Block).expect("free");
            writers.push(writer);
            readers.push(tokio::spawn(async move {
                let mut total = 0;
                while let Some(event) = reader.next().await {
                    if let Event::Data { bytes, .. } = event {
                        total += bytes.len();
                    }
                }
                total
            }));
        }
        for _ in 0..10 {
            for writer in &mut writers {
                writer.write_all(&[b'x'; 1_000]).await.expect("write");
            }
        }
        let during = threads();
        drop(writers);
        for reader in readers {
            assert_eq!(reader.await.expect("a reader"), 10_000);
        }
        during
    });
    during as f64 - before as f64
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("procfs").count()
}
