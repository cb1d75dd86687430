//! The throughput runs: each contender runs once for a round, and the four cases share the figures.

use crate::{node, ours, proc, raw, server::Server};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use tokio::runtime::Runtime;

/// Measured rounds; the runner makes one more, to warm up.
pub const ROUNDS: usize = 2;

/// The figures of one run.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    pub rate: f64,
    pub cpu: f64,
    pub client: f64,
    pub memory: f64,
}

/// What a contender measured itself.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Seconds for all tasks.
    pub wall: f64,
    /// CPU seconds of the whole process tree, client and browser, for all tasks.
    pub tree: f64,
    /// CPU seconds of the client alone.
    pub client: f64,
    /// The client's peak resident memory in MiB.
    pub memory: f64,
}

pub struct Tasks {
    engine: PathBuf,
    tasks: usize,
    concurrency: usize,
    /// For each contender its runs, and for each figure how many of them it has used.
    runs: Mutex<HashMap<&'static str, Vec<Measure>>>,
    used: Mutex<HashMap<(String, &'static str), usize>>,
}

impl Tasks {
    pub fn new(engine: &PathBuf, tasks: usize, concurrency: usize) -> Self {
        let (runs, used) = Default::default();
        Self { engine: engine.clone(), tasks, concurrency, runs, used }
    }

    /// The next run of the contender that this figure has not seen.
    pub fn next(&self, runtime: &Runtime, figure: &str, contender: &'static str) -> Measure {
        let index = {
            let mut used = self.used.lock().unwrap();
            let count = used.entry((figure.to_owned(), contender)).or_insert(0);
            *count += 1;
            *count - 1
        };
        if let Some(measure) =
            self.runs.lock().unwrap().get(contender).and_then(|runs| runs.get(index)).copied()
        {
            return measure;
        }
        // The runner's first round warms the files up; it needs no full run.
        let tasks = if index == 0 { self.tasks / 10 } else { self.tasks };
        let measure = self.measure(runtime, contender, tasks);
        self.runs.lock().unwrap().entry(contender).or_default().push(measure);
        measure
    }

    fn measure(&self, runtime: &Runtime, contender: &str, tasks: usize) -> Measure {
        let (engine, concurrency) = (&self.engine, self.concurrency);
        let run = runtime.block_on(async {
            let server = Server::start().await;
            let url = server.url("/task");
            match contender {
                "puppeteer-cluster" => {
                    node::run("cluster.mjs", engine, &url, tasks, concurrency).await
                }
                "playwright-core" => {
                    node::run("playwright.mjs", engine, &url, tasks, concurrency).await
                }
                // In a process of its own, so that CPU and memory are the contender's alone.
                _ => proc::run_self(contender, engine, &url, tasks, concurrency).await,
            }
        });
        eprintln!("    {contender}: {run:?}");
        Measure {
            rate: tasks as f64 / run.wall,
            cpu: run.tree / tasks as f64,
            client: run.client,
            memory: run.memory,
        }
    }
}

/// The child process of a Rust contender: does the tasks, prints wall, client CPU and memory, and waits
/// for its stdin to close before it ends the browser.
pub async fn child(
    contender: &str,
    engine: &std::path::Path,
    url: &str,
    tasks: usize,
    concurrency: usize,
) {
    match contender {
        "ours" => ours::tasks(engine, url, tasks, concurrency).await,
        _ => raw::tasks(engine, url, tasks, concurrency).await,
    }
}
