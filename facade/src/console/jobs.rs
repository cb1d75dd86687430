//! Pages of jobs: a list by filter, one job, and the question before an order.

use super::Shared;
use super::body::Body;
use super::form::{Encoded, Form};
use super::html::{Html, Table, cut, instant, span};
use super::orders::Verb;
use super::source::bounded;
use super::store::{NAME, Store};
use crate::supervisor::contain::call;
use crate::supervisor::error::chain;
use hyper::{Response, StatusCode};
use lastout_work_runner::{
    AttemptOutcome, JobId, JobRecord, Page, Query, State, StoreError, WorkerId,
};
use std::fmt::Write;

/// Jobs of one page.
const PAGE: usize = 50;
/// The longest error of a row, and the longest text of a job's own page, in bytes.
const SHORT: usize = 160;
const LONG: usize = 16 * 1024;

/// Which jobs a page shows, as its address says it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    queue: Option<String>,
    kind: Option<String>,
    error: Option<String>,
    pub(super) state: Option<State>,
    /// The last so many minutes.
    minutes: Option<i64>,
    worker: Option<WorkerId>,
    after: Option<i64>,
}

impl Filter {
    /// `None` when a value is none of its field.
    pub(super) fn of(form: &Form) -> Option<Self> {
        let text = |name| form.value(name).map(str::to_owned);
        let number = |name| form.value(name).map(str::parse).transpose().ok();
        let state = form.value("state").map(|name| State::from_name(name).ok_or(()));
        Some(Self {
            queue: text("queue"),
            kind: text("kind"),
            error: text("error"),
            state: state.transpose().ok()?,
            minutes: number("minutes")?,
            worker: worker(form)?,
            after: number("after")?,
        })
    }

    pub(super) fn query(&self, now_ms: i64) -> Query {
        let mut query = Query::all().newest_first().limit(PAGE);
        (query.queue, query.kind) = (self.queue.clone(), self.kind.clone());
        (query.error, query.state) = (self.error.clone(), self.state);
        query.worker = self.worker;
        query.after = self.after.map(JobId);
        let since = |minutes: i64| now_ms.saturating_sub(minutes.saturating_mul(60_000));
        query.since_ms = self.minutes.map(since);
        query
    }

    /// The same filter in an address, without its place in the list.
    pub(super) fn address(&self) -> String {
        let mut text = String::new();
        let texts = [("queue", &self.queue), ("kind", &self.kind), ("error", &self.error)];
        for (name, value) in texts {
            if let Some(value) = value {
                let _ = write!(text, "&{name}={}", Encoded(value));
            }
        }
        if let Some(state) = self.state {
            let _ = write!(text, "&state={state}");
        }
        if let Some(minutes) = self.minutes {
            let _ = write!(text, "&minutes={minutes}");
        }
        if let Some(worker) = self.worker {
            let _ = write!(text, "&worker={worker}");
        }
        text
    }

    fn form(&self, base: &str) -> Html {
        let mut html = Html::new();
        html.raw("<form class=\"filter\" method=\"get\" action=\"").text(base).raw("/jobs\">");
        html.raw("<label>State <select name=\"state\"><option value=\"\">all</option>");
        for state in State::ALL {
            html.raw("<option");
            html.raw(if self.state == Some(state) { " selected>" } else { ">" });
            html.text(state).raw("</option>");
        }
        html.raw("</select></label>");
        let fields = [
            ("Queue", "queue", self.queue.clone()),
            ("Kind", "kind", self.kind.clone()),
            ("Text in the error", "error", self.error.clone()),
            ("Last minutes", "minutes", self.minutes.map(|minutes| minutes.to_string())),
            ("Worker", "worker", self.worker.map(|worker| worker.to_string())),
        ];
        for (label, name, value) in fields {
            html.raw("<label>").raw(label).raw(" <input name=\"").raw(name).raw("\" value=\"");
            html.text(value.unwrap_or_default()).raw("\"></label>");
        }
        html.raw("<button>Show</button></form>");
        html
    }
}

/// The worker as it is shown. `None` when it is none.
fn worker(form: &Form) -> Option<Option<WorkerId>> {
    let Some(text) = form.value("worker") else { return Some(None) };
    text.parse().ok().map(Some)
}

impl Shared {
    pub(super) async fn jobs(&self, form: &Form) -> Response<Body> {
        let Some(store) = &self.store else { return self.not_found() };
        let Some(filter) = Filter::of(form) else {
            return self.says(StatusCode::BAD_REQUEST, "No filter is written like that.");
        };
        match bounded(store.page(&filter)).await {
            Ok(page) => {
                let html = self.list(&filter, &page);
                self.page(StatusCode::OK, "Jobs", &html)
            }
            Err(why) => self.says(StatusCode::SERVICE_UNAVAILABLE, &cut(&why, LONG)),
        }
    }

    fn list(&self, filter: &Filter, page: &Page) -> Html {
        let mut html = Html::new();
        html.raw("<h2>Jobs</h2>").add(&filter.form(&self.base));
        let mut table =
            Table::new(&["job", "state", "kind", "queue", "try", "enqueued", "took", "error"]);
        for job in &page.jobs {
            table.row([
                Html::link(format_args!("{}/jobs/{}", self.base, job.id), job.id),
                marked(job.state),
                Html::of(cut(&job.kind, NAME)),
                Html::of(cut(&job.queue, NAME)),
                Html::of(tries(job)),
                Html::of(instant(job.created_at)),
                Html::of(took(job)),
                Html::of(cut(job.error.as_deref().unwrap_or_default(), SHORT)),
            ]);
        }
        html.add(&table.or("None of the jobs that were looked at matches."));
        html.raw("<p class=\"orders\">");
        if let Some(next) = page.next {
            let address = format!("{}/jobs?after={next}{}", self.base, filter.address());
            html.add(&Html::link(address, "Older jobs")).raw(" ");
        }
        if self.guard.may_order && filter.state.is_some() {
            for verb in filter.state.map(Verb::of_many).unwrap_or_default() {
                let address =
                    format!("{}/confirm?order={verb}&many=1{}", self.base, filter.address());
                html.add(&Html::link(address, format_args!("{verb} all that match"))).raw(" ");
            }
        }
        html.raw("</p>");
        html
    }

    pub(super) async fn job(&self, id: JobId, form: &Form) -> Response<Body> {
        let Some(store) = &self.store else { return self.not_found() };
        match bounded(store.fetch(id)).await {
            Ok(Some(job)) => {
                let mut html = Html::new();
                if let Some(note) = form.value("note").and_then(note) {
                    html.raw("<p role=\"status\">").raw(note).raw("</p>");
                }
                html.add(&self.details(store, &job));
                self.page(StatusCode::OK, &format!("Job {id}"), &html)
            }
            Ok(None) => self.says(StatusCode::NOT_FOUND, "There is no such job."),
            Err(why) => self.says(StatusCode::SERVICE_UNAVAILABLE, &cut(&why, LONG)),
        }
    }

    fn details(&self, store: &Store, job: &JobRecord) -> Html {
        let mut html = Html::new();
        html.raw("<h2>Job ").text(job.id).raw(" · ").add(&marked(job.state)).raw("</h2>");
        if self.guard.may_order {
            html.raw("<p class=\"orders\">");
            for verb in Verb::of(job.state) {
                let address = format!("{}/confirm?order={verb}&job={}", self.base, job.id);
                html.add(&Html::link(address, verb)).raw(" ");
            }
            html.raw("</p>");
        }
        let size = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map_or_else(|| "none".to_owned(), |it| format!("{} bytes", it.len()))
        };
        let facts = [
            ("kind", job.kind.to_string()),
            ("queue", job.queue.to_string()),
            ("try", tries(job)),
            ("crashes", format!("{} of {}", job.crashes, job.max_crashes)),
            ("priority", job.priority.to_string()),
            ("enqueued", instant(job.created_at)),
            ("due", instant(job.run_at)),
            ("claimed", instant(job.claimed_at)),
            ("ended", instant(job.ended_at)),
            ("took", took(job)),
            ("last worker", job.owner.to_string()),
            ("asked to end", if job.cancel { "yes" } else { "no" }.to_owned()),
            ("unique key", job.unique_key.clone().unwrap_or_else(|| "none".to_owned())),
            ("payload", format!("{} bytes", job.payload.len())),
            ("progress", size(&job.progress)),
            ("result", size(&job.result)),
        ];
        html.raw("<dl>");
        for (name, value) in facts {
            html.raw("<div><dt>")
                .raw(name)
                .raw("</dt><dd>")
                .text(cut(&value, LONG))
                .raw("</dd></div>");
        }
        html.raw("</dl>");
        html.add(&attempts(job));
        if let Some(error) = &job.error {
            html.raw("<h2>Error</h2><pre>").text(cut(error, LONG)).raw("</pre>");
        }
        if let Some(shown) = store.payload(job) {
            let shown =
                shown.unwrap_or_else(|panic| format!("the payload cannot be shown: {panic}"));
            html.raw("<h2>Payload</h2><pre>").text(cut(&shown, LONG)).raw("</pre>");
        }
        html
    }

    /// Asks before an order, so that it takes two steps, with and without a script.
    pub(super) fn confirm(&self, form: &Form) -> Response<Body> {
        let verb = form.value("order").and_then(Verb::named);
        let (Some(verb), true) = (verb, self.guard.may_order && self.store.is_some()) else {
            return self.not_found();
        };
        let mut html = Html::new();
        html.raw("<h2>").text(verb).raw("</h2><form method=\"post\" action=\"").text(&self.base);
        html.raw("/order\"><input type=\"hidden\" name=\"order\" value=\"").text(verb).raw("\">");
        let hidden = |html: &mut Html, name: &'static str, value: &str| {
            html.raw("<input type=\"hidden\" name=\"").raw(name).raw("\" value=\"");
            html.text(value).raw("\">");
        };
        match (verb.is_of_queue(), form.value("queue"), form.value("job"), form.value("many")) {
            (true, Some(queue), _, None) => {
                hidden(&mut html, "queue", queue);
                html.raw("<p>").text(verb).raw(" the queue ").text(cut(queue, NAME)).raw("?</p>");
            }
            (false, _, Some(job), None) => {
                hidden(&mut html, "job", job);
                html.raw("<p>").text(verb).raw(" the job ").text(cut(job, NAME)).raw("?</p>");
            }
            (false, _, None, Some(_)) => {
                let Some(filter) = Filter::of(form).filter(|filter| filter.state.is_some()) else {
                    return self.says(StatusCode::BAD_REQUEST, "No filter is written like that.");
                };
                hidden(&mut html, "filter", &filter.address());
                html.raw("<p>").text(verb).raw(" at most ").text(super::orders::MOST);
                html.raw(" jobs that match <code>").text(cut(&filter.address(), LONG));
                html.raw("</code>?</p><p><label>Write the word <b>").text(verb);
                html.raw("</b> <input name=\"typed\" autocomplete=\"off\" required></label></p>");
            }
            _ => return self.not_found(),
        }
        html.raw("<button autofocus>Yes, ").text(verb).raw("</button></form>");
        self.page(StatusCode::OK, &format!("{verb}?"), &html)
    }
}

impl Store {
    async fn page(&self, filter: &Filter) -> Result<Page, String> {
        let look = async {
            let registry = self.driver.registry();
            let now = if filter.minutes.is_some() { registry.now_ms().await? } else { 0 };
            registry.page(filter.query(now)).await
        };
        look.await.map_err(|error: StoreError| chain(&error))
    }

    async fn fetch(&self, id: JobId) -> Result<Option<JobRecord>, String> {
        self.driver.get(id).await.map_err(|error| chain(&error))
    }

    /// What the program lets people see of a payload.
    fn payload(&self, job: &JobRecord) -> Option<Result<String, String>> {
        self.payloads.as_ref().map(|show| call(|| show(job)))
    }
}

/// Every run that the store still knows, the last one first.
fn attempts(job: &JobRecord) -> Html {
    let mut html = Html::new();
    html.raw("<h2>Attempts</h2>");
    let mut table = Table::new(&["began", "took", "worker", "end", "error"]);
    for attempt in job.attempts().iter().rev() {
        let took = attempt.ended_at.map(|ended| ended.saturating_sub(attempt.started_at).max(0));
        let class = match attempt.outcome {
            AttemptOutcome::Running | AttemptOutcome::Succeeded => "good",
            AttemptOutcome::Failed | AttemptOutcome::Crashed | AttemptOutcome::Abandoned => "bad",
            _ => "quiet",
        };
        table.row([
            Html::of(instant(attempt.started_at)),
            Html::of(took.map_or_else(|| "still running".to_owned(), span)),
            Html::of(attempt.worker),
            Html::mark(class, attempt.outcome),
            Html::of(cut(attempt.error.as_deref().unwrap_or_default(), SHORT)),
        ]);
    }
    html.add(&table.or("It has not run yet."));
    html
}

/// The sentence after an order, by a word in the address: no text of others is shown from there.
fn note(word: &str) -> Option<&'static str> {
    Some(match word {
        "done" => "The order was carried out.",
        "refused" => "The order was refused: no such order leads out of the state of the job.",
        "taken" => "The order was refused: another job holds the unique key.",
        _ => return None,
    })
}

fn marked(state: State) -> Html {
    let class = match state {
        State::Succeeded | State::Running => "good",
        State::Failed | State::Dead | State::Abandoned | State::Unreadable => "bad",
        _ => "quiet",
    };
    Html::mark(class, state)
}

fn tries(job: &JobRecord) -> String {
    format!("{} of {}", job.attempt, job.max_attempts)
}

/// From the last claim to the end.
fn took(job: &JobRecord) -> String {
    match job.ended_at > 0 && job.claimed_at > 0 && job.ended_at >= job.claimed_at {
        true => span(job.ended_at.saturating_sub(job.claimed_at)),
        false => "none".to_owned(),
    }
}
