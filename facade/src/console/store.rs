//! The queues and workers of a store, for the overview.

use super::form::Encoded;
use super::html::{Html, Table, cut, span};
use super::overview::shown;
use super::plots::{Plots, Point};
use super::source::Source;
use crate::supervisor::error::chain;
use lastout_work_runner::{
    JobRecord, Overview, QueueCount, QueueRecord, Rate, Registry, State, StoreError, WorkDriver,
    WorkerRecord,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// States that ask for somebody to look.
const UNHAPPY: [State; 4] = [State::Failed, State::Dead, State::Abandoned, State::Unreadable];

/// The longest name that a table shows, in bytes.
pub(super) const NAME: usize = 200;

/// Says what people may see of the payload of a job.
pub(super) type Payloads = dyn Fn(&JobRecord) -> String + Send + Sync;

pub(super) struct Store {
    pub(super) driver: WorkDriver,
    pub(super) payloads: Option<Arc<Payloads>>,
    seen: Source<View>,
    plots: Plots,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("driver", &self.driver).finish_non_exhaustive()
    }
}

/// Everything that the overview shows of a store.
#[derive(Debug)]
struct View {
    counts: Vec<QueueCount>,
    overview: Overview,
    queues: Vec<QueueRecord>,
    workers: Vec<WorkerRecord>,
}

/// One queue in all its aspects.
#[derive(Debug, Default)]
struct Queue {
    counts: BTreeMap<State, (u64, bool)>,
    limit: Option<u32>,
    paused_by: Option<String>,
    rate: Option<Rate>,
    oldest: Option<i64>,
    longest: Option<i64>,
}

impl Store {
    pub(super) fn new(registry: Arc<dyn Registry>, payloads: Option<Arc<Payloads>>) -> Self {
        let (seen, plots) = (Source::default(), Plots::default());
        Self { driver: WorkDriver::producer(registry), payloads, seen, plots }
    }

    pub(super) async fn look(&self) {
        let view = async {
            let registry = self.driver.registry();
            Ok(View {
                counts: registry.counts().await?,
                overview: registry.overview().await?,
                queues: registry.queues().await?,
                workers: registry.workers().await?,
            })
        };
        self.seen.look(async { view.await.map_err(|error: StoreError| chain(&error)) }).await;
        let seen = self.seen.seen();
        if let (Some((view, at)), None) = (seen.value, seen.problem) {
            self.plots.add(view.point(at));
        }
    }

    pub(super) fn sections(&self, base: &str, may_order: bool) -> [(&'static str, Html); 3] {
        let seen = self.seen.seen();
        let (mut queues, mut workers) = (Html::new(), Html::new());
        queues.raw("<h2>Queues</h2>");
        shown(&mut queues, &seen, |html, view| {
            html.add(&view.summary()).add(&view.queues(base, may_order));
        });
        workers.raw("<h2>Workers</h2>");
        shown(&mut workers, &seen, |html, view| {
            html.add(&view.workers(base));
        });
        [("queues", queues), ("plots", self.plots.draw()), ("workers", workers)]
    }
}

impl View {
    fn point(&self, at: Instant) -> Point {
        let jobs = |states: &[State]| {
            let counts = self.counts.iter().filter(|count| states.contains(&count.state));
            counts.fold(0_u64, |jobs, count| jobs.saturating_add(count.jobs))
        };
        Point {
            at,
            ready: jobs(&[State::Ready]),
            running: jobs(&[State::Running]),
            unhappy: jobs(&UNHAPPY),
            oldest_ms: self.oldest(false).and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0),
        }
    }

    /// How long the oldest ready job has waited, of the queues that are paused or of the others: nobody is
    /// late with a job of a paused queue.
    fn oldest(&self, is_paused: bool) -> Option<i64> {
        let paused = |queue: &str| {
            self.queues.iter().any(|record| record.queue == queue && record.paused.is_some())
        };
        let queues = self.overview.queues.iter().filter(|seen| paused(&seen.queue) == is_paused);
        queues.filter_map(|seen| seen.oldest_ready_ms).max()
    }

    fn summary(&self) -> Html {
        let mut html = Html::new();
        html.raw("<p>");
        let (oldest, paused) = (self.oldest(false), self.oldest(true));
        match (oldest, paused) {
            (Some(oldest), _) => html.raw("Oldest ready job: ").text(span(oldest)),
            (None, Some(_)) => html.raw("No job is ready but in paused queues"),
            (None, None) => html.raw("No job is ready"),
        };
        if let Some(paused) = paused {
            html.raw(" · oldest in a paused queue: ").text(span(paused));
        }
        html.raw(" · workers alive: ").text(self.overview.workers);
        if let Some(due) = self.overview.next_due_ms {
            html.raw(" · next scheduled job in ").text(span(due));
        }
        html.raw("</p>");
        html
    }

    fn queues(&self, base: &str, may_order: bool) -> Html {
        let mut table = Table::new(&[
            "queue",
            "state",
            "ready",
            "running",
            "scheduled",
            "held",
            "unhappy",
            "succeeded",
            "oldest ready",
            "longest running",
            "order",
        ]);
        for (name, queue) in self.by_queue() {
            table.row(queue.row(name, base, may_order));
        }
        table.or("The store has no jobs.")
    }

    fn by_queue(&self) -> BTreeMap<&str, Queue> {
        let mut queues = BTreeMap::<&str, Queue>::new();
        for count in &self.counts {
            let queue = queues.entry(&count.queue).or_default();
            queue.counts.insert(count.state, (count.jobs, count.capped));
        }
        for record in &self.queues {
            let queue = queues.entry(&record.queue).or_default();
            (queue.limit, queue.rate) = (record.max_running, record.rate);
            queue.paused_by = record.paused.as_ref().map(|pause| pause.by.clone());
        }
        for age in &self.overview.queues {
            let queue = queues.entry(&age.queue).or_default();
            (queue.oldest, queue.longest) = (age.oldest_ready_ms, age.longest_running_ms);
        }
        queues
    }

    fn workers(&self, base: &str) -> Html {
        let mut table = Table::new(&["worker", "machine", "process", "version", "places", "lease"]);
        for worker in &self.workers {
            let lease = match worker.lease_ms {
                left if left > 0 => Html::mark("good", format_args!("{} left", span(left))),
                over => {
                    let text = format!("ran out {} ago", span(over.saturating_neg()));
                    Html::mark("bad", text)
                }
            };
            let (who, about) = (&worker.identity, &worker.about);
            let machine = if about.hostname.is_empty() { &who.host } else { &about.hostname };
            let places = about.queues.iter().map(|at| format!("{} {}", at.queue, at.places));
            let places = places.collect::<Vec<_>>().join(", ");
            table.row([
                Html::link(format_args!("{base}/jobs?worker={}", worker.id), worker.id),
                Html::of(cut(machine, NAME)),
                Html::of(who.pid),
                Html::of(cut(&about.version, NAME)),
                Html::of(cut(&places, NAME)),
                lease,
            ]);
        }
        table.or("No worker is known.")
    }
}

impl Queue {
    fn row(&self, name: &str, base: &str, may_order: bool) -> [Html; 11] {
        let count = |states: &[State]| {
            let counts = states.iter().filter_map(|state| self.counts.get(state));
            let (mut jobs, mut capped) = (0_u64, false);
            for (more, is_capped) in counts {
                (jobs, capped) = (jobs.saturating_add(*more), capped | is_capped);
            }
            format!("{jobs}{}", if capped { "+" } else { "" })
        };
        let unhappy = count(&UNHAPPY);
        let running = match self.limit {
            Some(limit) => format!("{} of {limit}", count(&[State::Running])),
            None => count(&[State::Running]),
        };
        let state = match &self.paused_by {
            Some(by) => Html::mark("bad", format_args!("paused by {}", cut(by, NAME))),
            None => match self.rate {
                Some(rate) => Html::mark("good", rate),
                None => Html::mark("good", "on"),
            },
        };
        let order = if self.paused_by.is_some() { "resume" } else { "pause" };
        let order = match may_order {
            true => Html::link(
                format_args!("{base}/confirm?order={order}&queue={}", Encoded(name)),
                order,
            ),
            false => Html::of("none"),
        };
        let age = |ms: Option<i64>| Html::of(ms.map_or_else(|| "none".to_owned(), span));
        [
            Html::link(format_args!("{base}/jobs?queue={}", Encoded(name)), cut(name, NAME)),
            state,
            Html::of(count(&[State::Ready])),
            Html::of(running),
            Html::of(count(&[State::Scheduled])),
            Html::of(count(&[State::Held])),
            Html::mark(if unhappy == "0" { "quiet" } else { "bad" }, unhappy),
            Html::of(count(&[State::Succeeded])),
            age(self.oldest),
            age(self.longest),
            order,
        ]
    }
}
