//! Runs no-op jobs on effectum and prints how many a second: `FOLDER JOBS`.

use effectum::{Error, Job, JobRunner, Queue, RunningJob, Worker};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

async fn noop(_: RunningJob, ran: Arc<AtomicUsize>) -> Result<(), Error> {
    ran.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().expect("a folder"));
    let jobs: usize = words.next().expect("a number of jobs").parse().expect("a number");
    let queue = Queue::new(&folder.join("effectum.db")).await.expect("open");
    let payload = format!("\"{}\"", "x".repeat(62)).into_bytes();
    for chunk in 0..jobs.div_ceil(5000) {
        let count = 5000.min(jobs - chunk * 5000);
        let all =
            (0..count).map(|_| Job::builder("noop").payload(payload.clone()).build()).collect();
        queue.add_jobs(all).await.expect("enqueue");
    }
    let ran = Arc::new(AtomicUsize::new(0));
    let runner = JobRunner::builder("noop", noop).build();
    let start = Instant::now();
    let worker = Worker::builder(&queue, Arc::clone(&ran))
        .max_concurrency(512)
        .min_concurrency(256)
        .jobs([runner])
        .build()
        .await
        .expect("a worker");
    while ran.load(Ordering::Relaxed) < jobs {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    println!("{}", jobs as f64 / start.elapsed().as_secs_f64());
    worker.unregister(None).await.expect("the end");
}
