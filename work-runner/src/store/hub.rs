//! Who wants to hear what inside this process: runners that wait for work, callers that wait for an
//! end. Hints only: whoever waits also looks from time to time.

use crate::job::JobId;
use crate::poke::{Poke, WeakPoke};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
        lock(&self.pokes).push(poke.downgrade());
    }

    /// There may be work.
    pub(crate) fn poke_all(&self) {
        lock(&self.pokes).retain(WeakPoke::poke);
    }

    /// Resolves when `job` ends by a call of this process.
    pub(crate) fn end_of(&self, job: JobId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = lock(&self.waiters);
        let of_job = waiters.entry(job).or_default();
        // Those who gave up waiting leave here.
        of_job.retain(|waiter| !waiter.is_closed());
        of_job.push(sender);
        self.waiting.store(waiters.len(), Ordering::Relaxed);
        receiver
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

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("waiting", &self.waiting.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
