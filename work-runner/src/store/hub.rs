//! Who wants to hear what inside this process: runners that wait for work, callers that wait for an
//! end. Hints only: whoever waits also looks from time to time.

use crate::job::JobId;
use crate::poke::{Poke, WeakPoke};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

#[derive(Default)]
pub(crate) struct Hub {
    pokes: Mutex<Vec<WeakPoke>>,
    waiters: Mutex<HashMap<JobId, Vec<oneshot::Sender<()>>>>,
    /// How many waiters there are, so that a turn with none pays one load.
    waiting: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub(crate) fn subscribe(&self, poke: &Poke) {
        let mut pokes = lock(&self.pokes);
        if !pokes.iter().any(|known| known.is(poke)) {
            pokes.push(poke.downgrade());
        }
    }

    /// There may be work.
    pub(crate) fn poke_all(&self) {
        lock(&self.pokes).retain(WeakPoke::poke);
    }

    /// Resolves when `job` ends by a call of this process. Dropped, it leaves nothing behind.
    pub(crate) fn end_of(&self, job: JobId) -> EndOf<'_> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = lock(&self.waiters);
        waiters.entry(job).or_default().push(sender);
        self.waiting.store(waiters.len(), Ordering::Relaxed);
        EndOf { hub: self, job, receiver }
    }

    fn forget(&self, job: JobId) {
        let mut waiters = lock(&self.waiters);
        if let Some(of_job) = waiters.get_mut(&job) {
            of_job.retain(|waiter| !waiter.is_closed());
            if of_job.is_empty() {
                waiters.remove(&job);
            }
        }
        self.waiting.store(waiters.len(), Ordering::Relaxed);
    }

    /// These jobs moved; whoever waits for one of them looks again.
    pub(crate) fn moved(&self, jobs: impl Iterator<Item = JobId>) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut waiters = lock(&self.waiters);
        for job in jobs {
            for waiter in waiters.remove(&job).into_iter().flatten() {
                // A waiter that has gone needs nothing.
                let _ = waiter.send(());
            }
        }
        self.waiting.store(waiters.len(), Ordering::Relaxed);
    }
}

/// The wait for the end of a job.
pub(crate) struct EndOf<'a> {
    hub: &'a Hub,
    job: JobId,
    receiver: oneshot::Receiver<()>,
}

impl Future for EndOf<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.receiver).poll(cx).map(drop)
    }
}

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        self.hub.forget(self.job);
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("waiting", &self.waiting.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_that_gives_up_leaves_nothing() {
        let hub = Hub::default();
        for job in 0..100 {
            let (one, other) = (hub.end_of(JobId(job)), hub.end_of(JobId(job)));
            drop(one);
            assert_eq!(lock(&hub.waiters).len(), 1, "the other one still waits");
            drop(other);
        }
        assert!(lock(&hub.waiters).is_empty());
        assert_eq!(hub.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_poke_is_subscribed_once() {
        let (hub, poke) = (Hub::default(), Poke::new());
        hub.subscribe(&poke);
        hub.subscribe(&poke);
        hub.poke_all();
        assert_eq!(poke.count(), 1);
    }
}
