//! Where the state of what stays on one thread lives: behind an `Rc`. The future that waits for
//! permits in it is written once.

use super::permits::{Claimed, Fresh, Permits, Place, Refused, Wakes, Woken};
use crate::coop;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Shared, mutable, and reached by short calls that run no foreign code.
pub(crate) trait Store<S>: Clone {
    fn new(state: S) -> Self;
    fn with<R>(&self, work: impl FnOnce(&mut S) -> R) -> R;
}

impl<S> Store<S> for Rc<RefCell<S>> {
    fn new(state: S) -> Self {
        Self::new(RefCell::new(state))
    }
    fn with<R>(&self, work: impl FnOnce(&mut S) -> R) -> R {
        work(&mut self.borrow_mut())
    }
}

/// A state that hands out permits.
pub(crate) trait HasPermits<W> {
    fn permits(&mut self) -> &mut Permits<W>;

    /// A waiter has left, and what it was granted may have come back.
    fn after_leave(&mut self, _woken: &mut Woken<W>) {}
}

impl<W> HasPermits<W> for Permits<W> {
    fn permits(&mut self) -> &mut Self {
        self
    }
}

/// Waits for permits; dropped in between, it passes on what it was granted.
pub(crate) struct Acquire<S, W, P>
where
    P: Store<S>,
    S: HasPermits<W>,
    W: Wakes,
{
    store: P,
    needs: usize,
    place: Option<Place>,
    _state: PhantomData<fn() -> (S, W)>,
}

impl<S: HasPermits<W>, W: Wakes, P: Store<S>> Acquire<S, W, P> {
    pub(crate) fn new(store: P, needs: usize) -> Self {
        Self { store, needs, place: None, _state: PhantomData }
    }

    /// Ready with the permits, which are the caller's from then on, or when it is closed.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<(), Refused>> {
        let progress = ready!(coop::poll_proceed(cx));
        let outcome = ready!(match self.place {
            Some(place) => self.poll_again(place, cx),
            None => self.poll_first(cx),
        });
        progress.made();
        Poll::Ready(outcome)
    }

    fn poll_again(&mut self, place: Place, cx: &Context<'_>) -> Poll<Result<(), Refused>> {
        let mut fresh = Fresh::none();
        loop {
            match self.store.with(|state| state.permits().claim(place, cx.waker(), &mut fresh)) {
                Claimed::Over(outcome) => {
                    self.place = None;
                    return Poll::Ready(outcome);
                }
                Claimed::Waits => return Poll::Pending,
                Claimed::NeedsWaker => fresh.make(cx.waker()),
            }
        }
    }

    fn poll_first(&mut self, cx: &Context<'_>) -> Poll<Result<(), Refused>> {
        match self.store.with(|state| state.permits().try_take(self.needs)) {
            Err(Refused::Full) => {}
            outcome => return Poll::Ready(outcome),
        }
        let mut fresh = Fresh::none();
        fresh.make(cx.waker());
        let (needs, place) = (self.needs, &mut self.place);
        self.store.with(|state| {
            let permits = state.permits();
            // Cloning a waker runs foreign code, which may have made room.
            match permits.try_take(needs) {
                Err(Refused::Full) => {
                    *place = Some(permits.wait(needs, &mut fresh));
                    Poll::Pending
                }
                outcome => Poll::Ready(outcome),
            }
        })
    }
}

impl<S: HasPermits<W>, W: Wakes, P: Store<S>> Drop for Acquire<S, W, P> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut woken = Woken::default();
        let own = self.store.with(|state| {
            let own = state.permits().leave(place, &mut woken);
            state.after_leave(&mut woken);
            own
        });
        drop(own);
        woken.wake();
    }
}
