//! Where a driver gets its turns: a thread of its own, or a task on a tokio runtime.

use crate::driver::{Driver, NAP, Turn};
use crate::error::BuildError;
use crate::ready::Parker;
use crate::shared::Shared;
use crate::sync::{Arc, lock};
use std::io;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Instant;

/// Where a worker is to run.
#[derive(Clone)]
pub(crate) enum Placement {
    Dedicated,
    #[cfg(feature = "tokio")]
    CurrentTokio,
    #[cfg(feature = "tokio")]
    Tokio(tokio::runtime::Handle),
}

impl Placement {
    /// Turns "the current runtime" into that one.
    pub(crate) fn resolve(self) -> Result<Self, BuildError> {
        match self {
            #[cfg(feature = "tokio")]
            Self::CurrentTokio => tokio::runtime::Handle::try_current()
                .map(Self::Tokio)
                .map_err(|_| BuildError::NoRuntime),
            placed => Ok(placed),
        }
    }
}

/// What a worker runs on, to be joined when it has finished.
pub(crate) enum Placed {
    Thread(JoinHandle<()>),
    #[cfg(feature = "tokio")]
    Tokio(tokio::task::JoinHandle<()>, tokio::runtime::Id),
}

/// Starts a driver where the worker was built to run; in a forked child on a thread, as the runtimes
/// of the parent have no threads there.
pub(crate) fn launch(shared: &Arc<Shared>) -> io::Result<()> {
    #[cfg(feature = "tokio")]
    if let Placement::Tokio(runtime) = &shared.config.placement
        && shared.is_first_process()
        && !shared.state().outlived
    {
        on_tokio(shared, runtime);
        return Ok(());
    }
    on_thread(shared)
}

/// Goes on after a runtime took its driver with it.
pub(crate) fn take_over(shared: &Arc<Shared>) {
    let wakers = {
        let mut state = shared.state();
        state.outlived = true;
        state.slots.wakers()
    };
    // What they waited for may have gone with the runtime: each task gets a poll to find out.
    for waker in wakers {
        Waker::from(waker).wake();
    }
    shared.set_stopped();
    Shared::ensure_running(shared);
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
            Turn::Sleep(until) => parker.park(until),
            Turn::Finished => return,
        }
    }
}

/// Waits for the end of what drove; called once the driver has finished, so it is about to end.
pub(crate) fn join(shared: &Shared) {
    let placed = lock(&shared.side().placed).take();
    match placed {
        // The task ends with the turn that made the driver finish.
        #[cfg(feature = "tokio")]
        Some(Placed::Tokio(task, _)) => drop(task),
        Some(Placed::Thread(thread)) if thread.thread().id() != std::thread::current().id() => {
            let _ = thread.join();
        }
        _ => {}
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
    /// Nobody else would give the worker its turns.
    Needed,
}

/// Whether nobody else would give the worker its turns.
pub(crate) fn is_needed(shared: &Shared) -> bool {
    here(shared) == Here::Needed
}

fn here(shared: &Shared) -> Here {
    #[cfg(feature = "tokio")]
    if let Some(Placed::Tokio(_, own)) = &*lock(&shared.side().placed)
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
        && runtime.id() == *own
    {
        return match runtime.runtime_flavor() {
            tokio::runtime::RuntimeFlavor::CurrentThread => Here::Needed,
            _ => Here::Shared,
        };
    }
    let _ = shared;
    Here::Free
}

/// Blocks this thread, after giving the turns that it holds to others; `None` where nobody could take
/// them.
pub(crate) fn block<R>(shared: &Shared, wait: impl FnOnce() -> R) -> Option<R> {
    match here(shared) {
        Here::Free => Some(wait()),
        // Refused by a panic inside of a `LocalSet`, where nobody else may run the set's tasks.
        #[cfg(feature = "tokio")]
        Here::Shared => crate::contain::contain(|| tokio::task::block_in_place(wait)).ok(),
        #[cfg(not(feature = "tokio"))]
        Here::Shared => None,
        Here::Needed => None,
    }
}

/// Whether this thread belongs to the runtime that the worker runs on.
pub(crate) fn is_own_runtime(shared: &Shared) -> bool {
    #[cfg(feature = "tokio")]
    if let Some(Placed::Tokio(_, own)) = &*lock(&shared.side().placed) {
        let current = tokio::runtime::Handle::try_current();
        return current.is_ok_and(|runtime| runtime.id() == *own);
    }
    let _ = shared;
    false
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use super::{Arc, Driver, Placed, Shared, Turn, lock};
    use crate::timers::Key;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// How often the driver gives way to other tasks after work before it sleeps: its nap.
    const YIELDS: u32 = 16;

    #[expect(clippy::disallowed_methods, reason = "the handle is kept in `placed`")]
    pub(super) fn on_tokio(shared: &Arc<Shared>, runtime: &tokio::runtime::Handle) {
        let driver = Driver::new(Arc::clone(shared), YIELDS);
        let task = runtime.spawn(OnTokio { driver, alarm: None });
        *lock(&shared.side().placed) = Some(Placed::Tokio(task, runtime.id()));
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
                Turn::Sleep(Some(due)) => {
                    self.alarm = shared.side().alarm.set(due, cx.waker().clone());
                }
                Turn::Finished => return Poll::Ready(()),
            }
            Poll::Pending
        }
    }
}
#[cfg(feature = "tokio")]
use on_tokio::on_tokio;
