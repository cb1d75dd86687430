//! The threads for closures that block: few, started when needed, gone when idle.
//!
//! A closure that outlives its task keeps its thread, and is replaced: it must not starve the others.

use crate::contain::contain;
use crate::fork;
use crate::sync::process::AtomicU64;
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a thread waits for the next closure before it ends.
const LINGER: Duration = Duration::from_secs(5);

/// How many closures that are stuck are replaced at most: a bound on threads.
const REPLACED: u64 = 64;

/// How much memory for waiting closures an idle pool keeps.
const KEPT: usize = 64;

/// A closure with everything around it. It is told whether it runs on the thread of the driver.
pub(crate) type Job = Box<dyn FnOnce(bool) + Send>;

pub(crate) struct Pool {
    limit: usize,
    /// What the threads are called.
    name: String,
    state: Mutex<State>,
    changed: Condvar,
    /// Closures that go on after the end of their tasks. Counted under the lock of the worker, which knows
    /// what has ended.
    stuck: Arc<AtomicU64>,
}

/// Names a closure that waits for a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

struct State {
    /// In the order of their tickets.
    jobs: VecDeque<(Ticket, Job)>,
    issued: u64,
    threads: Vec<JoinHandle<()>>,
    alive: usize,
    idle: usize,
    /// How often the system refused a thread.
    refusals: u64,
    stopped: bool,
}

/// What became of a closure that was handed in.
pub(crate) enum Handed {
    /// A thread of the pool runs it, as soon as one is free.
    Over(Ticket),
    /// It waits, but every thread is with a closure that outlived its task.
    Hopeless(Ticket),
    /// There is no thread and none can be started: the caller has to run it.
    Back(Job),
    /// The pool has ended.
    Stopped,
}

impl Pool {
    pub(crate) fn new(limit: usize, name: &str) -> Arc<Self> {
        Arc::new(Self {
            limit,
            name: format!("{name}-io"),
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                issued: 0,
                threads: Vec::new(),
                alive: 0,
                idle: 0,
                refusals: 0,
                stopped: false,
            }),
            changed: Condvar::new(),
            stuck: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Where the worker counts the closures that go on after the end of their tasks.
    pub(crate) fn stuck_count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.stuck)
    }

    pub(crate) fn hand(self: &Arc<Self>, job: Job) -> Handed {
        let mut state = self.lock();
        if state.stopped {
            return Handed::Stopped;
        }
        if state.idle <= state.jobs.len() {
            self.grow(&mut state);
            if state.alive == 0 {
                return Handed::Back(job);
            }
        }
        state.issued += 1;
        let ticket = Ticket(state.issued);
        state.jobs.push_back((ticket, job));
        let hopeless = state.is_hopeless(self.stuck());
        drop(state);
        self.changed.notify_one();
        if hopeless { Handed::Hopeless(ticket) } else { Handed::Over(ticket) }
    }

    /// Takes back a closure whose call is gone, if no thread has it.
    pub(crate) fn cancel(&self, ticket: Ticket) -> Option<Job> {
        let mut state = self.lock();
        let index = state.jobs.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        state.jobs.remove(index).map(|(_, job)| job)
    }

    /// Adds a thread if there may be one more, and if the system gives one.
    fn grow(self: &Arc<Self>, state: &mut State) {
        let replaced = usize::try_from(self.stuck().min(REPLACED)).unwrap_or(0);
        if state.alive >= self.limit.saturating_add(replaced) {
            return;
        }
        let Some(thread) = self.start() else {
            state.refusals += 1;
            return;
        };
        state.threads.retain(|thread| !thread.is_finished());
        state.threads.push(thread);
        state.alive += 1;
    }

    /// Closures go on without their tasks. Those that wait behind them get another thread; `true` when there
    /// is none for them.
    pub(crate) fn replace_stuck(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        if !state.stopped && state.idle < state.jobs.len() {
            self.grow(&mut state);
        }
        !state.jobs.is_empty() && state.is_hopeless(self.stuck())
    }

    pub(crate) fn refusals(&self) -> u64 {
        self.lock().refusals
    }

    pub(crate) fn stuck(&self) -> u64 {
        self.stuck.load(Relaxed)
    }

    /// Ends the threads, and gives them to be joined. With closures that outlived their tasks it gives none: those
    /// are named for themselves, and each thread ends after what it is at.
    pub(crate) fn stop(&self) -> Vec<JoinHandle<()>> {
        let (threads, jobs) = {
            let mut state = self.lock();
            state.stopped = true;
            // Without any, a thread that is not idle is on its way to its end.
            let none_goes_on = self.stuck() == 0;
            let threads =
                if none_goes_on { std::mem::take(&mut state.threads) } else { Vec::new() };
            (threads, std::mem::take(&mut state.jobs))
        };
        drop(jobs);
        self.changed.notify_all();
        threads
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the owner of these threads, joined after `stop`"
    )]
    fn start(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        let pool = Arc::clone(self);
        let thread = std::thread::Builder::new().name(self.name.clone());
        thread.spawn(move || pool.run()).ok()
    }

    fn run(self: Arc<Self>) {
        let generation = fork::generation();
        let mut state = self.lock();
        loop {
            if let Some((_, job)) = state.jobs.pop_front() {
                if state.idle < state.jobs.len() {
                    // A thread that the system refused before is asked for again.
                    self.grow(&mut state);
                }
                drop(state);
                // A panic must not take the thread with it, which is counted.
                let _ = contain(move || job(false));
                if !fork::is_generation(generation) {
                    // The closure forked, and this is the child: the closures behind it are the parent's.
                    return;
                }
                state = self.lock();
                continue;
            }
            if state.stopped {
                break;
            }
            // What a burst grew shrinks again.
            state.jobs.shrink_to(KEPT);
            state.idle += 1;
            let waited = self.changed.wait_timeout(state, LINGER);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() {
                break;
            }
        }
        state.alive -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether no thread is left that comes back in a bounded time.
    fn is_hopeless(&self, stuck: u64) -> bool {
        self.alive as u64 <= stuck
    }
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_closure_whose_call_is_gone_leaves_nothing_in_the_queue() {
        let pool = Pool::new(1, "pool");
        let (open, closed) = channel::<()>();
        let (begin, began) = channel();
        let holds = move |_| {
            begin.send(()).unwrap();
            closed.recv().unwrap();
        };
        assert!(matches!(pool.hand(Box::new(holds)), Handed::Over(_)));
        began.recv().unwrap();
        let tickets: Vec<_> = (0..10)
            .map(|_| match pool.hand(Box::new(|_| {})) {
                Handed::Over(ticket) => ticket,
                _ => unreachable!("it waits"),
            })
            .collect();
        for ticket in tickets.iter().rev() {
            assert!(pool.cancel(*ticket).is_some() && pool.cancel(*ticket).is_none());
        }
        assert!(pool.lock().jobs.is_empty());
        open.send(()).unwrap();
        pool.stop().into_iter().for_each(|thread| thread.join().unwrap());
    }
}
