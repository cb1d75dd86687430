//! `CancellationToken`: a tree of tokens, each cancelled with its parent.
//!
//! The tokens of a tree share one lock. A token that has lost its last clone leaves the tree, and its
//! children go to its parent: so a loop that derives its token from the last one keeps one token, and
//! no chain is too deep to be dropped. Wakers are called, cloned and dropped after the lock.
//!
//! - **I8** A waiter that found its token alive is woken by the cancellation: it looks and registers
//!   under the lock under which `cancel` collects the waiters.
//! - **I9** A child is cancelled with its parent, even if it is made during the cancellation; and a
//!   thread that sees a token cancelled sees what came before the `cancel`.

use crate::contain;
use crate::coop::{self, Overdue};
use crate::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, lock, on, ord};
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

/// Says that work should stop: clonable, for all threads, and hierarchical.
///
/// A [`child`](Self::child) is cancelled with its parent and not the other way round. When the last
/// clone of a token is gone it leaves the tree, and its children go to its parent: a token per
/// connection leaves nothing behind, and neither does a chain of tokens.
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

/// What the clones of a token share; its end takes the token out of the tree.
struct Node {
    tree: Arc<Mutex<Tree>>,
    flag: Arc<AtomicBool>,
    /// The place in the tree, which a cancelled token has left.
    key: usize,
}

/// Tokens that are not cancelled.
#[derive(Default)]
struct Tree {
    places: slab::Slab<Place>,
}

/// A token in its tree. Children are linked to each other.
struct Place {
    /// Set under the lock, once.
    flag: Arc<AtomicBool>,
    waiters: slab::Slab<Waker>,
    parent: Option<usize>,
    first_child: Option<usize>,
    before: Option<usize>,
    after: Option<usize>,
}

impl Tree {
    fn insert(&mut self, parent: Option<usize>, flag: Arc<AtomicBool>) -> usize {
        let key = self.places.insert(Place {
            flag,
            waiters: slab::Slab::new(),
            parent: None,
            first_child: None,
            before: None,
            after: None,
        });
        if let Some(parent) = parent {
            self.link(key, parent);
        }
        key
    }

    /// Makes `key` the first child of `parent`.
    fn link(&mut self, key: usize, parent: usize) {
        let after = self.places[parent].first_child.replace(key);
        if let Some(after) = after {
            self.places[after].before = Some(key);
        }
        let place = &mut self.places[key];
        (place.parent, place.before, place.after) = (Some(parent), None, after);
    }

    /// Takes a token out of the list of its parent's children.
    fn unlink(&mut self, key: usize) {
        let Place { parent, before, after, .. } = self.places[key];
        match (before, parent) {
            (Some(before), _) => self.places[before].after = after,
            (None, Some(parent)) => self.places[parent].first_child = after,
            (None, None) => {}
        }
        if let Some(after) = after {
            self.places[after].before = before;
        }
    }

    /// Removes a token that has lost its last clone; its children go to its parent.
    fn leave(&mut self, key: usize) -> Place {
        self.unlink(key);
        let place = self.places.remove(key);
        let mut child = place.first_child;
        while let Some(key) = child {
            child = self.places[key].after;
            match place.parent {
                Some(parent) => self.link(key, parent),
                None => {
                    let child = &mut self.places[key];
                    (child.parent, child.before, child.after) = (None, None, None);
                }
            }
        }
        place
    }

    /// Marks a token and all below it, and takes them out; who waits for them.
    fn cancel(&mut self, key: usize) -> Vec<Waker> {
        self.unlink(key);
        let (mut wakers, mut below) = (Vec::new(), vec![key]);
        while let Some(key) = below.pop() {
            let place = self.places.remove(key);
            let mut child = place.first_child;
            while let Some(key) = child {
                child = self.places[key].after;
                below.push(key);
            }
            // ORDERING: pairs with `is_cancelled`, which looks without the lock.
            place.flag.store(true, ord("i9.mark", Ordering::Release, Ordering::Relaxed));
            wakers.extend(place.waiters.into_iter().map(|(_, waker)| waker));
        }
        wakers
    }
}

impl Node {
    fn is_cancelled(&self) -> bool {
        // ORDERING: pairs with the store of `cancel`.
        self.flag.load(ord("i9.see", Ordering::Acquire, Ordering::Relaxed))
    }

    /// The tree, while this token is in it.
    fn in_tree(&self) -> Option<MutexGuard<'_, Tree>> {
        let tree = lock(&self.tree);
        if self.is_cancelled() { None } else { Some(tree) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Its waiters have gone before it: each holds a clone.
        let place = self.in_tree().map(|mut tree| tree.leave(self.key));
        drop(place);
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
        let (mut tree, flag) = (Tree::default(), Arc::new(AtomicBool::new(false)));
        let key = tree.insert(None, Arc::clone(&flag));
        Self { node: Arc::new(Node { tree: Arc::new(Mutex::new(tree)), flag, key }) }
    }

    /// A token that is cancelled with this one, at the latest.
    #[must_use]
    pub fn child(&self) -> Self {
        let node = &self.node;
        let flag = Arc::new(AtomicBool::new(false));
        let mut tree = lock(&node.tree);
        if node.is_cancelled() && on("i9.late_child") {
            drop(tree);
            // Under the flag of the parent, which stays cancelled; it is in no tree.
            let (tree, flag) = (Arc::clone(&node.tree), Arc::clone(&node.flag));
            return Self { node: Arc::new(Node { tree, flag, key: usize::MAX }) };
        }
        let key = tree.insert(Some(node.key).filter(|_| !node.is_cancelled()), Arc::clone(&flag));
        drop(tree);
        Self { node: Arc::new(Node { tree: Arc::clone(&node.tree), flag, key }) }
    }

    /// Cancels this token and everything below it, and wakes all that wait. Once is enough.
    ///
    /// A waker that panics does not keep the others from being woken, nor does its panic come here.
    pub fn cancel(&self) {
        let wakers = self.node.in_tree().map(|mut tree| tree.cancel(self.node.key));
        contain::wake_all(wakers.into_iter().flatten());
    }

    /// Whether it is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
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
        let mut overdue = Overdue::default();
        // Not the budgeted poll: a task that has spent its budget is cancelled all the same.
        poll_fn(|cx| match cancelled.poll_unbudgeted(cx) {
            Poll::Ready(()) => overdue.poll(coop::has_left(), cx).map(|()| None),
            Poll::Pending => future.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// A guard that cancels the token when it is dropped.
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }

    /// Tokens right below this one that are alive and not cancelled: its children, and those of
    /// children that are gone.
    pub fn children(&self) -> usize {
        let Some(tree) = self.node.in_tree() else { return 0 };
        let first = tree.places[self.node.key].first_child;
        std::iter::successors(first, |key| tree.places[*key].after).count()
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

impl Cancelled {
    /// As `poll`, without asking the budget.
    fn poll_unbudgeted(&mut self, cx: &Context<'_>) -> Poll<()> {
        let node = &self.token.node;
        if node.is_cancelled() {
            return Poll::Ready(());
        }
        if let Some(key) = self.key {
            let Some(tree) = node.in_tree() else { return Poll::Ready(()) };
            let known = tree.places[node.key].waiters.get(key);
            if known.is_some_and(|waiter| waiter.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        // Cloning and dropping wakers runs foreign code: not under the lock.
        let waker = cx.waker().clone();
        let mut tree = lock(&node.tree);
        if node.is_cancelled() && on("i8.recheck") {
            drop(tree);
            return Poll::Ready(());
        }
        let Some(place) = tree.places.get_mut(node.key) else {
            drop(tree);
            return Poll::Pending;
        };
        let before = match self.key.and_then(|key| place.waiters.get_mut(key)) {
            Some(waiter) => Some(mem::replace(waiter, waker)),
            None => {
                self.key = Some(place.waiters.insert(waker));
                None
            }
        };
        drop(tree);
        contain::discard(before);
        Poll::Pending
    }
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let progress = ready!(coop::poll_proceed(cx));
        ready!(self.poll_unbudgeted(cx));
        progress.made();
        Poll::Ready(())
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        let (Some(key), node) = (self.key, &self.token.node) else { return };
        let waker =
            node.in_tree().and_then(|mut tree| tree.places[node.key].waiters.try_remove(key));
        contain::discard(waker);
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
