//! Where a driver gets its turns: a thread of its own, or a task on a tokio runtime.

use super::{Driver, NAP, Turn};
#[cfg(feature = "tokio")]
use crate::config::Placement;
use crate::ready::Parker;
use crate::shared::{Placed, Shared};
use crate::sweep::sweep;
use crate::sync::{Arc, Mutex, lock};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::sync_channel;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Instant;
#[cfg(feature = "tokio")]
use tokio::runtime::RuntimeFlavor;

/// Starts a driver if there is none and one is needed, and lets the next call try again if that fails.
#[cold]
pub(crate) fn ensure_running(shared: &Arc<Shared>) {
    if !shared.begin_start() {
        return;
    }
    if !shared.state().take_seat() {
        return shared.set_stopped();
    }
    if launch(shared).is_ok() {
        shared.starts.fetch_add(1, Relaxed);
        return;
    }
    shared.start_failures.fetch_add(1, Relaxed);
    leave(shared);
}

/// Leaves the seat, and does the last things if no other driver is to come.
fn leave(shared: &Arc<Shared>) {
    let over = shared.state().leave_seat(shared.intake());
    shared.set_stopped();
    if let Some(nudge) = over {
        nudge.wake();
        // A shutdown left its tasks to this driver.
        sweep(shared, usize::MAX);
    }
}

/// In a forked child on a thread, as the runtimes of the parent have no threads there.
fn launch(shared: &Arc<Shared>) -> io::Result<()> {
    #[cfg(feature = "tokio")]
    if let Some(runtime) = runtime(shared) {
        on_tokio(shared, runtime);
        return Ok(());
    }
    if cfg!(lastout_loom) {
        // A model gives the turns itself.
        return Err(io::ErrorKind::Unsupported.into());
    }
    on_thread(shared)
}

/// The runtime to start on, if it is there still.
#[cfg(feature = "tokio")]
fn runtime(shared: &Shared) -> Option<&tokio::runtime::Handle> {
    let is_there = shared.is_first_process() && !shared.state().outlived;
    match &shared.config.placement {
        Placement::Tokio(runtime) if is_there => Some(runtime),
        _ => None,
    }
}

/// Goes on after a runtime took its driver with it.
pub(crate) fn take_over(shared: &Arc<Shared>) {
    let wakers = {
        let mut state = shared.state();
        state.outlived = true;
        state.wakers()
    };
    leave(shared);
    // What they waited for may have gone with the runtime: each task gets a poll to find out.
    for waker in wakers {
        Waker::from(waker).wake();
    }
    ensure_running(shared);
}

/// Sweeps on a thread of its own; on this one if the system gives none.
#[expect(clippy::disallowed_methods, reason = "the owner of this thread, joined in `join`")]
pub(crate) fn sweep_elsewhere(shared: &Arc<Shared>) {
    let sweeping = Arc::clone(shared);
    let thread = std::thread::Builder::new().name(shared.config.name.clone());
    match thread.spawn(move || sweep(&sweeping, usize::MAX)) {
        Ok(thread) => *lock(&shared.side().sweeper) = Some(thread),
        Err(_) => {
            shared.start_failures.fetch_add(1, Relaxed);
            sweep(shared, usize::MAX);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the owner of this thread, joined in `join`")]
fn on_thread(shared: &Arc<Shared>) -> io::Result<()> {
    let driver = Driver::new(Arc::clone(shared), 1);
    let thread = std::thread::Builder::new().name(shared.config.name.clone());
    // Behind an `Option`, so that a driver whose thread was refused is not taken for one that was
    // torn down.
    let driver = Unstarted(Some(driver));
    let thread = thread.spawn(move || drive(driver))?;
    *lock(&shared.side().placed) = Some(Placed::Thread(thread));
    Ok(())
}

/// A driver on its way to its thread.
struct Unstarted(Option<Driver>);

impl Drop for Unstarted {
    fn drop(&mut self) {
        if let Some(driver) = self.0.take() {
            driver.dismiss();
        }
    }
}

fn drive(mut unstarted: Unstarted) {
    let Some(mut driver) = unstarted.0.take() else {
        return;
    };
    let parker = Parker::new();
    let waker = parker.waker();
    loop {
        match driver.turn(&waker) {
            Turn::Again => {}
            Turn::Nap => parker.park(Some(Instant::now() + NAP)),
            Turn::Stalled(until) => parker.park(Some(until)),
            Turn::Sleep(until) => parker.park(until),
            Turn::Finished => return,
        }
    }
}

/// Ends the threads of a worker whose end is reported, and waits for them until then; `false` when one goes on.
/// That of a driver which is held, and those with a closure that runs, are named for themselves.
pub(crate) fn join(shared: &Shared, until: Instant) -> bool {
    let side = shared.side();
    let mut threads = side.pool.stop();
    if shared.state().is_over() {
        let placed = lock(&side.placed).take();
        match placed {
            // The task ends with the turn that made the driver finish.
            #[cfg(feature = "tokio")]
            Some(Placed::Tokio(task, _)) => drop(task),
            Some(Placed::Thread(thread)) => threads.push(thread),
            None => {}
        }
        threads.extend(lock(&side.sweeper).take());
    }
    threads.extend(side.alarm.stop());
    let here = std::thread::current().id();
    threads.retain(|thread| thread.thread().id() != here);
    threads.is_empty() || join_until(threads, &shared.config.name, until)
}

/// A join has no deadline, and a thread-local of a user may take its time to be dropped at the end of a thread.
/// So another thread joins, and this one waits for that.
#[expect(clippy::disallowed_methods, reason = "it ends with the threads that it joins")]
fn join_until(threads: Vec<JoinHandle<()>>, name: &str, until: Instant) -> bool {
    let threads = Arc::new(Mutex::new(threads));
    let (done, ended) = sync_channel(1);
    let joined = Arc::clone(&threads);
    let joiner = std::thread::Builder::new().name(format!("{name}-end"));
    let joiner = joiner.spawn(move || {
        std::mem::take(&mut *lock(&joined)).into_iter().for_each(|thread| drop(thread.join()));
        let _ = done.send(());
    });
    let left = || until.saturating_duration_since(Instant::now());
    match joiner {
        Ok(joiner) => ended.recv_timeout(left()).is_ok() && joiner.join().is_ok(),
        Err(_) => {
            // As good as can be told without a thread.
            let goes_on = || lock(&threads).iter().any(|thread| !thread.is_finished());
            while goes_on() && !left().is_zero() {
                std::thread::park_timeout(NAP);
            }
            !goes_on()
        }
    }
}

/// What blocking this thread would mean for the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Here {
    /// Nothing.
    Free,
    /// This is a thread of the runtime that the worker runs on, and there are others.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "there are no runtimes"))]
    Shared,
    /// No other thread would give the worker its turns.
    Needed,
}

/// Whether the worker gets its turns from this thread alone.
pub(crate) fn is_needed(shared: &Shared) -> bool {
    here(shared) == Here::Needed
}

fn here(shared: &Shared) -> Here {
    #[cfg(feature = "tokio")]
    if let Some(Placed::Tokio(_, own)) = &*lock(&shared.side().placed) {
        let current = tokio::runtime::Handle::try_current().ok();
        return match current.filter(|runtime| runtime.id() == *own) {
            None => Here::Free,
            Some(runtime) if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread => {
                Here::Needed
            }
            Some(_) => Here::Shared,
        };
    }
    let _ = shared;
    Here::Free
}

/// Blocks this thread, after giving the turns that it holds to others; `None` if no thread could take
/// them.
pub(crate) fn block<R>(shared: &Shared, wait: impl FnOnce() -> R) -> Option<R> {
    match here(shared) {
        Here::Free => Some(wait()),
        // Refused by a panic inside of a `LocalSet`, where no other thread may run the set's tasks.
        #[cfg(feature = "tokio")]
        Here::Shared => crate::contain::contain(|| tokio::task::block_in_place(wait)).ok(),
        #[cfg(not(feature = "tokio"))]
        Here::Shared => None,
        Here::Needed => None,
    }
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use super::{Arc, Driver, Placed, Shared, Turn, lock};
    use crate::clock::Key;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// How often the driver gives way to other tasks after work before it sleeps: its nap.
    const YIELDS: u32 = 16;

    #[expect(clippy::disallowed_methods, reason = "the handle is kept in `placed`")]
    pub(super) fn on_tokio(shared: &Arc<Shared>, runtime: &tokio::runtime::Handle) {
        let driver = Driver::new(Arc::clone(shared), YIELDS);
        let task = runtime.spawn(OnTokio { driver, alarm: None });
        let mut placed = lock(&shared.side().placed);
        // A runtime that is shutting down dropped the driver at once, and its thread is in place.
        if !shared.state().outlived {
            *placed = Some(Placed::Tokio(task, runtime.id()));
        }
    }

    struct OnTokio {
        driver: Driver,
        alarm: Option<Key>,
    }

    impl Drop for OnTokio {
        fn drop(&mut self) {
            if let Some(key) = self.alarm.take() {
                self.driver.shared().side().alarm.cancel(key);
            }
        }
    }

    impl Future for OnTokio {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let alarm = self.alarm.take();
            let shared = Arc::clone(self.driver.shared());
            if let Some(key) = alarm {
                shared.side().alarm.cancel(key);
            }
            match self.driver.turn(cx.waker()) {
                Turn::Again | Turn::Nap => cx.waker().wake_by_ref(),
                Turn::Sleep(None) => {}
                Turn::Sleep(Some(due)) | Turn::Stalled(due) => {
                    self.alarm = shared.side().alarm.set(due, cx.waker().clone());
                    if self.alarm.is_none() {
                        // Without a thread to watch the time, this task does it between the others.
                        cx.waker().wake_by_ref();
                    }
                }
                Turn::Finished => return Poll::Ready(()),
            }
            Poll::Pending
        }
    }
}
#[cfg(feature = "tokio")]
use on_tokio::on_tokio;
