//! Drives futures on the thread that calls, for programs without a runtime: one `poll` of the system waits for
//! all of their descriptors and times at once.
//!
//! A future that waits says so each time it is polled, and all are polled after each wake-up: there are few.

use crate::consume::ConsumerError;
use crate::contain::{discard, message};
use crate::sync::{Mutex, MutexGuard};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// The longest single wait: a time beyond what the system can count is waited for in several.
const LONGEST: Duration = Duration::from_secs(3600);

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Owns a reactor: what was left to be driven is dropped with it, although it may hold the reactor itself.
#[derive(Debug)]
pub(crate) struct Driver {
    reactor: Arc<Reactor>,
}

impl Driver {
    /// # Errors
    ///
    /// When the system gives no descriptor.
    pub(crate) fn new() -> io::Result<Self> {
        let bell = Arc::new(Bell::new()?);
        let (waits, spawned) = (Mutex::default(), Mutex::default());
        Ok(Self { reactor: Arc::new(Reactor { bell, waits, spawned }) })
    }

    /// What futures wait with.
    pub(crate) fn reactor(&self) -> &Arc<Reactor> {
        &self.reactor
    }

    /// Drives the main future to its end, and drops what is left of the others.
    pub(crate) fn run<T>(&self, main: impl Future<Output = T>) -> T {
        self.reactor.run(main)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *lock(&self.reactor.spawned));
        drop(left);
    }
}

/// What the futures of one thread wait for.
#[derive(Debug)]
pub(crate) struct Reactor {
    bell: Arc<Bell>,
    waits: Mutex<Waits>,
    spawned: Mutex<Vec<Task>>,
}

#[derive(Debug, Default)]
struct Waits {
    /// What to wait for next.
    wanted: Vec<(Arc<OwnedFd>, PollFlags)>,
    until: Option<Instant>,
    /// What the last wait has found, until it is taken.
    ready: Vec<RawFd>,
}

/// A future that is driven beside the main one.
struct Task(Work);

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Task")
    }
}

impl Drop for Task {
    /// What is in it may be its owner's: a panic of a destructor ends here.
    fn drop(&mut self) {
        let work = std::mem::replace(&mut self.0, Box::pin(std::future::ready(())));
        discard(work);
    }
}

/// What a task will give.
#[derive(Debug)]
pub(crate) struct Promise<T> {
    kept: Arc<Mutex<Option<Result<T, ConsumerError>>>>,
}

impl<T> Promise<T> {
    /// Waits for its result, which is there once.
    pub(crate) async fn wait(&mut self) -> Result<T, ConsumerError> {
        poll_fn(|_| self.poll()).await
    }

    /// Its result, if it is there: what polls this is polled again when it is.
    pub(crate) fn poll(&mut self) -> Poll<Result<T, ConsumerError>> {
        lock(&self.kept).take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Reactor {
    /// Drives `work` beside the main future, until that is done. A panic of it is its result.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Promise<T> {
        let kept = Arc::new(Mutex::new(None));
        let (bell, keeper) = (self.bell.clone(), kept.clone());
        let task = async move {
            let mut work = Box::pin(work);
            let result =
                poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                    Ok(poll) => poll.map(Ok),
                    Err(panic) => Poll::Ready(Err(ConsumerError::Panicked(message(panic)))),
                });
            let result = result.await;
            *lock(&keeper) = Some(result);
            // Whoever waits for it may have been polled before.
            bell.ring();
        };
        lock(&self.spawned).push(Task(Box::pin(task)));
        self.bell.ring();
        Promise { kept }
    }

    /// Waits until the descriptor is ready, or until a `poll` of the system says that it never will be.
    pub(crate) async fn ready(&self, descriptor: &Arc<OwnedFd>, flags: PollFlags) {
        poll_fn(|_| self.poll_ready(descriptor, flags)).await;
    }

    /// Notes that somebody waits for the descriptor, unless it was just found ready.
    pub(crate) fn poll_ready(&self, descriptor: &Arc<OwnedFd>, flags: PollFlags) -> Poll<()> {
        let mut waits = lock(&self.waits);
        let number = descriptor.as_raw_fd();
        if let Some(at) = waits.ready.iter().position(|ready| *ready == number) {
            waits.ready.swap_remove(at);
            return Poll::Ready(());
        }
        waits.wanted.push((descriptor.clone(), flags));
        Poll::Pending
    }

    /// Has every future polled once more.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// Waits until then.
    pub(crate) async fn sleep_until(&self, time: Instant) {
        poll_fn(|_| self.poll_time(time)).await;
    }

    /// Notes that somebody waits for that time, unless it has come.
    pub(crate) fn poll_time(&self, time: Instant) -> Poll<()> {
        if Instant::now() >= time {
            return Poll::Ready(());
        }
        let mut waits = lock(&self.waits);
        waits.until = Some(waits.until.map_or(time, |until| until.min(time)));
        Poll::Pending
    }

    fn run<T>(&self, main: impl Future<Output = T>) -> T {
        let waker = Waker::from(self.bell.clone());
        let mut main = pin!(main);
        let mut tasks = Vec::new();
        loop {
            let mut cx = Context::from_waker(&waker);
            let done = unconstrained(&mut cx, |cx| {
                let done = main.as_mut().poll(cx);
                tasks.append(&mut lock(&self.spawned));
                tasks.retain_mut(|task: &mut Task| task.0.as_mut().poll(cx).is_pending());
                done
            });
            match done {
                Poll::Ready(done) => return done,
                Poll::Pending => self.wait(),
            }
        }
    }

    /// Waits for what the futures have asked for since the last wait.
    fn wait(&self) {
        let (wanted, until) = {
            let mut waits = lock(&self.waits);
            waits.ready.clear();
            (std::mem::take(&mut waits.wanted), waits.until.take())
        };
        let most = match self.bell.may_sleep() {
            true => until.map_or(LONGEST, |until| until.saturating_duration_since(Instant::now())),
            false => Duration::ZERO,
        };
        let most = most.min(LONGEST);
        let most = Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() };
        let bell = PollFd::new(&self.bell.descriptor, PollFlags::IN);
        let others = wanted.iter().map(|(descriptor, flags)| PollFd::new(descriptor, *flags));
        let mut asked: Vec<_> = std::iter::once(bell).chain(others).collect();
        let found = poll(&mut asked, Some(&most));
        self.bell.silence();
        let mut waits = lock(&self.waits);
        for ((descriptor, _), asked) in wanted.iter().zip(&asked[1..]) {
            // One that cannot be asked about is tried; what its future calls tells more.
            let is_ready = match found {
                Ok(_) => !asked.revents().is_empty(),
                Err(error) => error != rustix::io::Errno::INTR,
            };
            if is_ready {
                waits.ready.push(descriptor.as_raw_fd());
            }
        }
    }
}

/// Lets readers take what they want: the turns of the runtime on whose thread this may run are not theirs.
fn unconstrained<T>(cx: &mut Context<'_>, mut work: impl FnMut(&mut Context<'_>) -> T) -> T {
    let work = poll_fn(|cx| Poll::Ready(work(cx)));
    #[cfg(feature = "tokio")]
    let work = tokio::task::unconstrained(work);
    match pin!(work).poll(cx) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("it is ready at once"),
    }
}

/// Wakes the thread of a reactor, from any thread.
#[derive(Debug)]
struct Bell {
    descriptor: OwnedFd,
    state: Mutex<Rung>,
}

#[derive(Debug, Default)]
struct Rung {
    is_rung: bool,
    /// The thread waits, or is about to: it has to be told by the descriptor.
    is_asleep: bool,
}

impl Bell {
    fn new() -> io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { descriptor, state: Mutex::default() })
    }

    fn ring(&self) {
        let mut state = lock(&self.state);
        if !std::mem::replace(&mut state.is_rung, true) && state.is_asleep {
            // It cannot fail: a counter that is full wakes as well.
            let _ = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
        }
    }

    /// Whether nobody has rung since the last time.
    fn may_sleep(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_asleep = !state.is_rung;
        state.is_asleep
    }

    fn silence(&self) {
        let mut state = lock(&self.state);
        if state.is_asleep && state.is_rung {
            let _ = rustix::io::read(&self.descriptor, &mut [0_u8; 8]);
        }
        *state = Rung::default();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(lastout_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_of_another_thread_a_descriptor_and_a_time_each_end_a_wait() {
        let driver = Driver::new().unwrap();
        let reactor = driver.reactor().clone();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let reader = Arc::new(reader);
        let (send, receive) = std::sync::mpsc::channel();
        let other = std::thread::scope(|scope| {
            let writer = &writer;
            scope.spawn(move || {
                let waker: Waker = receive.recv().unwrap();
                waker.wake();
                rustix::io::write(writer, b"x").unwrap();
            });
            let mut polls = 0;
            driver.run(async {
                poll_fn(|cx| {
                    polls += 1;
                    if polls == 1 {
                        send.send(cx.waker().clone()).unwrap();
                        return Poll::Pending;
                    }
                    Poll::Ready(())
                })
                .await;
                reactor.ready(&reader, PollFlags::IN).await;
                reactor.sleep_until(Instant::now() + Duration::from_millis(1)).await;
                polls
            })
        });
        assert_eq!(other, 2);
    }

    #[test]
    fn a_task_that_panics_and_one_whose_destructor_does_harm_nobody() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("of a destructor");
            }
        }
        let driver = Driver::new().unwrap();
        let reactor = driver.reactor().clone();
        let bomb = Bomb;
        let _left = reactor.spawn(async move {
            let _bomb = bomb;
            std::future::pending::<()>().await;
        });
        let mut panics = reactor.spawn(async { panic!("of a task") });
        let mut works = reactor.spawn(async { 1 });
        let (failed, done) = driver.run(async { (panics.wait().await, works.wait().await) });
        let failed: Result<(), _> = failed;
        assert_eq!(failed, Err(ConsumerError::Panicked("of a task".into())));
        assert_eq!(done, Ok(1));
    }
}
