//! `lastout queues`, `workers` and `cron`: who works on a store, and what they may take.

use crate::answer::{Answer, Failed, REFUSED};
use crate::store::{Words, on_store};
use serde_json::json;
use std::ffi::OsString;

pub(crate) fn queues(words: Vec<OsString>) -> Result<Answer, Failed> {
    let words = Words::parse(words, &["by"])?;
    let values: Vec<&str> = words.values.iter().map(String::as_str).collect();
    match values[..] {
        [] | ["list"] => list(&words),
        ["pause", queue] => {
            let by = words.option("by").unwrap_or("lastout");
            on_store(&words, false, async |driver| changed(driver.pause(queue, by).await?))
        }
        ["resume", queue] => {
            on_store(&words, false, async |driver| changed(driver.resume(queue).await?))
        }
        ["limit", queue, max] => {
            let max = match max {
                "none" => None,
                number => Some(number.parse().map_err(|_| {
                    Failed::usage(format!("{number:?} is no limit: write a number or none"))
                })?),
            };
            on_store(&words, false, async |driver| {
                driver.limit(queue, max).await?;
                changed(true)
            })
        }
        _ => Err(Failed::usage(format!("queues: {:?} is not understood", words.values.join(" ")))),
    }
}

/// 3 when it was so before.
fn changed(changed: bool) -> Result<Answer, Failed> {
    Ok(match changed {
        true => Answer { text: "done".to_owned(), code: 0 },
        false => Answer { text: "nothing to do".to_owned(), code: REFUSED },
    })
}

fn list(words: &Words) -> Result<Answer, Failed> {
    on_store(words, false, async |driver| {
        let queues = driver.queues().await?;
        if words.json {
            let queues = queues.iter().map(|it| {
                json!({
                    "queue": it.queue, "max_running": it.max_running,
                    "paused_by": it.paused.as_ref().map(|pause| &pause.by),
                    "paused_at_ms": it.paused.as_ref().map(|pause| pause.at_ms),
                })
            });
            return Answer::json(&queues.collect());
        }
        let rows = queues.into_iter().map(|it| {
            let limit = it.max_running.map_or_else(|| "-".to_owned(), |max| max.to_string());
            vec![it.queue, limit, it.paused.map_or_else(|| "-".to_owned(), |pause| pause.by)]
        });
        Answer::table(&["queue", "limit", "paused-by"], rows.collect())
    })
}

pub(crate) fn workers(words: Vec<OsString>) -> Result<Answer, Failed> {
    let words = Words::parse(words, &[])?;
    if !words.values.is_empty() {
        return Err(Failed::usage("workers takes no words"));
    }
    on_store(&words, false, async |driver| {
        let workers = driver.registry().workers().await?;
        if words.json {
            let workers = workers.iter().map(|it| {
                json!({ "id": it.id.to_string(), "pid": it.identity.pid, "lease_ms": it.lease_ms })
            });
            return Answer::json(&workers.collect());
        }
        let rows = workers.iter().map(|it| {
            vec![it.id.to_string(), it.identity.pid.to_string(), it.lease_ms.to_string()]
        });
        Answer::table(&["worker", "pid", "lease-ms"], rows.collect())
    })
}

pub(crate) fn cron(words: Vec<OsString>) -> Result<Answer, Failed> {
    let words = Words::parse(words, &[])?;
    let values: Vec<&str> = words.values.iter().map(String::as_str).collect();
    match values[..] {
        [] | ["list"] => on_store(&words, false, async |driver| {
            let jobs = driver.periodic().await?;
            if words.json {
                let jobs = jobs.iter().map(|it| {
                    json!({ "name": it.name, "cron": it.cron, "at_ms": it.at_ms, "error": it.error })
                });
                return Answer::json(&jobs.collect());
            }
            let rows = jobs.into_iter().map(|it| {
                vec![it.name, it.cron, it.at_ms.to_string(), it.error.unwrap_or_default()]
            });
            Answer::table(&["name", "cron", "at-ms", "error"], rows.collect())
        }),
        ["drop", name] => {
            on_store(&words, false, async |driver| changed(driver.drop_periodic(name).await?))
        }
        _ => Err(Failed::usage(format!("cron: {:?} is not understood", words.values.join(" ")))),
    }
}
