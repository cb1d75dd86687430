//! What a person orders: each is one call of the store.

use super::Shared;
use super::body::Body;
use super::form::Form;
use super::html::{Html, cut};
use super::jobs::Filter;
use super::page::see_other;
use crate::supervisor::contain::contained;
use crate::supervisor::error::chain;
use hyper::{Response, StatusCode};
use lastout_work_runner::{JobId, Order, Ordered, State, StoreError, WorkDriver};
use std::fmt;
use std::time::Duration;

/// The most jobs of one order over a filter.
pub(super) const MOST: u64 = 1_000;
/// How long an order may take before its end is unknown.
const PATIENCE: Duration = Duration::from_secs(10);

/// An order, by the word that people know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Pause,
    Resume,
    Cancel,
    Retry,
    RunNow,
    Delete,
}

impl Verb {
    const ALL: [Self; 6] =
        [Self::Pause, Self::Resume, Self::Cancel, Self::Retry, Self::RunNow, Self::Delete];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::RunNow => "run-now",
            Self::Delete => "delete",
        }
    }

    pub(super) fn is_of_queue(self) -> bool {
        matches!(self, Self::Pause | Self::Resume)
    }

    /// The orders that lead out of a state.
    pub(super) fn of(state: State) -> &'static [Self] {
        match state {
            State::Scheduled => &[Self::RunNow, Self::Cancel],
            State::Held | State::Ready | State::Running => &[Self::Cancel],
            State::Unreadable => &[Self::Delete],
            _ => &[Self::Retry, Self::Delete],
        }
    }

    /// As [`of`](Self::of), for all jobs in that state.
    pub(super) fn of_many(state: State) -> &'static [Self] {
        Self::of(state)
    }

    fn of_jobs(self) -> Option<Order> {
        Some(match self {
            Self::Cancel => Order::Cancel,
            Self::Retry => Order::Requeue,
            Self::RunNow => Order::RunNow,
            Self::Delete => Order::Delete,
            Self::Pause | Self::Resume => return None,
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Shared {
    /// The guard has said that this client may order.
    pub(super) async fn order(&self, form: &Form) -> Response<Body> {
        let Some(store) = &self.store else { return self.not_found() };
        let bad = || self.says(StatusCode::BAD_REQUEST, "No order is written like that.");
        let Some(verb) = form.value("order").and_then(Verb::named) else { return bad() };
        self.note(verb, form);
        let answer =
            match (verb.of_jobs(), form.value("queue"), form.value("job"), form.value("filter")) {
                (None, Some(queue), None, None) => self.of_queue(&store.driver, verb, queue).await,
                (Some(order), None, Some(job), None) => match job.parse() {
                    Ok(job) => self.of_job(&store.driver, order, JobId(job)).await,
                    Err(_) => return bad(),
                },
                (Some(order), None, None, Some(filter)) => {
                    let filter = Filter::of(&Form::parse(filter)).filter(|it| it.state.is_some());
                    let is_typed = form.value("typed") == Some(verb.name());
                    match filter {
                        Some(filter) if is_typed => {
                            self.of_many(&store.driver, order, &filter).await
                        }
                        Some(_) => {
                            let why = "The word that confirms it was not written.";
                            return self.says(StatusCode::BAD_REQUEST, why);
                        }
                        None => return bad(),
                    }
                }
                _ => return bad(),
            };
        self.look_again().await;
        answer.unwrap_or_else(|(status, why)| self.says(status, &cut(&why, 4_000)))
    }

    async fn of_queue(&self, driver: &WorkDriver, verb: Verb, queue: &str) -> Answer {
        // The store keeps who it was, up to a length.
        let by = cut(&format!("console {}", self.name), 100);
        match verb {
            Verb::Pause => within(driver.pause(queue, &by)).await?,
            _ => within(driver.resume(queue)).await?,
        };
        Ok(see_other(&format!("{}/", self.base)))
    }

    async fn of_job(&self, driver: &WorkDriver, order: Order, job: JobId) -> Answer {
        let ordered = within(async {
            match order {
                Order::Cancel => driver.cancel(job).await,
                Order::RunNow => driver.run_now(job).await,
                Order::Delete => driver.delete(job).await,
                _ => driver.requeue(job).await,
            }
        });
        let note = match ordered.await? {
            Ordered::Deleted => return Ok(see_other(&format!("{}/jobs", self.base))),
            Ordered::NotFound => {
                return Err((StatusCode::NOT_FOUND, "There is no such job.".into()));
            }
            Ordered::Now(_) => "done",
            Ordered::KeyTaken => "taken",
            _ => "refused",
        };
        Ok(see_other(&format!("{}/jobs/{job}?note={note}", self.base)))
    }

    async fn of_many(&self, driver: &WorkDriver, order: Order, filter: &Filter) -> Answer {
        let now = within(driver.registry().now_ms()).await?;
        let done = async { driver.order_where(order, filter.query(now), MOST).await };
        let done = within(async { Ok(done.await) }).await?;
        let done = done.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, chain(&error)))?;
        let mut html = Html::new();
        html.raw("<p role=\"status\">Carried out for ").text(done.done).raw(", refused for ");
        html.text(done.refused).raw(" of ").text(done.matched).raw(" jobs. ");
        html.raw(match done.next {
            Some(_) => "More jobs may match. ",
            None => "No more jobs matched. ",
        });
        let address = format!("{}/jobs?{}", self.base, filter.address());
        html.add(&Html::link(address, "Back to the list")).raw("</p>");
        Ok(self.page(StatusCode::OK, "Done", &html))
    }

    #[cfg(feature = "tracing")]
    fn note(&self, verb: Verb, form: &Form) {
        let value = |name| form.value(name).unwrap_or_default();
        let (queue, job, filter) = (value("queue"), value("job"), value("filter"));
        tracing::info!(target: "lastout", console = %self.name, order = %verb, queue, job, filter, "order");
    }

    #[cfg(not(feature = "tracing"))]
    #[expect(clippy::unused_self, reason = "the form with tracing needs it")]
    fn note(&self, _verb: Verb, _form: &Form) {}
}

type Answer = Result<Response<Body>, (StatusCode, String)>;

/// An order that the store has not answered in time may have been carried out, and so may one that panicked.
async fn within<T>(
    order: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, (StatusCode, String)> {
    let unknown = |why: &str| {
        let text = format!("{why}: whether the order was carried out is not known.");
        (StatusCode::GATEWAY_TIMEOUT, text)
    };
    match tokio::time::timeout(PATIENCE, contained(|| Box::pin(order))).await {
        Err(_) => Err(unknown("The store did not answer in time")),
        Ok(Err(panic)) => Err(unknown(&format!("The store panicked ({panic})"))),
        Ok(Ok(Err(error))) => Err((StatusCode::SERVICE_UNAVAILABLE, chain(&error))),
        Ok(Ok(Ok(value))) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_has_one_word() {
        for verb in Verb::ALL {
            assert_eq!(Verb::named(verb.name()), Some(verb));
        }
        assert_eq!(Verb::named("drop table"), None);
    }
}
