//! What a program asks: the knobs, the dump of live tasks, the histogram.

use super::probe::PollTimes;
use super::watchdog::Stall;
use crate::builder::Builder;
use crate::handle::Handle;
use crate::join::TaskId;
use crate::runtime::Runtime;
use std::panic::Location;
use std::time::{Duration, Instant};

impl Builder {
    /// Measures how long each poll takes, for [`Runtime::poll_times`]. Two clock reads per poll.
    pub fn poll_histogram(mut self) -> Self {
        self.insight.histogram = true;
        self
    }

    /// Calls `callback` on a thread of its own when a poll has lasted longer than `limit`, while it
    /// still lasts; once per poll. The thread ends with the runtime, after the callback that it is in.
    pub fn on_stall(mut self, limit: Duration, callback: impl Fn(Stall) + Send + 'static) -> Self {
        self.insight.stall = Some((limit, Box::new(callback)));
        self
    }
}

/// A live task.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Which task.
    pub id: TaskId,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub location: &'static Location<'static>,
    /// What it does now.
    pub state: TaskState,
    /// When it was last woken, by the system's clock; noted only with a histogram or stall callback.
    pub last_wake: Option<Instant>,
    /// How often it was polled, counted only with a histogram or a stall callback.
    pub polls: u64,
}

/// What a live task does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It is being polled.
    Running,
    /// It waits for its turn.
    Ready,
    /// It waits to be woken.
    Waiting,
}

impl Handle {
    /// Every live task, the future of `block_on` included.
    pub fn dump(&self) -> Vec<TaskInfo> {
        let mut tasks = Vec::new();
        self.owner.engine.each(|view| {
            let origin = view.origin;
            let state = match (view.running, view.ready) {
                (true, _) => TaskState::Running,
                (false, true) => TaskState::Ready,
                (false, false) => TaskState::Waiting,
            };
            tasks.push(TaskInfo {
                id: TaskId(view.id),
                name: origin.name.as_deref().map(String::from),
                location: origin.location,
                state,
                last_wake: origin.last_wake.get(),
                polls: origin.polls.get(),
            });
        });
        tasks
    }
}

impl Runtime {
    /// Every live task, the future of `block_on` included.
    pub fn dump(&self) -> Vec<TaskInfo> {
        self.handle().dump()
    }

    /// How long polls have taken; empty without [`Builder::poll_histogram`].
    pub fn poll_times(&self) -> PollTimes {
        let probe = self.owner.insight.as_ref();
        probe.map_or_else(PollTimes::default, |probe| probe.times())
    }
}
