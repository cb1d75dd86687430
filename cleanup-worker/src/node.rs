//! A task in one allocation: header, what is known about it, and the task itself, later its future.
//!
//! [`Node`] owns such an allocation without knowing the type of the task, behind a thin pointer that
//! the inbox links through. Invariants:
//!
//! - A `Node` is the only owner. Between [`Node::into_raw`] and [`Node::from_raw`] the inbox owns it.
//! - The body is reached by the owner alone, so its cell needs no lock.
//! - A future, once in the body, is not moved until it is dropped there.
#![expect(unsafe_code, reason = "type erasure behind a thin pointer, and pinning in place")]

use crate::context::CleanupContext;
use crate::shared::Shared;
use crate::sync::{Arc, AtomicPtr, UnsafeCell};
use crate::task::{Cleanup, Finish, Options, Outcome};
use std::alloc::{Layout, alloc, dealloc};
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::{NonNull, without_provenance_mut};
use std::task::{Context, Poll};

/// What every node begins with, whatever its task.
#[repr(C)]
pub(crate) struct Header {
    /// The link of the inbox; see there for who may write it when.
    pub(crate) next: AtomicPtr<Self>,
    /// Keeps the queue alive that an armed node was dropped into: its guard held the only reference
    /// that is certain to exist. Plain submits go through a handle, which outlives the call. Beside
    /// `next`, so that an armed drop touches one cache line.
    pub(crate) keep: Option<Arc<Shared>>,
    vtable: &'static VTable,
    pub(crate) meta: Meta,
}

/// What is known about a task without its type.
pub(crate) struct Meta {
    pub(crate) options: Options,
    /// The process that reserved its room; in another one (after a fork) there is nothing to release.
    pub(crate) generation: u32,
    pub(crate) origin: Origin,
}

/// How a node came to its place, which says what is to be counted when it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) armed: bool,
    pub(crate) lazy: bool,
}

impl Header {
    /// The value of `next` from the moment a node is made until its producer has linked it.
    pub(crate) const PENDING: *mut Self = without_provenance_mut(1);
}

struct VTable {
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>, &CleanupContext) -> Poll<Outcome>,
    drop_body: unsafe fn(NonNull<Header>),
    layout: Layout,
}

#[repr(C)]
struct Whole<T, F, R> {
    header: Header,
    /// The function that turns the task into its future: a zero-sized function item.
    run: R,
    body: UnsafeCell<Body<T, F>>,
}

enum Body<T, F> {
    Waiting(T),
    Running(F),
    Empty,
}

impl<T, F, R> Whole<T, F, R>
where
    T: Send + 'static,
    F: Future<Output = Outcome> + Send + 'static,
    R: FnOnce(T, CleanupContext) -> F + Copy + Send + 'static,
{
    const VTABLE: &'static VTable =
        &VTable { poll: Self::poll, drop_body: Self::drop_body, layout: Layout::new::<Self>() };

    /// # Safety
    /// `header` is of a live node of this very type, owned by the caller.
    unsafe fn poll(
        header: NonNull<Header>,
        waker: &mut Context<'_>,
        cx: &CleanupContext,
    ) -> Poll<Outcome> {
        // SAFETY: by contract a live `Whole` of this type begins at `header`.
        let whole = unsafe { header.cast::<Self>().as_ref() };
        whole.body.with_mut(|body| {
            // SAFETY: the caller owns the node, and nobody else reaches a body.
            let body = unsafe { &mut *body };
            if let Body::Waiting(_) = body {
                // Not pinned yet: only a future is, and there is none.
                if let Body::Waiting(task) = std::mem::replace(body, Body::Empty) {
                    *body = Body::Running((whole.run)(task, cx.clone()));
                }
            }
            match body {
                Body::Running(future) => {
                    // SAFETY: the future stays in this allocation until `drop_body` drops it there.
                    unsafe { Pin::new_unchecked(future) }.poll(waker)
                }
                Body::Waiting(_) | Body::Empty => Poll::Ready(Ok(())),
            }
        })
    }

    /// # Safety
    /// As for `poll`; and the body is not used afterwards.
    unsafe fn drop_body(header: NonNull<Header>) {
        // SAFETY: by contract a live `Whole` of this type begins at `header`.
        let whole = unsafe { header.cast::<Self>().as_ref() };
        whole.body.with_mut(|body| {
            // SAFETY: the caller owns the node and does not touch the body again.
            unsafe { body.drop_in_place() };
        });
    }

    /// Fails when the allocator does, and then gives everything back.
    fn allocate(task: T, meta: Meta, keep: Option<Arc<Shared>>, run: R) -> Result<TypedNode<T>, T> {
        let layout = Layout::new::<Self>();
        // SAFETY: the layout is not empty, it holds a header.
        let memory = unsafe { alloc(layout) }.cast::<Self>();
        let Some(whole) = NonNull::new(memory) else {
            return Err(task);
        };
        let value = Self {
            header: Header {
                next: AtomicPtr::new(Header::PENDING),
                keep,
                vtable: Self::VTABLE,
                meta,
            },
            run,
            body: UnsafeCell::new(Body::Waiting(task)),
        };
        // SAFETY: the memory is fresh, of this layout, and nobody else knows it.
        unsafe { whole.write(value) };
        // SAFETY: it was just written, and the reference ends with the statement below.
        let body = unsafe { &whole.as_ref().body };
        let task = body.with_mut(|body| {
            // SAFETY: nobody else knows the node yet.
            match unsafe { &mut *body } {
                Body::Waiting(task) => NonNull::from(task),
                Body::Running(_) | Body::Empty => NonNull::dangling(),
            }
        });
        Ok(TypedNode { node: Node(whole.cast()), task, exact: PhantomData })
    }
}

/// The only owner of a task of unknown type.
pub(crate) struct Node(NonNull<Header>);

// SAFETY: `Node::allocate` takes only tasks and futures that are `Send`, and the header is `Send`.
unsafe impl Send for Node {}

impl Node {
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the node is live as long as its owner.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn header_mut(&mut self) -> &mut Header {
        // SAFETY: the node is live as long as its owner, and the owner is borrowed mutably.
        unsafe { self.0.as_mut() }
    }

    /// Polls the future of the task, after making it if this is the first time.
    pub(crate) fn poll(&mut self, waker: &mut Context<'_>, cx: &CleanupContext) -> Poll<Outcome> {
        let poll = self.header().vtable.poll;
        // SAFETY: the table was made for the type of this node, which `self` owns.
        unsafe { poll(self.0, waker, cx) }
    }

    /// Gives the ownership to whoever holds the pointer.
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    /// # Safety
    /// The pointer comes from `into_raw`, and its ownership comes with it.
    pub(crate) unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Self(header)
    }

    /// Frees the allocation of a node whose body is gone already.
    fn free(self) {
        let layout = self.header().vtable.layout;
        let header = self.into_raw();
        // SAFETY: owned, live, and not used after this line.
        unsafe { header.drop_in_place() };
        // SAFETY: allocated with this very layout, and all its parts are dropped or moved out.
        unsafe { dealloc(header.as_ptr().cast(), layout) };
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        /// Frees the memory also when the destructor of the body panics.
        struct Shell(NonNull<Header>);
        impl Drop for Shell {
            fn drop(&mut self) {
                Node(self.0).free();
            }
        }
        let drop_body = self.header().vtable.drop_body;
        let _shell = Shell(self.0);
        // SAFETY: the table was made for the type of this node, and `free` leaves the body alone.
        unsafe { drop_body(self.0) };
    }
}

/// A node whose task is still of known type and has not started.
pub(crate) struct TypedNode<T> {
    node: Node,
    /// Into the body of `node`, valid until the node is erased.
    task: NonNull<T>,
    /// Invariant: the table of the node was made for this very `T`, and for no subtype of it.
    exact: PhantomData<fn(T) -> T>,
}

// SAFETY: it owns a `T` and a node, which is `Send`.
unsafe impl<T: Send> Send for TypedNode<T> {}
// SAFETY: a shared reference gives nothing but `&T` and `&Meta`.
unsafe impl<T: Sync> Sync for TypedNode<T> {}

impl<T: Cleanup> TypedNode<T> {
    /// Allocates a node for the task, which comes back when the allocator fails.
    pub(crate) fn new(task: T, meta: Meta, keep: Option<Arc<Shared>>) -> Result<Self, T> {
        Whole::allocate(task, meta, keep, T::run)
    }
}

impl<T> TypedNode<T> {
    pub(crate) fn task(&self) -> &T {
        // SAFETY: the task is in the body until `self` is gone, and `self` is borrowed.
        unsafe { self.task.as_ref() }
    }

    pub(crate) fn task_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { self.task.as_mut() }
    }

    pub(crate) fn header_mut(&mut self) -> &mut Header {
        self.node.header_mut()
    }

    /// Takes the task out again and frees the node.
    pub(crate) fn into_task(self) -> T {
        // SAFETY: the task is in the body, and `free` does not drop the body.
        let task = unsafe { self.task.read() };
        self.node.free();
        task
    }

    /// Forgets the type, for the queue.
    pub(crate) fn erase(self) -> Node {
        self.node
    }
}

/// A plain future as the future of a cleanup, without a second copy of its state.
pub(crate) struct Settle<F>(F);

impl<F> Settle<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(future)
    }
}

impl<F> Future for Settle<F>
where
    F: Future,
    F::Output: Finish,
{
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        // SAFETY: the field is pinned with its wrapper: it is never moved out, `Settle` has no
        // destructor of its own and is `Unpin` only if the field is.
        let future = unsafe { self.map_unchecked_mut(|settle| &mut settle.0) };
        future.poll(cx).map(Finish::finish)
    }
}
