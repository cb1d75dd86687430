//! What a drop could not do in its time is done later: by the process-wide cleanup worker with the feature
//! `cleanup`, and by a thread of this crate without it, or where the worker refuses.
//!
//! A look at a process may wait inside the kernel for seconds, when others keep that process busy. So each tree
//! gets a thread of its own, as long as there are few; later ones are ended side by side by those that run.

use crate::ending::Ending;
use crate::error::KillError;
use crate::inner::Inner;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Members that wait inside the kernel come out of it in this time, or nothing can help.
const LONG: Duration = Duration::from_secs(60);

/// Has the kill of what is left finished later, if a thread can be had for that.
pub(crate) fn hand_over(inner: &Arc<Inner>) {
    #[cfg(feature = "cleanup")]
    if lastout_cleanup_worker::submit(Rest(Arc::clone(inner))).is_ok() {
        return;
    }
    enqueue(Arc::clone(inner));
}

async fn finish(inner: &Inner) -> Result<(), KillError> {
    let begin = Instant::now();
    let mut ending = Ending::kill(inner, begin + LONG).map_err(KillError::Io)?;
    ending.drive().await.map_err(KillError::Io)?;
    inner.report(ending.outcome().map_err(KillError::Io)?, begin).map(drop)
}

#[cfg(feature = "cleanup")]
struct Rest(Arc<Inner>);

#[cfg(feature = "cleanup")]
impl lastout_cleanup_worker::Cleanup for Rest {
    async fn run(
        self,
        _cx: lastout_cleanup_worker::CleanupContext,
    ) -> lastout_cleanup_worker::Outcome {
        Ok(finish(&self.0).await?)
    }

    fn options(&self) -> lastout_cleanup_worker::Options {
        lastout_cleanup_worker::Options::new().label("process tree")
    }
}

/// How many threads there are at most.
const MOST: usize = 8;

#[derive(Debug)]
struct Queue {
    /// Trees that wait for a thread which runs already.
    waiting: Vec<Arc<Inner>>,
    /// The threads that run, and the process that they are of: a copy that was forked has none.
    threads: Vec<Thread>,
    process: u32,
}

fn queue() -> MutexGuard<'static, Queue> {
    static QUEUE: Mutex<Queue> =
        Mutex::new(Queue { waiting: Vec::new(), threads: Vec::new(), process: 0 });
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn enqueue(inner: Arc<Inner>) {
    let process = std::process::id();
    let mut queue = queue();
    if queue.process != process {
        *queue = Queue { waiting: Vec::new(), threads: Vec::new(), process };
    }
    if queue.threads.len() < MOST {
        if let Ok(thread) = start(Arc::clone(&inner)) {
            queue.threads.push(thread);
            return;
        }
    }
    if queue.threads.is_empty() {
        // The rest is left to the members themselves, and nobody is there to be told.
        return;
    }
    queue.waiting.push(inner);
    queue.threads.iter().for_each(Thread::unpark);
}

#[expect(
    clippy::disallowed_methods,
    reason = "one of the few threads for this, which end by themselves"
)]
fn start(inner: Arc<Inner>) -> std::io::Result<Thread> {
    let thread = std::thread::Builder::new().name("lastout-proc-rest".into());
    thread.spawn(move || run(inner)).map(|thread| thread.thread().clone())
}

type Finishing = Pin<Box<dyn Future<Output = ()>>>;

/// Finishes the tree, and those that wait meanwhile, side by side, until there is none.
fn run(first: Arc<Inner>) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let this = std::thread::current();
    let waker = Waker::from(Arc::new(Unpark(this.clone())));
    let mut come = vec![first];
    let mut finishing: Vec<Finishing> = Vec::new();
    loop {
        finishing.extend(come.into_iter().map(|inner| -> Finishing {
            Box::pin(async move {
                // Whoever survives this is left: nobody is there to be told.
                let _ = finish(&inner).await;
            })
        }));
        let mut context = Context::from_waker(&waker);
        finishing.retain_mut(|one| one.as_mut().poll(&mut context) == Poll::Pending);
        let mut queue = queue();
        come = std::mem::take(&mut queue.waiting);
        if !come.is_empty() {
            continue;
        }
        if finishing.is_empty() {
            queue.threads.retain(|thread| thread.id() != this.id());
            return;
        }
        drop(queue);
        std::thread::park();
    }
}
