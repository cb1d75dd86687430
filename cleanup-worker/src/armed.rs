//! The guard that is ready to be dropped.
//!
//! The node is taken out exactly once, by `disarm` or by the drop. No `Option` says which: the drop
//! would have to write it, and the swap waits for every store before it.
#![expect(
    unsafe_code,
    reason = "moves the node out without a flag, and pushes it without a reference"
)]

use crate::handle::{self, Task, TypedTask};
use crate::inbox::{Half, Inbox};
use crate::shared::Shared;
use crate::sync::Arc;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A guard around a task, with everything reserved that handing the task over needs. Dropping the guard
/// submits the task: one atomic swap, no allocation (while the worker runs), no refusal, on any thread, in an
/// unwind.
///
/// - Guards count towards the capacity of the worker while they live. A forgotten guard keeps its room for
///   ever; [`Stats::armed`](crate::Stats::armed) shows it.
/// - A shutdown waits for what was submitted, not for guards, and names those that it left. A guard that
///   is dropped while the shutdown still waits for other tasks runs like those. Dropped after the end, the
///   task is counted as abandoned and dropped on this thread, or on the thread that is dropping others.
/// - After a `fork` a guard is a value of both processes, and each accounts for what happens in it: dropped
///   before the worker of that process ends, the task runs there.
///
/// ```
/// use lastout_cleanup_worker::{CleanupWorker, RemoveFile};
/// use std::time::Duration;
///
/// let worker = CleanupWorker::builder().build()?;
/// # let path = std::env::temp_dir().join(format!("lastout-armed-{}", std::process::id()));
/// std::fs::write(&path, b"half written")?;
/// let guard = worker.handle().arm(RemoveFile::new(&path))?;
/// assert_eq!(guard.path(), path); // the task is accessible
/// drop(guard); // an error path; on success: `guard.disarm()`
/// worker.handle().flush_blocking(Duration::from_secs(60))?;
/// assert!(!path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The task of a guard outlives every borrow, so a guard cannot be taken for one of a shorter life:
///
/// ```compile_fail,E0597
/// # use lastout_cleanup_worker::{Armed, Cleanup, CleanupContext, CleanupWorker, Outcome};
/// struct Say<'a>(&'a str);
/// impl Cleanup for Say<'static> {
///     async fn run(self, _cx: CleanupContext) -> Outcome {
///         Ok(())
///     }
/// }
/// let worker = CleanupWorker::builder().build().unwrap();
/// let text = String::from("dropped before the worker reads it");
/// let mut guard: Armed<Say<'_>> = worker.handle().arm(Say("for ever")).unwrap();
/// *guard = Say(&text);
/// ```
///
/// A guard is used up by [`disarm`](Self::disarm), and its task leaves it in no other way:
///
/// ```compile_fail,E0382
/// # use lastout_cleanup_worker::{Armed, RemoveFile};
/// fn twice(guard: Armed<RemoveFile>) -> (RemoveFile, RemoveFile) {
///     (guard.disarm(), guard.disarm())
/// }
/// ```
///
/// ```compile_fail,E0507
/// # use lastout_cleanup_worker::{Armed, RemoveFile};
/// fn take(guard: Armed<RemoveFile>) -> RemoveFile {
///     *guard
/// }
/// ```
///
/// Threads share a guard only if they may share its task:
///
/// ```compile_fail,E0277
/// # use lastout_cleanup_worker::Armed;
/// fn shared<T: Sync>() {}
/// shared::<Armed<std::cell::Cell<u8>>>();
/// ```
#[must_use = "dropping the guard hands the task over"]
pub struct Armed<T: 'static> {
    /// Present until `disarm` or the drop takes it.
    node: ManuallyDrop<TypedTask<T>>,
}

impl<T: 'static> Armed<T> {
    pub(crate) fn new(node: TypedTask<T>) -> Self {
        let node = ManuallyDrop::new(node);
        Self { node }
    }

    /// Gives the task back, unrun, and frees its room.
    pub fn disarm(self) -> T {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: the guard is given up here, and its drop does not run.
        let node = unsafe { ManuallyDrop::take(&mut this.node) };
        handle::disarm(node)
    }

    /// Hands the task over now. Dropping the guard has this effect too; the call makes it visible.
    pub fn submit(self) {}
}

impl<T: 'static> Deref for Armed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.node.task()
    }
}

impl<T: 'static> DerefMut for Armed<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.node.task_mut()
    }
}

impl<T: 'static> Drop for Armed<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: a drop runs once, and not after `disarm`.
        let node = unsafe { ManuallyDrop::take(&mut self.node) };
        push(node.erase());
    }
}

/// Behind an unwind a guard still does the one thing it is for: its task is handed over, and runs inside
/// a panic barrier.
impl<T: 'static> UnwindSafe for Armed<T> {}
impl<T: 'static> RefUnwindSafe for Armed<T> {}

impl<T: 'static> fmt::Debug for Armed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Armed").finish_non_exhaustive()
    }
}

/// Hands over an armed node, which itself keeps alive the queue it is pushed to. The usual case needs no
/// stack frame: a swap waits for every store before it.
#[inline]
pub(crate) fn push(node: Task) {
    let keep = node.header().keep.as_ref();
    let Some(shared) = keep.filter(|shared| shared.is_settled()).map(Arc::as_ptr) else {
        return handle::push_unsettled(node);
    };
    // SAFETY: the node's reference is dropped by the taker, and it can take the node only once it is
    // linked, which is the last thing that a push does with the queue.
    let inbox = unsafe { (*shared).inbox() };
    let half = inbox.swap_in(node);
    if half.is_special() {
        return push_special(inbox, half);
    }
    let _ = inbox.link(half);
}

#[cold]
#[inline(never)]
fn push_special(inbox: &Inbox<Arc<Shared>>, half: Half<Arc<Shared>>) {
    handle::after(inbox.link(half), None);
}
