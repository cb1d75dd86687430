//! `lastout jobs doctor`: what is wrong with a store, or with the machine on which it is looked at.

use crate::answer::{self, Answer, FAILED, Failed, chain};
use crate::measure;
use crate::store::{Missing, on_store, shown};
use crate::words::Words;
use lastout::browser_pool::Chrome;
use lastout::proc_tree::{Containment, Tree};
use lastout::work_runner::WorkDriver;
use serde_json::json;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Clocks that differ by more are a fault: due times and leases are read wrongly by people.
const CLOCK: i64 = 2_000;
/// A ready job that is older is a fault, unless its queue is paused.
const OLD: i64 = 600_000;

/// One thing that was looked at: what it is, and what to do about it if it is a fault.
struct Finding {
    what: String,
    remedy: Option<String>,
}

fn fine(what: impl Into<String>) -> Finding {
    Finding { what: what.into(), remedy: None }
}

fn fault(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { what: what.into(), remedy: Some(remedy.into()) }
}

pub(crate) fn main(words: &Words) -> Result<Answer, Failed> {
    answer::tell(format_args!("lastout: store {}", shown(words)?));
    on_store(words, Missing::Refuse, async |driver| {
        let mut findings = vec![fine("the tables of the store are those of this lastout")];
        findings.extend(store(driver).await?);
        findings.extend([trees(), browsers()]);
        let code = if findings.iter().any(|it| it.remedy.is_some()) { FAILED } else { 0 };
        let text = match words.json() {
            true => {
                let rows = findings.iter().map(|it| {
                    json!({ "is_fault": it.remedy.is_some(), "what": it.what, "remedy": it.remedy })
                });
                serde_json::Value::from_iter(rows).to_string()
            }
            false => {
                let rows = findings.into_iter().map(|it| {
                    let word = if it.remedy.is_some() { "fault" } else { "ok" };
                    vec![word.to_owned(), it.what, it.remedy.unwrap_or_default()]
                });
                Answer::table(&["", "what", "remedy"], rows.collect())?.text
            }
        };
        Ok(Answer { text, code })
    })
}

async fn store(driver: &WorkDriver) -> Result<Vec<Finding>, Failed> {
    let mut findings = Vec::new();
    let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let here = i64::try_from(here.as_millis()).unwrap_or(i64::MAX);
    let ahead = driver.registry().now_ms().await?.saturating_sub(here);
    findings.push(match ahead.saturating_abs() {
        ..=CLOCK => fine(format!("the clock of the store differs by {}", measure::age(ahead))),
        _ => fault(
            format!("the clock of the store differs by {}", measure::age(ahead)),
            "set the clock of this machine, or of the store",
        ),
    });
    let workers = driver.registry().workers().await?;
    let over = workers.iter().filter(|worker| worker.lease_ms <= 0).count();
    findings.push(match over {
        0 => fine(format!("workers: {}, all with a lease", workers.len())),
        over => fault(
            format!("workers whose lease has run out: {over}"),
            "start a worker: it takes over what they held",
        ),
    });
    let paused = driver.queues().await?.into_iter().filter(|queue| queue.paused.is_some());
    let paused: BTreeSet<String> = paused.map(|queue| queue.queue).collect();
    let overview = driver.overview().await?;
    let oldest = |is_paused| {
        let queues = overview.queues.iter();
        let queues = queues.filter(|queue| paused.contains(&queue.queue) == is_paused);
        queues.filter_map(|queue| queue.oldest_ready_ms).max()
    };
    findings.push(match oldest(false).unwrap_or(0) {
        old if old > OLD => fault(
            format!("the oldest ready job has waited for {}", measure::age(old)),
            "start workers for its queue: lastout queues",
        ),
        young => fine(format!("the oldest ready job has waited for {}", measure::age(young))),
    });
    if let Some(old) = oldest(true) {
        let age = measure::age(old);
        findings.push(fine(format!("the oldest ready job of a paused queue has waited for {age}")));
    }
    for job in driver.periodic().await? {
        if let Some(error) = job.error {
            let what = format!("the periodic job {} is disabled: {error}", job.name);
            findings.push(fault(what, "put it once more, with an expression that is right"));
        }
    }
    Ok(findings)
}

/// How firmly `lastout run` holds its trees here.
fn trees() -> Finding {
    let bound = Duration::from_secs(10);
    match Tree::spawn(&mut Command::new("true"), Containment::strongest()) {
        // The root is ended with its tree: its status tells nothing.
        Ok((tree, _child)) => match tree.kill_blocking(bound) {
            Ok(report) => fine(format!("trees are held by {}", report.guarantee)),
            Err(error) => fault(
                format!("a tree cannot be ended: {}", chain(&error)),
                "look at what is left: lastout ps",
            ),
        },
        Err(error) => fault(
            format!("no tree can be started: {}", chain(&error)),
            "see the limits of the README of lastout-proc-tree",
        ),
    }
}

fn browsers() -> Finding {
    match Chrome::owners(None) {
        Ok(owners) => match owners.iter().filter(|owner| !owner.is_living).count() {
            0 => fine("no dead program has left browsers"),
            dead => {
                fault(format!("dead programs that left browsers: {dead}"), "lastout browsers sweep")
            }
        },
        Err(error) => fault(format!("browsers: {}", chain(&error)), "see its owner and its mode"),
    }
}
