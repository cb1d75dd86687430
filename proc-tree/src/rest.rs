//! A thread of this crate finishes what a drop could not do in its time. With the feature `cleanup` that is a task of
//! the process-wide cleanup worker, which counts its outcome, waits for the thread, and does the work itself if no
//! thread can be started.
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
    let inner = Arc::clone(inner);
    // Survivors are left alone, and so is the whole tree if no thread can be started: a drop has no caller to tell.
    let _ = enqueue(Box::pin(async move {
        let _ = finish(&inner).await;
    }));
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
    /// The worker has other work, and waits for a thread that may wait inside the kernel.
    async fn run(
        self,
        _cx: lastout_cleanup_worker::CleanupContext,
    ) -> lastout_cleanup_worker::Outcome {
        let told = Arc::new(Mutex::new(Told::default()));
        let (inner, teller) = (self.0, Arc::clone(&told));
        let finishing = Box::pin(async move {
            let outcome = finish(&inner).await;
            let waker = {
                let mut told = lock(&teller);
                told.outcome = Some(outcome);
                told.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        });
        if let Err(finishing) = enqueue(finishing) {
            finishing.await;
        }
        let outcome = std::future::poll_fn(|context| {
            let mut told = lock(&told);
            told.waker = Some(context.waker().clone());
            told.outcome.take().map_or(Poll::Pending, Poll::Ready)
        });
        Ok(outcome.await?)
    }

    fn options(&self) -> lastout_cleanup_worker::Options {
        lastout_cleanup_worker::Options::new().label("process tree").timeout(LONG * 2)
    }
}

/// What has come of a tree that a thread has finished for the worker.
#[cfg(feature = "cleanup")]
#[derive(Default)]
struct Told {
    outcome: Option<Result<(), KillError>>,
    waker: Option<Waker>,
}

/// How many threads there are at most.
const MOST: usize = 8;

/// A tree that is being finished.
type Finishing = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Queue {
    /// Trees that wait for a thread which runs already.
    waiting: Vec<Finishing>,
    /// The threads that run, and the process that they are of: a copy that was forked has none.
    threads: Vec<Thread>,
    process: u32,
}

fn queue() -> MutexGuard<'static, Queue> {
    static QUEUE: Mutex<Queue> =
        Mutex::new(Queue { waiting: Vec::new(), threads: Vec::new(), process: 0 });
    lock(&QUEUE)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives it to a thread, or back when there is none and none can be started.
fn enqueue(finishing: Finishing) -> Result<(), Finishing> {
    let process = std::process::id();
    let mut queue = queue();
    if queue.process != process {
        *queue = Queue { waiting: Vec::new(), threads: Vec::new(), process };
    }
    let mut finishing = Some(finishing);
    if queue.threads.len() < MOST {
        let slot = Arc::new(Mutex::new(finishing.take()));
        match start(Arc::clone(&slot)) {
            Ok(thread) => queue.threads.push(thread),
            Err(_) => finishing = lock(&slot).take(),
        }
    }
    match finishing {
        Some(finishing) if queue.threads.is_empty() => return Err(finishing),
        Some(finishing) => {
            queue.waiting.push(finishing);
            queue.threads.iter().for_each(Thread::unpark);
        }
        None => {}
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "one of the few threads for this, which end by themselves"
)]
fn start(first: Arc<Mutex<Option<Finishing>>>) -> std::io::Result<Thread> {
    let thread = std::thread::Builder::new().name("lastout-proc-rest".into());
    let run = move || {
        let first = lock(&first).take();
        run(first.into_iter().collect());
    };
    thread.spawn(run).map(|thread| thread.thread().clone())
}

/// Finishes these trees, and those that wait meanwhile, side by side, until there is none.
fn run(mut finishing: Vec<Finishing>) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let this = std::thread::current();
    let waker = Waker::from(Arc::new(Unpark(this.clone())));
    loop {
        let mut context = Context::from_waker(&waker);
        finishing.retain_mut(|one| one.as_mut().poll(&mut context) == Poll::Pending);
        let mut queue = queue();
        if !queue.waiting.is_empty() {
            finishing.append(&mut queue.waiting);
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
