//! `lastout jobs`: adds jobs to a store, looks at them, waits for them, and prunes them.

use crate::answer::{self, Answer, FAILED, Failed, NO_JOB, REFUSED};
use crate::orders::{self, Filter, job_id};
use crate::store::{Missing, on_store, shown};
use crate::words::Words;
use crate::{doctor, queues};
use lastout::work_runner::{Attempt, JobRecord, Keep, NewJob, Overview, QueueCount, State};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::io::Read;
use std::time::Duration;

/// How many jobs a list has unless it is told.
const ROWS: usize = 20;
/// How long a job is waited for unless it is told.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// Jobs that are deleted in one transaction.
const CHUNK: usize = 1_000;

pub(crate) fn main(verb: &str, words: &Words) -> Result<Answer, Failed> {
    match verb {
        "enqueue" => enqueue(words),
        "list" => list(words),
        "show" => show(words),
        "wait" => wait(words),
        "stats" => stats(words),
        "top" => queues::top(words),
        "prune" => prune(words),
        "migrate" => migrate(words),
        "doctor" => doctor::main(words),
        verb => orders::main(verb, words),
    }
}

fn enqueue(words: &Words) -> Result<Answer, Failed> {
    let (kind, payload) = match words.list()?[..] {
        [kind] => (kind, "null".to_owned()),
        [kind, "-"] => (kind, read_stdin()?),
        [kind, payload] => (kind, payload.to_owned()),
        _ => return Err(Failed::usage("jobs enqueue: it takes a kind, and a payload")),
    };
    // Checked here, where the caller can correct it, and stored as written: a number may be larger than our types
    // hold.
    serde_json::from_str::<IgnoredAny>(&payload)
        .map_err(|error| Failed::usage(format!("the payload is not JSON: {error}")))?;
    let mut job = NewJob::raw(kind, payload.trim().into());
    if let Some(queue) = words.option("queue")? {
        job = job.queue(queue);
    }
    if let Some(key) = words.option("unique")? {
        job = job.unique(key);
    }
    if let Some(priority) = words.number("priority")? {
        job = job.priority(priority);
    }
    if let Some(attempts) = words.number("attempts")? {
        job = job.max_attempts(attempts);
    }
    if let Some(delay) = words.time("delay")? {
        job = job.delay(delay);
    }
    if let Some(timeout) = words.time("timeout")? {
        job = job.timeout(timeout);
    }
    on_store(words, Missing::Make, async |driver| {
        let enqueued = driver.enqueue(job).await?;
        let code = if enqueued.is_new() { 0 } else { REFUSED };
        let text = match words.json() {
            true => json!({ "id": enqueued.id().0, "is_new": enqueued.is_new() }).to_string(),
            false => enqueued.id().to_string(),
        };
        Ok(Answer { text, code })
    })
}

fn read_stdin() -> Result<String, Failed> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|error| Failed::new("read the payload", &error))?;
    Ok(text)
}

fn list(words: &Words) -> Result<Answer, Failed> {
    let filter = Filter::of(words)?;
    let limit = words.number::<usize>("limit")?.unwrap_or(ROWS);
    let after = words.option("after")?.map(job_id).transpose()?;
    on_store(words, Missing::Refuse, async |driver| {
        let mut query = filter.query(driver).await?;
        query.after = after;
        let mut jobs = Vec::new();
        // A page may be short, or empty, when few jobs match.
        while jobs.len() < limit {
            let page = driver.registry().page(query.clone().limit(limit - jobs.len())).await?;
            jobs.extend(page.jobs);
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
        if words.json() {
            let jobs: Vec<_> = jobs.iter().map(text).collect();
            return Answer::say(format!("[{}]", jobs.join(",")));
        }
        let titles = ["id", "state", "queue", "kind", "attempt", "error"];
        Answer::table(&titles, jobs.iter().map(row).collect())
    })
}

fn show(words: &Words) -> Result<Answer, Failed> {
    let [id] = words.texts("jobs show")?;
    let id = job_id(id)?;
    on_store(words, Missing::Refuse, async |driver| match driver.get(id).await? {
        Some(job) => details(words, &job),
        None => Err(no_job(id)),
    })
}

fn no_job(id: impl std::fmt::Display) -> Failed {
    Failed { text: format!("there is no job {id}"), code: NO_JOB }
}

fn details(words: &Words, job: &JobRecord) -> Result<Answer, Failed> {
    if words.json() {
        return Answer::say(text(job));
    }
    let value = value(job);
    let rows = value.as_object().into_iter().flatten();
    let rows = rows.filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        vec![name.clone(), text]
    });
    Answer::table(&["field", "value"], rows.collect())
}

/// 0 when it succeeded, 1 when it ended otherwise, 3 when the time is over first.
fn wait(words: &Words) -> Result<Answer, Failed> {
    let [id] = words.texts("jobs wait")?;
    let id = job_id(id)?;
    let patience = words.time("timeout")?.unwrap_or(PATIENCE);
    on_store(words, Missing::Refuse, async |driver| {
        let Some(job) = driver.wait(id, patience).await? else {
            return Err(no_job(id));
        };
        let code = match job.state {
            State::Succeeded => 0,
            state if state.is_terminal() => FAILED,
            _ => REFUSED,
        };
        let text = match words.json() {
            true => text(&job),
            false => job.state.name().to_owned(),
        };
        Ok(Answer { text, code })
    })
}

fn stats(words: &Words) -> Result<Answer, Failed> {
    if words.json() && words.has("prometheus") {
        return Err(Failed::usage("jobs stats: --json and --prometheus exclude each other"));
    }
    on_store(words, Missing::Refuse, async |driver| {
        let counts = driver.counts().await?;
        if words.has("prometheus") {
            return Answer::say(prometheus(&counts, &driver.overview().await?));
        }
        if words.json() {
            let counts = counts.iter().map(|count| {
                json!({
                    "queue": count.queue, "state": count.state.name(),
                    "jobs": count.jobs, "capped": count.capped,
                })
            });
            return Answer::json(&counts.collect());
        }
        let rows = counts.into_iter().map(|count| {
            // Counting stopped there: there may be more.
            let more = if count.capped { "+" } else { "" };
            vec![count.queue, count.state.name().to_owned(), format!("{}{more}", count.jobs)]
        });
        Answer::table(&["queue", "state", "jobs"], rows.collect())
    })
}

/// A gauge for each count, in the text format of Prometheus.
fn prometheus(counts: &[QueueCount], overview: &Overview) -> String {
    let label = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut text = String::new();
    let head = |text: &mut String, name: &str, help: &str| {
        text.push_str(&format!("# HELP lastout_{name} {help}\n# TYPE lastout_{name} gauge\n"));
    };
    head(&mut text, "jobs", "Jobs of a queue in a state; counting stops at a bound.");
    for QueueCount { queue, state, jobs, .. } in counts {
        let (queue, state) = (label(queue), state.name());
        let line = format!("lastout_jobs{{queue=\"{queue}\",state=\"{state}\"}} {jobs}\n");
        text.push_str(&line);
    }
    head(&mut text, "oldest_ready_seconds", "How long the oldest ready job of a queue has waited.");
    for queue in &overview.queues {
        let Some(ms) = queue.oldest_ready_ms else { continue };
        let (name, ms) = (label(&queue.queue), ms.max(0));
        let (whole, part) = (ms / 1_000, ms % 1_000);
        let line = format!("lastout_oldest_ready_seconds{{queue=\"{name}\"}} {whole}.{part:03}\n");
        text.push_str(&line);
    }
    head(&mut text, "workers", "Workers with a lease.");
    text.push_str(&format!("lastout_workers {}", overview.workers));
    text
}

fn prune(words: &Words) -> Result<Answer, Failed> {
    let (older, unhappy) = (words.time("older")?, words.time("unhappy")?);
    let mut keep = Keep::default();
    (keep.done, keep.unhappy) = (older, unhappy.or(older));
    if keep == Keep::default() {
        return Err(Failed::usage("jobs prune: how old? Say so by --older or --unhappy"));
    }
    answer::tell(format_args!("lastout: store {}", shown(words)?));
    on_store(words, Missing::Refuse, async |driver| {
        let mut pruned = 0_usize;
        loop {
            match driver.registry().prune(keep, CHUNK).await? {
                0 => break,
                more => pruned += more,
            }
        }
        let text = match words.json() {
            true => json!({ "pruned": pruned }).to_string(),
            false => format!("pruned {pruned}"),
        };
        Ok(Answer { text, code: if pruned == 0 { REFUSED } else { 0 } })
    })
}

/// Opening a store brings its tables up to date.
fn migrate(words: &Words) -> Result<Answer, Failed> {
    answer::tell(format_args!("lastout: store {}", shown(words)?));
    on_store(words, Missing::Make, async |_| match words.json() {
        true => Answer::json(&json!({ "is_current": true })),
        false => Answer::say("the tables are up to date"),
    })
}

fn row(job: &JobRecord) -> Vec<String> {
    let error = job.error.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
    vec![
        job.id.to_string(),
        job.state.name().to_owned(),
        job.queue.to_string(),
        job.kind.to_string(),
        format!("{}/{}", job.attempt, job.max_attempts),
        error.to_owned(),
    ]
}

fn value(job: &JobRecord) -> Value {
    // 0 stands for a time that has not come.
    let time = |ms: i64| (ms != 0).then_some(ms);
    json!({
        "id": job.id.0, "state": job.state.name(), "queue": *job.queue, "kind": *job.kind,
        "priority": job.priority, "attempt": job.attempt, "max_attempts": job.max_attempts,
        "crashes": job.crashes, "max_crashes": job.max_crashes, "unique_key": job.unique_key,
        "run_at_ms": time(job.run_at), "created_at_ms": time(job.created_at),
        "claimed_at_ms": time(job.claimed_at), "ended_at_ms": time(job.ended_at),
        "cancel": job.cancel, "error": job.error,
        "attempts": job.attempts().iter().map(attempt).collect::<Value>(),
        "payload": String::from_utf8_lossy(&job.payload),
        "progress": job.progress.as_deref().map(String::from_utf8_lossy),
        "result": job.result.as_deref().map(String::from_utf8_lossy),
    })
}

/// As JSON. JSON of the job is printed as it is stored, so that no number is rounded; other bytes become a string, in
/// which U+FFFD stands for what is not UTF-8.
fn text(job: &JobRecord) -> String {
    let bytes = |bytes: &[u8]| {
        let is_json = |text: &&str| serde_json::from_str::<IgnoredAny>(text).is_ok();
        match std::str::from_utf8(bytes).ok().filter(is_json) {
            // No string has a line break in it; without those around, the answer is one line.
            Some(text) => text.replace(['\n', '\r'], " "),
            None => Value::from(String::from_utf8_lossy(bytes)).to_string(),
        }
    };
    let value = value(job);
    let fields = value.as_object().into_iter().flatten().map(|(name, value)| {
        let text = match &**name {
            "payload" => bytes(&job.payload),
            "progress" => job.progress.as_deref().map_or_else(|| value.to_string(), bytes),
            "result" => job.result.as_deref().map_or_else(|| value.to_string(), bytes),
            _ => value.to_string(),
        };
        format!("{}:{text}", Value::from(&**name))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn attempt(attempt: &Attempt) -> Value {
    json!({
        "worker": attempt.worker.to_string(), "outcome": attempt.outcome.to_string(),
        "started_at_ms": attempt.started_at, "ended_at_ms": attempt.ended_at,
        "error": attempt.error,
    })
}
