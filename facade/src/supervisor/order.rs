//! Who starts when: one after the other, and again after a failure that takes others along.
//!
//! Only the task that tends the members touches this. Each change wakes that task once more, so that
//! members that were polled before the change see it as well.

use crate::supervisor::member::Member;
use crate::supervisor::restart::Strategy;
use std::future::poll_fn;
use std::sync::Mutex;
use std::sync::{MutexGuard, PoisonError};
use std::task::Poll;

/// The order of the starts of all members.
#[derive(Debug)]
pub(crate) struct Order {
    strategy: Strategy,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    places: Vec<Place>,
    /// All members before this place have started.
    first: usize,
    /// How many members are not done.
    at_work: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Whether it has started, and the ones after it may.
    passed: bool,
    /// Whether another member failed that takes this one along.
    told: bool,
    /// Whether it failed, and those that it takes along wait until it is to start again.
    holds: bool,
    /// Whether others may take it along: its policy starts it again, and it is not done.
    follows: bool,
}

impl Order {
    pub(crate) fn new(strategy: Strategy, members: &[Member]) -> Self {
        let at_work = members.iter().filter(|member| !member.is_last).count();
        let place = |member: &Member| Place {
            follows: member.service.as_ref().is_some_and(|service| service.policy.starts_again()),
            ..Place::default()
        };
        let places = members.iter().map(place).collect();
        Self { strategy, state: Mutex::new(State { places, first: 0, at_work }) }
    }

    pub(crate) fn turn(&self, place: usize) -> Turn<'_> {
        Turn { order: self, place }
    }

    /// Whether the end of the member at `from` ends the one at `to`.
    fn takes(&self, from: usize, to: usize) -> bool {
        match self.strategy {
            Strategy::OneForOne => false,
            Strategy::RestForOne => from < to,
            Strategy::OneForAll => from != to,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pass(&mut self, place: usize) {
        self.places[place].passed = true;
        while self.places.get(self.first).is_some_and(|next| next.passed) {
            self.first += 1;
        }
    }

    fn unpass(&mut self, place: usize) {
        self.places[place].passed = false;
        self.first = self.first.min(place);
    }
}

/// The place of one member in the order.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    order: &'a Order,
    pub(crate) place: usize,
}

impl Turn<'_> {
    /// Resolves when all members before this one have started, and none that takes it along is to be
    /// started again first.
    pub(crate) async fn come(&self) {
        poll_fn(|_| {
            let mut state = self.order.lock();
            let held =
                |(at, place): (usize, &Place)| place.holds && self.order.takes(at, self.place);
            if state.first < self.place || state.places.iter().enumerate().any(held) {
                return Poll::Pending;
            }
            // Who told it while it was down holds it no longer.
            state.places[self.place].told = false;
            Poll::Ready(())
        })
        .await;
    }

    /// The next one may start.
    pub(crate) async fn pass(&self) {
        self.order.lock().pass(self.place);
        changed().await;
    }

    /// Resolves when another member failed that takes this one along.
    pub(crate) async fn told(&self) {
        poll_fn(|_| match self.order.lock().places[self.place].told {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// This member failed, and is to be started again: tells those that it takes along to end, and returns
    /// when they have.
    pub(crate) async fn take_along(&self, members: &[Member]) {
        let along: Vec<usize> = {
            let mut state = self.order.lock();
            let along = |at: &usize| self.order.takes(self.place, *at) && state.places[*at].follows;
            let along: Vec<usize> = (0..members.len()).filter(along).collect();
            if along.is_empty() {
                return;
            }
            state.places[self.place].holds = true;
            state.unpass(self.place);
            for at in &along {
                state.places[*at].told = true;
                state.unpass(*at);
            }
            along
        };
        changed().await;
        poll_fn(|_| match along.iter().any(|at| members[*at].is_up()) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
        .await;
    }

    /// Those that it took along may start, each in its turn.
    pub(crate) async fn release(&self) {
        self.order.lock().places[self.place].holds = false;
        changed().await;
    }

    /// Resolves when no later member that was told to end is still there.
    pub(crate) async fn later_ones_are_down(&self, members: &[Member]) {
        poll_fn(|_| {
            let state = self.order.lock();
            let up = |at: usize| state.places[at].told && members[at].is_up();
            match (self.place + 1..members.len()).any(up) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }

    /// This member is down, as it was told, and waits for its turn.
    pub(crate) async fn is_down(&self) {
        self.order.lock().places[self.place].told = false;
        changed().await;
    }

    /// This member is done; whether it was the last one at work.
    pub(crate) fn done(&self, member: &Member) -> bool {
        let mut state = self.order.lock();
        state.places[self.place].follows = false;
        if member.is_last {
            return false;
        }
        state.at_work -= 1;
        state.at_work == 0
    }
}

/// Has the task polled once more.
pub(crate) async fn changed() {
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Ready(())
    })
    .await;
}
