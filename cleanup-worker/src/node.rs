//! A task in one allocation: header, what is known about it, and the task itself, later its future.
//!
//! [`Node`] owns such an allocation without knowing the type of the task, behind a thin pointer that
//! the inbox links through. Invariants:
//!
//! - A `Node` is the only owner. Between [`Node::into_raw`] and [`Node::from_raw`] the inbox owns it.
//! - The body is reached by the owner alone, so its cell needs no lock.
//! - A future, once in the body, is not moved until it is dropped there.
#![expect(unsafe_code, reason = "type erasure behind a thin pointer, and pinning in place")]

use crate::config::Options;
use crate::sync::{AtomicPtr, UnsafeCell};
use std::alloc::{Layout, alloc, dealloc};
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// What a queue is made of: what an armed node keeps alive, how a task starts and how it ends.
pub(crate) trait Keep: Clone + Send + Sync + 'static {
    /// What a task is started with.
    type Context: Clone;
    /// How a task ends.
    type Outcome;
}

/// What every node begins with, whatever its task.
#[repr(C)]
pub(crate) struct Header<K: Keep> {
    /// The link of the inbox; see there for who may write it when.
    pub(crate) next: AtomicPtr<Self>,
    /// Keeps the queue alive that an armed node was dropped into: its guard held the only reference
    /// that is certain to exist. Plain submits go through a handle, which outlives the call. Beside
    /// `next`, so that an armed drop touches one cache line.
    pub(crate) keep: Option<K>,
    vtable: &'static VTable<K>,
    pub(crate) meta: Meta,
}

/// What is known about a task without its type.
#[derive(Clone, Copy)]
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

type Raw<K> = NonNull<Header<K>>;
type PollBody<K> =
    unsafe fn(Raw<K>, &mut Context<'_>, &<K as Keep>::Context) -> Poll<<K as Keep>::Outcome>;

struct VTable<K: Keep> {
    poll: PollBody<K>,
    drop_body: unsafe fn(Raw<K>),
    layout: Layout,
}

#[repr(C)]
struct Whole<K: Keep, T, F, R> {
    header: Header<K>,
    /// The function that turns the task into its future: a zero-sized function item.
    run: R,
    body: UnsafeCell<Body<T, F>>,
}

enum Body<T, F> {
    Waiting(T),
    Running(F),
    Empty,
}

impl<K, T, F, R> Whole<K, T, F, R>
where
    K: Keep,
    T: Send + 'static,
    F: Future<Output = K::Outcome> + Send + 'static,
    R: FnOnce(T, K::Context) -> F + Copy + Send + 'static,
{
    const VTABLE: &'static VTable<K> =
        &VTable { poll: Self::poll, drop_body: Self::drop_body, layout: Layout::new::<Self>() };

    /// # Safety
    /// `header` is of a live node of this very type, owned by the caller.
    unsafe fn poll(
        header: NonNull<Header<K>>,
        waker: &mut Context<'_>,
        cx: &K::Context,
    ) -> Poll<K::Outcome> {
        // SAFETY: by contract a live `Whole` of this type begins at `header`.
        let whole = unsafe { header.cast::<Self>().as_ref() };
        whole.body.with_mut(|body| {
            // SAFETY: the caller owns the node, and only the owner reaches a body.
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
                // The start panicked: the owner drops such a node and does not poll it.
                Body::Waiting(_) | Body::Empty => Poll::Pending,
            }
        })
    }

    /// # Safety
    /// As for `poll`; and the body is not used afterwards.
    unsafe fn drop_body(header: NonNull<Header<K>>) {
        // SAFETY: by contract a live `Whole` of this type begins at `header`.
        let whole = unsafe { header.cast::<Self>().as_ref() };
        whole.body.with_mut(|body| {
            // SAFETY: the caller owns the node and does not touch the body again.
            unsafe { body.drop_in_place() };
        });
    }

    /// Fails when the allocator does, and then gives everything back.
    fn allocate(task: T, run: R, meta: Meta, keep: Option<K>) -> Result<TypedNode<K, T>, T> {
        let layout = Layout::new::<Self>();
        // SAFETY: the layout is not empty, it holds a header.
        let memory = unsafe { alloc(layout) }.cast::<Self>();
        let Some(whole) = NonNull::new(memory) else {
            return Err(task);
        };
        let value = Self {
            header: Header {
                next: AtomicPtr::new(crate::inbox::unlinked(meta.origin.lazy)),
                keep,
                vtable: Self::VTABLE,
                meta,
            },
            run,
            body: UnsafeCell::new(Body::Waiting(task)),
        };
        // SAFETY: the memory is fresh, of this layout, and known to this function alone.
        unsafe { whole.write(value) };
        // SAFETY: it was just written, and the reference ends with the statement below.
        let body = unsafe { &whole.as_ref().body };
        let task = body.with_mut(|body| {
            // SAFETY: only this function knows the node yet.
            match unsafe { &mut *body } {
                Body::Waiting(task) => NonNull::from(task),
                Body::Running(_) | Body::Empty => NonNull::dangling(),
            }
        });
        Ok(TypedNode { node: Node(whole.cast()), task, exact: PhantomData })
    }
}

/// The only owner of a task of unknown type.
pub(crate) struct Node<K: Keep>(NonNull<Header<K>>);

// SAFETY: `Node::allocate` takes only tasks and futures that are `Send`, and the header is `Send`.
unsafe impl<K: Keep> Send for Node<K> {}

impl<K: Keep> Node<K> {
    pub(crate) fn header(&self) -> &Header<K> {
        // SAFETY: the node is live as long as its owner.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn header_mut(&mut self) -> &mut Header<K> {
        // SAFETY: the node is live as long as its owner, and the owner is borrowed mutably.
        unsafe { self.0.as_mut() }
    }

    /// Polls the future of the task, after making it if this is the first time.
    pub(crate) fn poll(&mut self, waker: &mut Context<'_>, cx: &K::Context) -> Poll<K::Outcome> {
        let poll = self.header().vtable.poll;
        // SAFETY: the table was made for the type of this node, which `self` owns.
        unsafe { poll(self.0, waker, cx) }
    }

    /// Moves the ownership into the pointer.
    pub(crate) fn into_raw(self) -> NonNull<Header<K>> {
        ManuallyDrop::new(self).0
    }

    /// # Safety
    /// The pointer comes from `into_raw`, and its ownership comes with it.
    pub(crate) unsafe fn from_raw(header: NonNull<Header<K>>) -> Self {
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

impl<K: Keep> Drop for Node<K> {
    fn drop(&mut self) {
        /// Frees the memory even if the destructor of the body panics.
        struct Shell<K: Keep>(NonNull<Header<K>>);
        impl<K: Keep> Drop for Shell<K> {
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
pub(crate) struct TypedNode<K: Keep, T> {
    node: Node<K>,
    /// Into the body of `node`, valid until the node is erased.
    task: NonNull<T>,
    /// Invariant: the table of the node was made for this very `T`, and for no subtype of it.
    exact: PhantomData<fn(T) -> T>,
}

// SAFETY: it owns a `T` and a node, which is `Send`.
unsafe impl<K: Keep, T: Send> Send for TypedNode<K, T> {}
// SAFETY: a shared reference gives nothing but `&T` and `&Meta`.
unsafe impl<K: Keep, T: Sync> Sync for TypedNode<K, T> {}

impl<K: Keep, T: Send + 'static> TypedNode<K, T> {
    /// Allocates a node for the task, which comes back when the allocator fails. `run` makes the task
    /// its future when it starts.
    pub(crate) fn new<F, R>(task: T, run: R, meta: Meta, keep: Option<K>) -> Result<Self, T>
    where
        F: Future<Output = K::Outcome> + Send + 'static,
        R: FnOnce(T, K::Context) -> F + Copy + Send + 'static,
    {
        Whole::allocate(task, run, meta, keep)
    }
}

impl<K: Keep, T> TypedNode<K, T> {
    pub(crate) fn task(&self) -> &T {
        // SAFETY: the task is in the body until `self` is gone, and `self` is borrowed.
        unsafe { self.task.as_ref() }
    }

    pub(crate) fn task_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { self.task.as_mut() }
    }

    pub(crate) fn header_mut(&mut self) -> &mut Header<K> {
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
    pub(crate) fn erase(self) -> Node<K> {
        self.node
    }
}
