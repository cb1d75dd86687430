//! Start latency under a steady load: how long each of many jobs waits from the moment before its enqueue
//! until its handler runs, with everything else as it is by default.

use lastout_work_runner::{DurableWorker, Job, NewJob, Registry, WorkDriver, WorkRunner};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

/// How jobs come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Load {
    /// What the table calls it.
    pub name: &'static str,
    /// Jobs enqueued one after the other, without a pause between them.
    pub burst: usize,
    /// The time from one burst to the next.
    pub every: Duration,
    pub bursts: usize,
}

const fn load(name: &'static str, burst: usize, every_ms: u64, bursts: usize) -> Load {
    Load { name, burst, every: Duration::from_millis(every_ms), bursts }
}

pub const LOADS: [Load; 4] = [
    load("1 job/s", 1, 1000, 20),
    load("a job every 15 ms", 1, 15, 1000),
    load("100 jobs/s", 1, 10, 1500),
    load("bursts of 50 each second", 50, 1000, 15),
];

/// Each share of the jobs that started within the value that the table shows.
pub const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// The waits of one run, in milliseconds, ascending.
pub async fn waits(registry: Arc<dyn Registry>, load: Load) -> Vec<f64> {
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle("noop", move |job: Job<usize>| {
            // The receiver lives until every job has started.
            let _ = started.send((job.payload, Instant::now()));
            std::future::ready(Ok(()))
        })
        .build()
        .unwrap();
    let running = WorkRunner::inline(worker).spawn();
    let driver = WorkDriver::producer(registry);
    let mut sent = Vec::new();
    let begin = Instant::now();
    for burst in 0..load.bursts {
        let due = begin + load.every * burst as u32;
        tokio::time::sleep_until(due.into()).await;
        for _ in 0..load.burst {
            let n = sent.len();
            sent.push(Instant::now());
            driver.enqueue(NewJob::new("noop", &n).unwrap()).await.unwrap();
        }
    }
    let mut waits = Vec::new();
    while waits.len() < sent.len() {
        let (n, at) = starts.recv().await.unwrap();
        waits.push(at.saturating_duration_since(sent[n]).as_secs_f64() * 1000.0);
    }
    let report = running.stop(Duration::from_secs(10)).await;
    assert!(report.is_clean(), "{report}");
    waits.sort_by(f64::total_cmp);
    waits
}

/// The value below which `share` of the waits lie.
pub fn share_of(waits: &[f64], share: f64) -> f64 {
    waits[((waits.len() as f64 * share).ceil() as usize).clamp(1, waits.len()) - 1]
}

/// One round of one share. The shares of one load are of the same runs: round for round.
pub fn round(
    store: &'static str,
    load: Load,
    share: &'static str,
    measure: impl FnOnce(Load) -> Vec<f64>,
) -> f64 {
    type Runs = HashMap<(&'static str, Load), Vec<Vec<f64>>>;
    type Asked = HashMap<(&'static str, Load, &'static str), usize>;
    static RUNS: LazyLock<Mutex<(Runs, Asked)>> = LazyLock::new(Mutex::default);
    let mut runs = RUNS.lock().unwrap();
    let (runs, asked) = &mut *runs;
    let round = asked.entry((store, load, share)).or_default();
    let of_load = runs.entry((store, load)).or_default();
    if of_load.len() <= *round {
        of_load.push(measure(load));
    }
    let waits = &of_load[*round];
    *round += 1;
    let (_, part) = SHARES.into_iter().find(|(name, _)| *name == share).unwrap();
    share_of(waits, part)
}
