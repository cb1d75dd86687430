//! What the demo knows while it runs: told by the worker, by the faults, and by itself.

use crate::events::Event;
use crate::summary::{Moment, Sort};
use lastout::Report;
use lastout::proc_tree::ProcId;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Shared by the reader of the worker's output, the faults and the progress.
#[derive(Debug)]
pub(crate) struct Hub {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    worker: Option<ProcId>,
    workers: u32,
    moments: Vec<Moment>,
    /// When the worker was killed, until the next one runs.
    killed_ms: Option<u64>,
    now: Now,
    report: Option<Report>,
    guarantee: String,
}

/// What there is at the moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Now {
    pub(crate) browsers: usize,
    pub(crate) leases: u64,
    pub(crate) faults: usize,
    pub(crate) workers: u32,
    /// The last thing that happened.
    pub(crate) last: String,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), state: Mutex::default() }
    }

    /// Since the start of the run.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes a moment.
    pub(crate) fn note(&self, sort: Sort, text: impl Into<String>) {
        let moment = Moment { at_ms: self.now_ms(), sort, text: text.into() };
        let mut state = self.lock();
        state.now.last.clone_from(&moment.text);
        state.now.faults += usize::from(sort == Sort::Fault);
        state.moments.push(moment);
    }

    /// A worker process was started.
    pub(crate) fn started(&self, worker: ProcId, guarantee: &str) {
        let mut state = self.lock();
        state.worker = Some(worker);
        state.workers += 1;
        state.now.workers = state.workers;
        guarantee.clone_into(&mut state.guarantee);
    }

    /// The worker process was killed on purpose.
    pub(crate) fn killed(&self) {
        let now = self.now_ms();
        let mut state = self.lock();
        state.killed_ms = Some(now);
        (state.now.browsers, state.now.leases) = (0, 0);
    }

    /// The worker that runs, if one does.
    pub(crate) fn worker(&self) -> Option<ProcId> {
        self.lock().worker.filter(|worker| worker.is_running())
    }

    /// A line that the worker printed.
    pub(crate) fn line(&self, line: &str) {
        match Event::read(line) {
            Some(Event::Up { pid }) => self.up(pid),
            Some(Event::Browser { lost, text }) => {
                self.note(if lost { Sort::Recovery } else { Sort::Note }, text);
            }
            Some(Event::Now { browsers, leases }) => {
                let now = &mut self.lock().now;
                (now.browsers, now.leases) = (browsers, leases);
            }
            Some(Event::Ended { n, attempt, error: Some(error) }) => {
                self.note(Sort::Note, format!("job {n}, attempt {attempt}: {error}"));
            }
            Some(Event::Report { report }) => self.lock().report = Some(*report),
            Some(Event::Line { n, text }) => self.lock().now.last = format!("process {n}: {text}"),
            Some(Event::Begun { .. } | Event::Ended { .. }) => {}
            None => self.complaint(line),
        }
    }

    /// Something that the worker said and that is no event: a panic, above all.
    pub(crate) fn complaint(&self, line: &str) {
        self.note(Sort::Note, format!("the worker says: {line}"));
    }

    fn up(&self, pid: u32) {
        let now = self.now_ms();
        let killed = self.lock().killed_ms.take();
        match killed {
            Some(killed) => {
                let took = now.saturating_sub(killed);
                self.note(Sort::Recovery, format!("worker {pid} took over after {took} ms"));
            }
            None => self.note(Sort::Note, format!("worker {pid} runs")),
        }
    }

    pub(crate) fn now(&self) -> Now {
        self.lock().now.clone()
    }

    /// Everything that happened, in its order.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        self.lock().moments.clone()
    }

    /// The report of the worker that was asked to end.
    pub(crate) fn report(&self) -> Option<Report> {
        self.lock().report.clone()
    }

    /// How the worker is held together.
    pub(crate) fn guarantee(&self) -> String {
        self.lock().guarantee.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
