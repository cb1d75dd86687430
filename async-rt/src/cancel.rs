//! `CancellationToken`: a tree of tokens, each cancelled with its parent.
//!
//! A token has one lock over its waiters and children. Wakers are called, cloned and dropped only
//! after the lock is released, and no two locks are held at once.
//!
//! - **I8** A waiter that found its token alive is woken by the cancellation: it looks and registers
//!   under the lock under which `cancel` collects the waiters.
//! - **I9** A child is cancelled with its parent, also when it is made during the cancellation; and
//!   who sees a token cancelled sees what came before the `cancel`.

use crate::contain;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, lock, on, ord};
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Says that work should stop: clonable, for all threads, and hierarchical.
///
/// A [`child`](Self::child) is cancelled with its parent and not the other way round. When the last
/// clone of a child is gone it leaves its parent, so a token per connection leaves nothing behind.
///
/// ```
/// use lastout_async_rt::CancellationToken;
///
/// let parent = CancellationToken::new();
/// let child = parent.child();
/// parent.cancel();
/// assert!(child.is_cancelled());
/// ```
#[derive(Clone)]
pub struct CancellationToken {
    node: Arc<Node>,
}

/// What the clones of a token share; its end unlinks the token from its parent.
struct Node {
    state: Arc<State>,
    /// The parent, kept so that its own parents still reach this token, and the key there.
    parent: Option<(Arc<Self>, usize)>,
}

/// What a parent reaches of a child.
struct State {
    /// Set under the lock, once.
    cancelled: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Empty for good once the token is cancelled, like the children.
    waiters: slab::Slab<Waker>,
    children: slab::Slab<Arc<State>>,
}

impl State {
    fn new(cancelled: bool) -> Arc<Self> {
        let inner = Mutex::new(Inner::default());
        Arc::new(Self { cancelled: AtomicBool::new(cancelled), inner })
    }

    fn is_cancelled(&self) -> bool {
        // ORDERING: pairs with the store of `cancel`.
        self.cancelled.load(ord("i9.see", Ordering::Acquire, Ordering::Relaxed))
    }

    /// Marks this token; its waiters and children, to be told.
    fn mark(&self) -> Inner {
        let mut inner = lock(&self.inner);
        // ORDERING: pairs with `is_cancelled`, which looks without the lock.
        self.cancelled.store(true, ord("i9.mark", Ordering::Release, Ordering::Relaxed));
        mem::take(&mut *inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let Some((parent, key)) = self.parent.take() else {
            return;
        };
        let state = lock(&parent.state.inner).children.try_remove(key);
        drop(state);
    }
}

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl CancellationToken {
    /// A token without a parent.
    pub fn new() -> Self {
        Self { node: Arc::new(Node { state: State::new(false), parent: None }) }
    }

    /// A token that is cancelled with this one, at the latest.
    #[must_use]
    pub fn child(&self) -> Self {
        let mut inner = lock(&self.node.state.inner);
        let gone = self.node.state.is_cancelled() && on("i9.late_child");
        let state = State::new(gone);
        let parent = if gone {
            None
        } else {
            let key = inner.children.insert(Arc::clone(&state));
            Some((Arc::clone(&self.node), key))
        };
        drop(inner);
        Self { node: Arc::new(Node { state, parent }) }
    }

    /// Cancels this token and everything below it, and wakes who waits. Once is enough.
    pub fn cancel(&self) {
        let mut states = vec![Arc::clone(&self.node.state)];
        while let Some(state) = states.pop() {
            let Inner { waiters, children } = state.mark();
            states.extend(children.into_iter().map(|(_, child)| child));
            contain::wake_all(waiters.into_iter().map(|(_, waker)| waker));
        }
    }

    /// Whether it is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.node.state.is_cancelled()
    }

    /// Ready when the token is cancelled.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled { token: self.clone(), key: None }
    }

    /// The output of `future`, or `None` when the token is cancelled first.
    ///
    /// # Cancel safety
    /// As cancel safe as `future`.
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        let (mut future, mut cancelled) = (pin!(future), self.cancelled());
        poll_fn(|cx| match Pin::new(&mut cancelled).poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => future.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// A guard that cancels the token when it is dropped.
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }

    /// Tokens made by [`child`](Self::child) that are alive and not cancelled.
    pub fn children(&self) -> usize {
        lock(&self.node.state.inner).children.len()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken").field("cancelled", &self.is_cancelled()).finish()
    }
}

/// Ready when its token is cancelled. It allocates at most once, however often it is polled.
///
/// # Cancel safety
/// Cancel safe: a cancellation is not lost.
#[must_use = "futures do nothing unless awaited"]
pub struct Cancelled {
    token: CancellationToken,
    /// Its place among the waiters, from the first pending poll on.
    key: Option<usize>,
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let state = &this.token.node.state;
        if state.is_cancelled() {
            return Poll::Ready(());
        }
        if let Some(key) = this.key {
            let inner = lock(&state.inner);
            if inner.waiters.get(key).is_some_and(|waiter| waiter.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        // Cloning and dropping wakers runs foreign code: not under the lock.
        let waker = cx.waker().clone();
        let mut inner = lock(&state.inner);
        if state.is_cancelled() && on("i8.recheck") {
            drop(inner);
            return Poll::Ready(());
        }
        let before = match this.key.and_then(|key| inner.waiters.get_mut(key)) {
            Some(waiter) => Some(mem::replace(waiter, waker)),
            None => {
                this.key = Some(inner.waiters.insert(waker));
                None
            }
        };
        drop(inner);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let waker = lock(&self.token.node.state.inner).waiters.try_remove(key);
        drop(waker);
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled").field("token", &self.token).finish()
    }
}

/// Cancels its token when dropped, unless disarmed.
#[derive(Debug)]
#[must_use = "a guard that is dropped cancels its token at once"]
pub struct DropGuard {
    token: Option<CancellationToken>,
}

impl DropGuard {
    /// The token back, uncancelled by this guard.
    #[expect(clippy::missing_panics_doc, reason = "what it expects is an invariant of the type")]
    pub fn disarm(mut self) -> CancellationToken {
        self.token.take().expect("a guard has its token until here")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel();
        }
    }
}
