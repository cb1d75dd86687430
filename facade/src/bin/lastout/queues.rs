//! `lastout queues`, `workers`, `cron` and `jobs top`: who works on a store, and what they may take.

use crate::answer::{self, Answer, Failed, REFUSED};
use crate::measure;
use crate::store::{Missing, on_store, shown};
use crate::words::Words;
use lastout::work_runner::{Rate, RateOf, State, StoreError, WorkDriver};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often `top` looks unless it is told.
const EVERY: Duration = Duration::from_secs(2);
/// Clears a terminal, and goes to its first line.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";
const TITLES: [&str; 8] =
    ["queue", "state", "ready", "running", "limit", "scheduled", "unhappy", "oldest"];

/// One queue in all its aspects.
#[derive(Debug, Default)]
struct Queue {
    counts: BTreeMap<State, (u64, bool)>,
    limit: Option<u32>,
    paused: Option<(String, i64)>,
    rate: Option<Rate>,
    oldest_ms: Option<i64>,
}

/// Pauses or resumes a queue, or sets its limit or rate.
pub(crate) fn change(verb: &str, words: &Words) -> Result<Answer, Failed> {
    match verb {
        "limit" => return limit(words),
        "rate" => return rate(words),
        _ => {}
    }
    let [queue] = words.texts(verb)?;
    let by = words.option("by")?.unwrap_or("lastout");
    answer::tell(format_args!("lastout: store {}", shown(words)?));
    on_store(words, Missing::Refuse, async |driver| {
        changed(
            words,
            match verb {
                "pause" => driver.pause(queue, by).await?,
                _ => driver.resume(queue).await?,
            },
        )
    })
}

fn limit(words: &Words) -> Result<Answer, Failed> {
    let [queue, max] = words.texts("queues limit")?;
    let max = match max {
        "none" => None,
        number => Some(number.parse().map_err(|_| {
            Failed::usage(format!("{number:?} is not a limit: write a number or none"))
        })?),
    };
    answer::tell(format_args!("lastout: store {}", shown(words)?));
    on_store(words, Missing::Refuse, async |driver| {
        driver.limit(queue, max).await?;
        changed(words, true)
    })
}

fn rate(words: &Words) -> Result<Answer, Failed> {
    let [name, rate] = words.texts("queues rate")?;
    let burst = words.number("burst")?;
    let rate = match (rate, burst) {
        ("none", None) => None,
        ("none", Some(_)) => return Err(Failed::usage("none has no --burst")),
        (rate, burst) => {
            let rate = read_rate(rate).map_err(Failed::usage)?;
            Some(rate.burst(burst.unwrap_or(rate.burst)))
        }
    };
    let of = match words.has("key") {
        true => RateOf::Key(name.to_owned()),
        false => RateOf::Queue(name.to_owned()),
    };
    answer::tell(format_args!("lastout: store {}", shown(words)?));
    on_store(words, Missing::Refuse, async |driver| {
        driver.limit_rate(of.clone(), rate).await?;
        changed(words, true)
    })
}

fn read_rate(text: &str) -> Result<Rate, String> {
    let rate = text
        .split_once('/')
        .and_then(|(max, per)| Some(Rate::new(max.parse().ok()?, measure::time(per).ok()?)));
    rate.ok_or_else(|| format!("{text:?} is not a rate: write 50/1s, 100/1h or none"))
}

pub(crate) fn rates(words: &Words) -> Result<Answer, Failed> {
    on_store(words, Missing::Refuse, async |driver| {
        let rates = driver.rates().await?;
        let of = |of: &RateOf| if matches!(of, RateOf::Queue(_)) { "queue" } else { "key" };
        if words.json() {
            let rates = rates.iter().map(|it| {
                let Rate { max, per_ms, burst, .. } = it.rate;
                json!({
                    "of": of(&it.of), "name": it.of.name(),
                    "max": max, "per_ms": per_ms, "burst": burst,
                })
            });
            return Answer::json(&rates.collect());
        }
        let row = |of: &str, name: &str, rate: Rate| {
            vec![of.to_owned(), name.to_owned(), rate.to_string()]
        };
        let rows = rates.iter().map(|it| row(of(&it.of), it.of.name(), it.rate));
        Answer::table(&["of", "name", "rate"], rows.collect())
    })
}

/// 3 when it was so before.
fn changed(words: &Words, changed: bool) -> Result<Answer, Failed> {
    let text = match (words.json(), changed) {
        (true, changed) => json!({ "changed": changed }).to_string(),
        (false, true) => "done".to_owned(),
        (false, false) => "nothing to do".to_owned(),
    };
    Ok(Answer { text, code: if changed { 0 } else { REFUSED } })
}

pub(crate) fn list(words: &Words) -> Result<Answer, Failed> {
    only_list(words)?;
    on_store(words, Missing::Refuse, async |driver| {
        let queues = look(driver).await?;
        match words.json() {
            true => Answer::json(&queues.iter().map(value).collect()),
            false => Answer::table(&TITLES, queues.iter().map(row).collect()),
        }
    })
}

/// The word `list` may stand there or not.
fn only_list(words: &Words) -> Result<(), Failed> {
    match words.list()?[..] {
        [] | ["list"] => Ok(()),
        ref others => Err(Failed::usage(format!("{:?} is not understood", others.join(" ")))),
    }
}

/// Shows the queues again and again: on a terminal in the same place, elsewhere one after the other.
pub(crate) fn top(words: &Words) -> Result<Answer, Failed> {
    let every = words.time("every")?.unwrap_or(EVERY).max(Duration::from_millis(100));
    let times = words.number::<u64>("times")?.unwrap_or(u64::MAX);
    let name = shown(words)?;
    on_store(words, Missing::Refuse, async |driver| {
        for round in 1..=times {
            let overview = driver.overview().await?;
            let queues = look(driver).await?;
            let answer = match words.json() {
                true => Answer::json(&queues.iter().map(value).collect())?,
                false => {
                    let table = Answer::table(&TITLES, queues.iter().map(row).collect())?;
                    let workers = overview.workers;
                    Answer { text: format!("{name}, workers {workers}\n{}", table.text), ..table }
                }
            };
            if !answer::print(&answer.text, CLEAR).map_err(|it| Failed::new("print", &it))? {
                break;
            }
            if round < times {
                tokio::time::sleep(every).await;
            }
        }
        Answer::say("")
    })
}

async fn look(driver: &WorkDriver) -> Result<Vec<(String, Queue)>, StoreError> {
    let mut queues = BTreeMap::<String, Queue>::new();
    for count in driver.counts().await? {
        let queue = queues.entry(count.queue).or_default();
        queue.counts.insert(count.state, (count.jobs, count.capped));
    }
    for record in driver.queues().await? {
        let queue = queues.entry(record.queue).or_default();
        (queue.limit, queue.rate) = (record.max_running, record.rate);
        queue.paused = record.paused.map(|pause| (pause.by, pause.at_ms));
    }
    for age in driver.overview().await?.queues {
        queues.entry(age.queue).or_default().oldest_ms = age.oldest_ready_ms;
    }
    Ok(queues.into_iter().collect())
}

impl Queue {
    /// Jobs in these states, and whether there may be more.
    fn count(&self, states: &[State]) -> (u64, bool) {
        let counts = states.iter().filter_map(|state| self.counts.get(state));
        counts.fold((0, false), |sum, it| (sum.0 + it.0, sum.1 | it.1))
    }
}

const UNHAPPY: [State; 4] = [State::Failed, State::Dead, State::Abandoned, State::Unreadable];

fn row((name, queue): &(String, Queue)) -> Vec<String> {
    let count = |states: &[State]| {
        let (jobs, is_capped) = queue.count(states);
        format!("{jobs}{}", if is_capped { "+" } else { "" })
    };
    let paused = queue.paused.as_ref().map(|(by, _)| format!("paused by {by}"));
    vec![
        name.clone(),
        paused.unwrap_or_else(|| queue.rate.map_or_else(|| "on".to_owned(), |it| it.to_string())),
        count(&[State::Ready]),
        count(&[State::Running]),
        queue.limit.map_or_else(|| "-".to_owned(), |max| max.to_string()),
        count(&[State::Scheduled]),
        count(&UNHAPPY),
        queue.oldest_ms.map_or_else(|| "-".to_owned(), measure::age),
    ]
}

fn value((name, queue): &(String, Queue)) -> Value {
    json!({
        "queue": name, "max_running": queue.limit,
        "paused_by": queue.paused.as_ref().map(|(by, _)| by),
        "paused_at_ms": queue.paused.as_ref().map(|(_, at)| at),
        "ready": queue.count(&[State::Ready]).0, "running": queue.count(&[State::Running]).0,
        "scheduled": queue.count(&[State::Scheduled]).0, "unhappy": queue.count(&UNHAPPY).0,
        "oldest_ready_ms": queue.oldest_ms,
        "rate": queue.rate.map(|it| json!({ "max": it.max, "per_ms": it.per_ms, "burst": it.burst })),
    })
}

pub(crate) fn workers(words: &Words) -> Result<Answer, Failed> {
    on_store(words, Missing::Refuse, async |driver| {
        let workers = driver.registry().workers().await?;
        if words.json() {
            let workers = workers.iter().map(|it| {
                json!({
                    "id": it.id.to_string(), "host": it.identity.host, "pid": it.identity.pid,
                    "lease_ms": it.lease_ms, "since_ms": it.since_ms, "version": it.about.version,
                    "hostname": it.about.hostname, "kinds": it.about.kinds,
                    "queues": it.about.queues.iter().map(|queue| {
                        json!({ "queue": queue.queue, "places": queue.places })
                    }).collect::<Vec<_>>(),
                })
            });
            return Answer::json(&workers.collect());
        }
        let rows = workers.iter().map(|it| {
            let lease = match it.lease_ms {
                left if left > 0 => format!("{} left", measure::age(left)),
                over => format!("ran out {} ago", measure::age(over.saturating_neg())),
            };
            let machine = match it.about.hostname.as_str() {
                "" => it.identity.host.clone(),
                name => name.to_owned(),
            };
            let places = it.about.queues.iter().map(|at| format!("{} {}", at.queue, at.places));
            let places = places.collect::<Vec<_>>().join(", ");
            let pid = it.identity.pid.to_string();
            vec![it.id.to_string(), machine, pid, it.about.version.clone(), places, lease]
        });
        Answer::table(&["worker", "machine", "pid", "version", "places", "lease"], rows.collect())
    })
}

pub(crate) fn cron(words: &Words) -> Result<Answer, Failed> {
    only_list(words)?;
    on_store(words, Missing::Refuse, async |driver| {
        let jobs = driver.periodic().await?;
        if words.json() {
            let jobs = jobs.iter().map(|it| {
                json!({
                    "name": it.name, "cron": it.cron, "at_ms": it.at_ms, "error": it.error,
                    "queue": it.queue, "kind": it.kind, "payload_bytes": it.payload_bytes,
                    "catch_up": it.catch_up, "paused_by": it.paused.as_ref().map(|pause| &pause.by),
                })
            });
            return Answer::json(&jobs.collect());
        }
        let now = driver.registry().now_ms().await?;
        let rows = jobs.into_iter().map(|it| {
            let next = match it.at_ms.saturating_sub(now) {
                _ if it.paused.is_some() => {
                    it.paused.map_or_else(String::new, |pause| pause.to_string())
                }
                left if left > 0 => format!("in {}", measure::age(left)),
                _ => "due".to_owned(),
            };
            vec![it.name, it.cron, next, it.queue, it.kind, it.error.unwrap_or_default()]
        });
        Answer::table(&["name", "cron", "next", "queue", "kind", "error"], rows.collect())
    })
}

/// Fires, pauses, resumes or drops a periodic job; 3 when there is nothing to do. One that is disabled is
/// enqueued as well when it is fired: it was asked for by name.
pub(crate) fn change_cron(verb: &str, words: &Words) -> Result<Answer, Failed> {
    let [name] = words.texts(&format!("cron {verb}"))?;
    let by = words.option("by")?.unwrap_or("lastout");
    answer::tell(format_args!("lastout: store {}", shown(words)?));
    on_store(words, Missing::Refuse, async |driver| {
        changed(
            words,
            match verb {
                "fire" => driver.run_periodic(name).await?.is_some(),
                "pause" => driver.pause_periodic(name, by).await?,
                "resume" => driver.resume_periodic(name).await?,
                _ => driver.drop_periodic(name).await?,
            },
        )
    })
}
