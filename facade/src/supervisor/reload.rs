//! Reloads: each member is asked to read its configuration again, and runs on.

use crate::supervisor::Shared;
use crate::supervisor::apart::apart;
use crate::supervisor::clock::Clock;
use crate::supervisor::contain::{Either, race, wake_all};
use crate::supervisor::end::after;
use crate::supervisor::error::say;
use crate::supervisor::stats::Phase;
use crate::supervisor::waiters::{Place, Waiters};
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

/// Counts how often a reload was asked for. Those that come while one runs are one more together.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_asked: bool,
    waiters: Waiters,
}

impl Reloads {
    pub(crate) fn ask(&self) {
        let wakers = {
            let mut state = self.lock();
            state.is_asked = true;
            state.waiters.take()
        };
        wake_all(wakers);
    }

    /// Resolves when a reload was asked for, and takes it.
    async fn asked(&self) {
        let mut place: Option<Place> = None;
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut state = self.lock();
            if std::mem::take(&mut state.is_asked) {
                return Poll::Ready(());
            }
            let unused = state.waiters.wait(&mut place, waker);
            drop(state);
            drop(unused);
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reloads all members each time that it is asked for.
pub(crate) async fn all(shared: &Arc<Shared>, clock: &Clock) -> Infallible {
    loop {
        shared.reloads.asked().await;
        shared.notify(|notifier| notifier.reloading());
        for place in 0..shared.members.len() {
            one(shared, clock, place).await;
        }
        shared.notify(|notifier| notifier.reloaded());
    }
}

/// Reloads a member that runs, apart, by its deadline.
async fn one(shared: &Arc<Shared>, clock: &Clock, place: usize) {
    let member = &shared.members[place];
    let Some(instance) = member.instance().filter(|_| member.phase() == Phase::Running) else {
        return;
    };
    let reload = apart(&member.name, clock, move || {
        Box::pin(async move {
            let reloaded = instance.reload().await.map_err(say);
            drop(instance);
            reloaded
        })
    });
    let late = clock.at(after(Instant::now(), member.deadline));
    match race(reload, late).await {
        Either::First(Some(Ok(Ok(())))) | Either::First(None) => {}
        Either::First(Some(Ok(Err(error)))) => member.note(format!("reload: {error}")),
        Either::First(Some(Err(panic))) => member.note(format!("reload: it panicked: {panic}")),
        Either::Second(()) => {
            member.note(format!("reload: deadline of {:?} passed", member.deadline));
        }
    }
}
