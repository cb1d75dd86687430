//! Looks into a job store, and gives orders: `cargo run --example jobs --features sqlite,postgres -- help`.

#![allow(clippy::print_stdout, reason = "a command line prints")]

use lastout_work_runner::postgres::PostgresRegistry;
use lastout_work_runner::sqlite::SqliteRegistry;
use lastout_work_runner::{JobId, JobRecord, NewJob, Query, Registry, State, WorkDriver};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

const HELP: &str = "\
jobs [--store FILE | --store postgres:CONNECTION] COMMAND

  enqueue KIND [JSON] [--queue Q] [--priority N] [--delay SECONDS] [--unique KEY]
  list [--queue Q] [--state S]    one line for each job
  show ID                         everything about a job
  cancel ID | retry ID | abandon ID REASON
  stats                           jobs by queue and state, and the workers
  tail [--for SECONDS]            the sums of all states, live, as they change

The store is jobs.db unless named.";

#[derive(Default)]
struct Args {
    store: Option<String>,
    words: Vec<String>,
    options: BTreeMap<String, String>,
}

fn parse() -> Result<Args, lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_env();
    let mut args = Args::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("store") => args.store = Some(parser.value()?.string()?),
            Long(name @ ("queue" | "state" | "priority" | "delay" | "unique" | "for")) => {
                let name = name.to_owned();
                args.options.insert(name, parser.value()?.string()?);
            }
            Value(word) => args.words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(args)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = parse()?;
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    if let [] | ["help"] = words[..] {
        println!("{HELP}");
        return Ok(());
    }
    let registry = open(args.store.as_deref().unwrap_or("jobs.db")).await?;
    let driver = WorkDriver::producer(registry);
    match words[..] {
        ["enqueue", kind] => enqueue(&driver, &args, kind, "null").await,
        ["enqueue", kind, json] => enqueue(&driver, &args, kind, json).await,
        ["list"] => list(&driver, &args).await,
        ["show", id] => show(&driver, job_id(id)?).await,
        ["cancel", id] => told(driver.cancel(job_id(id)?).await?),
        ["retry", id] => told(driver.requeue(job_id(id)?).await?),
        ["abandon", id, reason] => told(driver.abandon(job_id(id)?, reason).await?),
        ["stats"] => stats(&driver).await,
        ["tail"] => tail(&driver, &args).await,
        _ => Err(format!("not understood: {}\n\n{HELP}", args.words.join(" ")).into()),
    }
}

/// Says what became of an order.
fn told(ordered: lastout_work_runner::Ordered) -> Result<(), Box<dyn Error>> {
    println!("{ordered:?}");
    Ok(())
}

async fn open(store: &str) -> Result<Arc<dyn Registry>, Box<dyn Error>> {
    Ok(match store.strip_prefix("postgres:") {
        Some(config) => Arc::new(PostgresRegistry::connect(config).await?),
        None => Arc::new(SqliteRegistry::open(store)?),
    })
}

fn job_id(word: &str) -> Result<JobId, Box<dyn Error>> {
    Ok(JobId(word.parse().map_err(|_| format!("{word} is no job id"))?))
}

async fn enqueue(
    driver: &WorkDriver,
    args: &Args,
    kind: &str,
    json: &str,
) -> Result<(), Box<dyn Error>> {
    // Checked here, where the person is who can correct it.
    let payload: serde_json::Value = serde_json::from_str(json)?;
    let mut job = NewJob::new(kind, &payload)?;
    for (name, value) in &args.options {
        job = match name.as_str() {
            "queue" => job.queue(value.as_str()),
            "priority" => job.priority(value.parse()?),
            "delay" => job.delay(Duration::from_secs_f64(value.parse()?)),
            "unique" => job.unique(value.as_str()),
            other => return Err(format!("enqueue has no --{other}").into()),
        };
    }
    println!("{:?}", driver.enqueue(job).await?);
    Ok(())
}

fn query(args: &Args) -> Result<Query, Box<dyn Error>> {
    let mut query = Query::all();
    if let Some(queue) = args.options.get("queue") {
        query = query.queue(queue);
    }
    if let Some(name) = args.options.get("state") {
        query = query.state(State::from_name(name).ok_or(format!("{name} is no state"))?);
    }
    Ok(query)
}

async fn list(driver: &WorkDriver, args: &Args) -> Result<(), Box<dyn Error>> {
    let mut query = query(args)?;
    println!("{:>8}  {:<10} {:<16} {:<20} {:>4} error", "id", "state", "queue", "kind", "try");
    loop {
        let page = driver.list(query.clone()).await?;
        page.iter().for_each(print_line);
        match page.last() {
            Some(last) => query = query.after(last.id),
            None => return Ok(()),
        }
    }
}

fn print_line(row: &JobRecord) {
    let error = row.error.as_deref().unwrap_or("").lines().next().unwrap_or("");
    let JobRecord { id, state, queue, kind, attempt, .. } = row;
    println!("{id:>8}  {:<10} {queue:<16} {kind:<20} {attempt:>4} {error}", state.name());
}

async fn show(driver: &WorkDriver, id: JobId) -> Result<(), Box<dyn Error>> {
    let row = driver.get(id).await?.ok_or(format!("no job {id}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("job {id}: {} of queue {}, {}", row.kind, row.queue, row.state);
    println!(
        "  attempt {} of {}, crashes {} of {}",
        row.attempt, row.max_attempts, row.crashes, row.max_crashes
    );
    println!("  fence {}, worker {}", row.fence.0, row.owner);
    println!("  payload {}", text(&row.payload));
    for (name, bytes) in [("progress", &row.progress), ("result", &row.result)] {
        if let Some(bytes) = bytes {
            println!("  {name} {}", text(bytes));
        }
    }
    if let Some(error) = &row.error {
        println!("  error {error}");
    }
    Ok(())
}

async fn stats(driver: &WorkDriver) -> Result<(), Box<dyn Error>> {
    println!("{:<20} {:<10} {:>10}", "queue", "state", "jobs");
    for count in driver.counts().await? {
        println!("{:<20} {:<10} {:>10}", count.queue, count.state.name(), count.jobs);
    }
    for worker in driver.registry().workers().await? {
        let left = worker.lease_ms as f64 / 1000.0;
        println!(
            "worker {} is pid {}, its lease lasts {left:.1} s",
            worker.id, worker.identity.pid
        );
    }
    Ok(())
}

async fn tail(driver: &WorkDriver, args: &Args) -> Result<(), Box<dyn Error>> {
    let seconds: f64 = args.options.get("for").map_or(Ok(f64::INFINITY), |text| text.parse())?;
    let start = std::time::Instant::now();
    let mut before = String::new();
    while start.elapsed().as_secs_f64() < seconds {
        let mut line = String::new();
        let mut sums = BTreeMap::<State, u64>::new();
        for count in driver.counts().await? {
            *sums.entry(count.state).or_default() += count.jobs;
        }
        for (state, jobs) in sums {
            line.push_str(&format!("{state} {jobs}  "));
        }
        if line != before {
            println!("{:>7.1} s  {line}", start.elapsed().as_secs_f64());
            before = line;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}
