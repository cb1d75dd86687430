//! Orders to jobs: to those that are named, or to all that match a filter.

use crate::answer::{self, Answer, Failed, NO_JOB, REFUSED};
use crate::store::{Missing, on_store, shown};
use crate::words::Words;
use lastout::work_runner::{
    JobId, Order, Ordered, OrderedMany, Query, State, StoreError, WorkDriver,
};
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};

/// The most jobs of an order over a filter, unless it is told.
const MOST: u64 = 1_000;
/// Jobs of one page while they are counted.
const PAGE: usize = 1_000;

/// The jobs that the options describe; `None` when there is no such option.
pub(crate) struct Filter {
    query: Query,
    since: Option<i64>,
    pub(crate) is_any: bool,
}

impl Filter {
    pub(crate) fn of(words: &Words) -> Result<Self, Failed> {
        let mut query = Query::all().newest_first();
        let text = |name| words.option(name).map(|text| text.map(str::to_owned));
        (query.queue, query.kind, query.error) = (text("queue")?, text("kind")?, text("error")?);
        query.state = words.parsed("state", State::from_name)?;
        query.worker = words.parsed("worker", |text| text.parse().ok())?;
        let since = words.time("since")?;
        let since = since.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let is_any = query.queue.is_some()
            || query.kind.is_some()
            || query.error.is_some()
            || query.state.is_some()
            || query.worker.is_some()
            || since.is_some();
        Ok(Self { query, since, is_any })
    }

    /// The same as a query, by the clock of the store.
    pub(crate) async fn query(&self, driver: &WorkDriver) -> Result<Query, StoreError> {
        let mut query = self.query.clone();
        if let Some(since) = self.since {
            query.since_ms = Some(driver.registry().now_ms().await?.saturating_sub(since));
        }
        Ok(query)
    }
}

/// Gives an order to the jobs that the words name or describe.
pub(crate) fn main(verb: &str, words: &Words) -> Result<Answer, Failed> {
    let order = match (verb, words.option("reason")?) {
        ("cancel", _) => Order::Cancel,
        ("retry", _) => Order::Requeue,
        ("run-now", _) => Order::RunNow,
        ("delete", _) => Order::Delete,
        (_, Some(reason)) => Order::Abandon { reason: reason.to_owned() },
        _ => return Err(Failed::usage(format!("jobs {verb}: why? Say so by --reason"))),
    };
    let ids = words.list()?.iter().map(|id| job_id(id)).collect::<Result<Vec<_>, _>>()?;
    let filter = Filter::of(words)?;
    match (ids.is_empty(), filter.is_any, words.has("all")) {
        (false, false, false) => these(words, order, &ids),
        (true, true, false) | (true, false, true) => matching(verb, words, order, &filter),
        (true, false, false) => {
            Err(Failed::usage("which jobs? Name their numbers, a filter such as --kind, or --all"))
        }
        _ => Err(Failed::usage("numbers, a filter and --all exclude each other")),
    }
}

pub(crate) fn job_id(text: &str) -> Result<JobId, Failed> {
    text.parse()
        .map(JobId)
        .map_err(|_| Failed::usage(format!("{text:?} is not the number of a job")))
}

/// Gives an order to each of these jobs; what became of it for each. The worst is the exit status.
fn these(words: &Words, order: Order, ids: &[JobId]) -> Result<Answer, Failed> {
    if words.has("dry-run") {
        return Err(Failed::usage("--dry-run belongs to a filter"));
    }
    on_store(words, Missing::Refuse, async |driver: &WorkDriver| {
        let ordered = driver.registry().order(order, ids.to_vec()).await?;
        let code = ordered.iter().map(|it| status(*it)).max().unwrap_or(0);
        let rows = ids.iter().zip(&ordered).map(|(id, ordered)| (id, said(*ordered)));
        let text = match words.json() {
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

/// Counts the jobs first, and asks on a terminal.
fn matching(verb: &str, words: &Words, order: Order, filter: &Filter) -> Result<Answer, Failed> {
    if matches!(order, Order::Requeue) && words.option("state")?.is_none() {
        // Without it, what has succeeded would be run once more.
        return Err(Failed::usage("jobs retry: of which --state?"));
    }
    let most = words.number("limit")?.unwrap_or(MOST);
    answer::tell(format_args!("lastout: store {}", shown(words)?));
    on_store(words, Missing::Refuse, async |driver: &WorkDriver| {
        let query = filter.query(driver).await?;
        let (count, has_more) = count(driver, query.clone(), most).await?;
        let more = if has_more { "at least " } else { "" };
        if count == 0 || words.has("dry-run") {
            let text = match words.json() {
                true => json!({ "matched": count, "done": 0, "refused": 0 }).to_string(),
                false => format!("{more}{count} jobs match"),
            };
            return Ok(Answer { text, code: if count == 0 { REFUSED } else { 0 } });
        }
        if !words.has("yes") {
            if !io::stdin().is_terminal() {
                let why = format!("{more}{count} jobs match: say --yes to {verb} them");
                return Err(Failed::usage(why));
            }
            if !is_sure(&format!("{more}{count} jobs match. {verb} {count} of them? [y/N] ")) {
                return Ok(Answer { text: "nothing was done".to_owned(), code: REFUSED });
            }
        }
        let done = driver.order_where(order, query, most).await;
        let done = done.map_err(|error| Failed::new("the order", &error))?;
        Ok(summary(words, done))
    })
}

fn summary(words: &Words, ordered: OrderedMany) -> Answer {
    let OrderedMany { matched, done, refused, .. } = ordered;
    let text = match words.json() {
        true => json!({ "matched": matched, "done": done, "refused": refused }).to_string(),
        false => format!("done {done}, refused {refused}"),
    };
    Answer { text, code: if refused > 0 || done == 0 { REFUSED } else { 0 } }
}

/// How many jobs match, up to `most`, and whether there may be more.
async fn count(
    driver: &WorkDriver,
    mut query: Query,
    most: u64,
) -> Result<(u64, bool), StoreError> {
    let mut count = 0_u64;
    while count < most {
        let left = usize::try_from(most - count).unwrap_or(usize::MAX).min(PAGE);
        let page = driver.registry().page(query.clone().limit(left)).await?;
        count += page.jobs.len() as u64;
        match page.next {
            Some(next) => query = query.after(next),
            None => return Ok((count, false)),
        }
    }
    Ok((count, true))
}

fn is_sure(question: &str) -> bool {
    let mut answer = String::new();
    let asked = write!(io::stderr(), "{question}").and_then(|()| io::stderr().flush());
    let asked = asked.and_then(|()| io::stdin().read_line(&mut answer));
    asked.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
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
