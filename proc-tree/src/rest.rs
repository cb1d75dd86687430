//! What a drop could not do in its time is done later: by the process-wide cleanup worker with the feature
//! `cleanup`, and by a thread of this crate without it, or where the worker refuses.
//!
//! One thread serves all trees. It starts with the first of them, and ends with the last.

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

/// Trees that wait for the thread.
#[derive(Debug)]
struct Queue {
    waiting: Vec<Arc<Inner>>,
    /// The thread while it runs, and the process that it is of: a copy that was forked has none.
    thread: Option<(u32, Thread)>,
}

fn queue() -> MutexGuard<'static, Queue> {
    static QUEUE: Mutex<Queue> = Mutex::new(Queue { waiting: Vec::new(), thread: None });
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn enqueue(inner: Arc<Inner>) {
    let process = std::process::id();
    let mut queue = queue();
    match &queue.thread {
        Some((of, thread)) if *of == process => thread.unpark(),
        _ => {
            queue.waiting.clear();
            match start() {
                Ok(thread) => queue.thread = Some((process, thread)),
                // The rest is left to the members themselves, and nobody is there to be told.
                Err(_) => return,
            }
        }
    }
    queue.waiting.push(inner);
}

#[expect(clippy::disallowed_methods, reason = "the one thread for this, which ends by itself")]
fn start() -> std::io::Result<Thread> {
    let thread = std::thread::Builder::new().name("lastout-proc-rest".into());
    thread.spawn(run).map(|thread| thread.thread().clone())
}

type Finishing = Pin<Box<dyn Future<Output = ()>>>;

/// Finishes all trees side by side, until there is none.
fn run() {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut finishing: Vec<Finishing> = Vec::new();
    loop {
        let come = {
            let mut queue = queue();
            let come = std::mem::take(&mut queue.waiting);
            if come.is_empty() && finishing.is_empty() {
                queue.thread = None;
                return;
            }
            come
        };
        finishing.extend(come.into_iter().map(|inner| -> Finishing {
            Box::pin(async move {
                // Whoever survives this is left: nobody is there to be told.
                let _ = finish(&inner).await;
            })
        }));
        let mut context = Context::from_waker(&waker);
        finishing.retain_mut(|one| one.as_mut().poll(&mut context) == Poll::Pending);
        if !finishing.is_empty() {
            std::thread::park();
        }
    }
}
