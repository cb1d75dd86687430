//! The shared thread that watches descriptors for futures on any executor, and waits for children that
//! nobody holds any more, so that they do not stay as zombies.
//!
//! It starts with the first watch and ends when there has been none for a second. A watch has a
//! descriptor of its own, so what the thread polls is open for as long as it polls it.

use super::TRACED;
use crate::sys::{Bell, Pidfd, poll_all};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long the thread stays without anything to do.
const IDLE: Duration = Duration::from_secs(1);

/// Completes when its descriptor is readable, or at its time.
#[derive(Debug)]
pub(super) struct Watch {
    number: u64,
    until: Instant,
    shared: &'static Shared,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watches: BTreeMap<u64, Entry>,
    /// Children whose handles were dropped while they ran.
    orphans: Vec<Pidfd>,
    next: u64,
    /// Rung when the list of watches has changed. With the pid of the process whose thread
    /// it wakes; there while that thread runs, which closes it.
    bell: Option<(u32, Arc<Bell>)>,
}

#[derive(Debug)]
struct Entry {
    fd: Arc<OwnedFd>,
    until: Instant,
    waker: Option<Waker>,
    /// Set once, by the thread: whether the descriptor was readable.
    outcome: Option<bool>,
}

impl Watch {
    pub(super) fn new(fd: BorrowedFd<'_>, until: Instant) -> io::Result<Self> {
        let shared = shared();
        let fd = Arc::new(fd.try_clone_to_owned()?);
        let mut state = shared.state();
        let number = state.next;
        state.next += 1;
        let entry = Entry { fd, until, waker: None, outcome: None };
        state.watches.insert(number, entry);
        if let Err(error) = shared.call(&mut state) {
            state.watches.remove(&number);
            return Err(error);
        }
        drop(state);
        Ok(Self { number, until, shared })
    }
}

impl Future for Watch {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        // Wakers may run code of others when they are cloned and dropped, so not under the lock.
        let waker = context.waker().clone();
        let mut state = self.shared.state();
        let Some(entry) = state.watches.get_mut(&self.number) else {
            return Poll::Ready(false);
        };
        if let Some(readable) = entry.outcome {
            return Poll::Ready(readable);
        }
        if Instant::now() >= self.until {
            return Poll::Ready(false);
        }
        let earlier = entry.waker.replace(waker);
        drop(state);
        drop(earlier);
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let (removed, bell) = {
            let mut state = self.shared.state();
            (state.watches.remove(&self.number), state.bell.clone())
        };
        // The thread polls the descriptor until it is told, and would keep it open.
        let pending = removed.as_ref().is_some_and(|entry| entry.outcome.is_none());
        if let Some((_, bell)) = bell.filter(|_| pending) {
            bell.ring();
        }
        // Its waker may run code of others when it is dropped, so not under the lock.
        drop(removed);
    }
}

/// Waits for a child in the background, whenever it ends.
pub(crate) fn reap_later(child: Pidfd) {
    let shared = shared();
    let mut state = shared.state();
    state.orphans.push(child);
    // Without a thread the child is a zombie until this process ends, as it is with std alone.
    let _ = shared.call(&mut state);
}

impl Shared {
    /// Makes the thread look at its list again, starting it when it does not run.
    fn call(&'static self, state: &mut State) -> io::Result<()> {
        // A process that was forked has a copy of the list and not of the thread.
        let process = std::process::id();
        if let Some((_, bell)) = state.bell.as_ref().filter(|(of, _)| *of == process) {
            bell.ring();
            return Ok(());
        }
        let bell = Arc::new(Bell::new()?);
        start(self, Arc::clone(&bell))?;
        state.bell = Some((process, bell));
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches until there was nothing to watch for a while.
    fn run(&self, bell: &Bell) {
        let mut idle_since = Instant::now();
        loop {
            // Those who are traced have ended, and are not polled: they would be readable all the time.
            let (watched, orphans, until) = {
                let mut state = self.state();
                state.orphans.retain(|child| matches!(child.reap(), Ok(None)));
                let open = state.watches.iter().filter(|(_, entry)| entry.outcome.is_none());
                let watched: Vec<_> = open
                    .map(|(number, entry)| (*number, Arc::clone(&entry.fd), entry.until))
                    .collect();
                if !watched.is_empty() || !state.orphans.is_empty() {
                    idle_since = Instant::now();
                }
                let end = idle_since + IDLE;
                if Instant::now() >= end {
                    state.bell = None;
                    return;
                }
                let (traced, orphans): (Vec<_>, Vec<_>) =
                    state.orphans.iter().cloned().partition(Pidfd::is_dead);
                let until = watched.iter().map(|(_, _, until)| *until).min().unwrap_or(end);
                let next = Instant::now() + TRACED;
                (watched, orphans, if traced.is_empty() { until } else { until.min(next) })
            };
            let fds =
                watched.iter().map(|(_, fd, _)| fd.as_fd()).chain(orphans.iter().map(AsFd::as_fd));
            let fds = std::iter::once(bell.as_fd()).chain(fds);
            let readable = poll_all(&fds.collect::<Vec<_>>(), until);
            bell.silence();
            self.settle(&watched, &readable);
        }
    }

    /// Gives each watch that is over its outcome, and wakes its task.
    fn settle(&self, watched: &[(u64, Arc<OwnedFd>, Instant)], readable: &[bool]) {
        let now = Instant::now();
        let mut wakers = Vec::new();
        {
            let mut state = self.state();
            // The first of the descriptors was the bell; the orphans come last.
            let readable = readable.iter().skip(1).copied().chain(std::iter::repeat(false));
            for ((number, _, until), readable) in watched.iter().zip(readable) {
                if !readable && now < *until {
                    continue;
                }
                if let Some(entry) = state.watches.get_mut(number) {
                    entry.outcome = Some(readable);
                    wakers.extend(entry.waker.take());
                }
            }
        }
        for waker in wakers {
            // One that panics harms its own task alone.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
        }
    }
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| Shared { state: Mutex::default() })
}

#[expect(clippy::disallowed_methods, reason = "the one waiter thread, which ends by itself")]
fn start(shared: &'static Shared, bell: Arc<Bell>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("lastout-proc-waiter".into());
    thread.spawn(move || shared.run(&bell)).map(drop)
}
