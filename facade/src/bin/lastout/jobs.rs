//! `lastout jobs`: adds jobs to a store, looks at them, and gives them orders.

use crate::answer::{Answer, Failed, NO_JOB, REFUSED};
use crate::measure;
use crate::store::{Words, on_store};
use lastout::work_runner::{JobId, JobRecord, NewJob, Order, Ordered, Query, State, WorkDriver};
use serde_json::{Value, json};
use std::ffi::OsString;

/// How many jobs a list has unless it is told.
const ROWS: usize = 20;

const OPTIONS: [&str; 12] = [
    "queue", "priority", "delay", "unique", "timeout", "state", "kind", "error", "limit", "after",
    "reason", "attempts",
];

pub(crate) fn main(words: Vec<OsString>) -> Result<Answer, Failed> {
    let words = Words::parse(words, &OPTIONS)?;
    let values: Vec<&str> = words.values.iter().map(String::as_str).collect();
    match values[..] {
        ["enqueue", kind] => enqueue(&words, kind, "null"),
        ["enqueue", kind, payload] => enqueue(&words, kind, payload),
        ["list"] => list(&words),
        ["show", id] => show(&words, id),
        ["stats"] => stats(&words),
        ["cancel", ref ids @ ..] => order(&words, Order::Cancel, ids),
        ["retry", ref ids @ ..] => order(&words, Order::Requeue, ids),
        ["run-now", ref ids @ ..] => order(&words, Order::RunNow, ids),
        ["delete", ref ids @ ..] => order(&words, Order::Delete, ids),
        ["abandon", ref ids @ ..] => match words.option("reason") {
            Some(reason) => order(&words, Order::Abandon { reason: reason.to_owned() }, ids),
            None => Err(Failed::usage("jobs abandon: why? Say so by --reason")),
        },
        _ => Err(Failed::usage(format!("jobs: {:?} is not understood", words.values.join(" ")))),
    }
}

fn enqueue(words: &Words, kind: &str, payload: &str) -> Result<Answer, Failed> {
    // Checked here, where the person is who can correct it.
    let payload: Value = serde_json::from_str(payload)
        .map_err(|error| Failed::usage(format!("the payload is no JSON: {error}")))?;
    let made = NewJob::new(kind, &payload);
    let mut job = made.map_err(|error| Failed::new("make the job", &error))?;
    if let Some(queue) = words.option("queue") {
        job = job.queue(queue);
    }
    if let Some(key) = words.option("unique") {
        job = job.unique(key);
    }
    if let Some(priority) = words.parsed("priority", |text| text.parse().ok())? {
        job = job.priority(priority);
    }
    if let Some(attempts) = words.parsed("attempts", |text| text.parse().ok())? {
        job = job.max_attempts(attempts);
    }
    if let Some(delay) = words.parsed("delay", |text| measure::time(text).ok())? {
        job = job.delay(delay);
    }
    if let Some(timeout) = words.parsed("timeout", |text| measure::time(text).ok())? {
        job = job.timeout(timeout);
    }
    on_store(words, true, async |driver| {
        let enqueued = driver.enqueue(job).await?;
        let code = if enqueued.is_new() { 0 } else { REFUSED };
        let text = match words.json {
            true => json!({ "id": enqueued.id().0, "is_new": enqueued.is_new() }).to_string(),
            false => enqueued.id().to_string(),
        };
        Ok(Answer { text, code })
    })
}

fn list(words: &Words) -> Result<Answer, Failed> {
    let mut query = Query::all().newest_first();
    let limit = words.parsed("limit", |text| text.parse::<usize>().ok())?.unwrap_or(ROWS);
    if let Some(queue) = words.option("queue") {
        query = query.queue(queue);
    }
    if let Some(kind) = words.option("kind") {
        query = query.kind(kind);
    }
    if let Some(text) = words.option("error") {
        query = query.error(text);
    }
    if let Some(state) = words.parsed("state", State::from_name)? {
        query = query.state(state);
    }
    if let Some(after) = words.parsed("after", |text| text.parse().ok())? {
        query = query.after(JobId(after));
    }
    on_store(words, false, async |driver| {
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
        if words.json {
            return Answer::json(&jobs.iter().map(value).collect());
        }
        let titles = ["id", "state", "queue", "kind", "attempt", "error"];
        Answer::table(&titles, jobs.iter().map(row).collect())
    })
}

fn show(words: &Words, id: &str) -> Result<Answer, Failed> {
    let id = job_id(id)?;
    on_store(words, false, async |driver| {
        let Some(job) = driver.get(id).await? else {
            return Err(Failed { text: format!("there is no job {id}"), code: NO_JOB });
        };
        let value = value(&job);
        if words.json {
            return Answer::json(&value);
        }
        let rows = value.as_object().into_iter().flatten();
        let rows = rows.filter(|(_, value)| !value.is_null()).map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            vec![name.clone(), text]
        });
        Answer::table(&["field", "value"], rows.collect())
    })
}

fn stats(words: &Words) -> Result<Answer, Failed> {
    on_store(words, false, async |driver| {
        let counts = driver.counts().await?;
        if words.json {
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

/// Gives an order to each of these jobs; what became of it for each. The worst is the exit status.
fn order(words: &Words, order: Order, ids: &[&str]) -> Result<Answer, Failed> {
    let ids = ids.iter().map(|id| job_id(id)).collect::<Result<Vec<_>, _>>()?;
    if ids.is_empty() {
        return Err(Failed::usage("which jobs? Their numbers are missing"));
    }
    on_store(words, false, async |driver: &WorkDriver| {
        let ordered = driver.registry().order(order, ids.clone()).await?;
        let code = ordered.iter().map(|it| status(*it)).max().unwrap_or(0);
        let rows = ids.iter().zip(&ordered).map(|(id, ordered)| (id, said(*ordered)));
        let text = match words.json {
            true => {
                let rows = rows.map(|(id, said)| json!({ "id": id.0, "order": said }));
                Value::from_iter(rows).to_string()
            }
            false => {
                let rows = rows.map(|(id, said)| vec![id.to_string(), said]);
                Answer::table(&["id", "order"], rows.collect())?.text
            }
        };
        Ok(Answer { text, code })
    })
}

fn status(ordered: Ordered) -> u8 {
    match ordered {
        Ordered::Now(_) | Ordered::Deleted => 0,
        Ordered::NotFound => NO_JOB,
        _ => REFUSED,
    }
}

/// What became of the job, in words.
fn said(ordered: Ordered) -> String {
    match ordered {
        Ordered::Now(state) => format!("{} now", state.name()),
        Ordered::Refused(state) => format!("refused: it is {}", state.name()),
        Ordered::Deleted => "deleted".to_owned(),
        Ordered::KeyTaken => "refused: another job holds its unique key".to_owned(),
        Ordered::NotFound => "there is no such job".to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn job_id(text: &str) -> Result<JobId, Failed> {
    text.parse().map(JobId).map_err(|_| Failed::usage(format!("{text:?} is no number of a job")))
}

fn row(job: &JobRecord) -> Vec<String> {
    let error = job.error.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
    vec![
        job.id.to_string(),
        job.state.name().to_owned(),
        job.queue.to_string(),
        job.kind.to_string(),
        job.attempt.to_string(),
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
        "payload": bytes(&job.payload), "progress": job.progress.as_deref().map(bytes),
        "result": job.result.as_deref().map(bytes),
    })
}

/// JSON as it is; other bytes as text, with a mark for each byte that is none.
fn bytes(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}
