//! Starts a process without copying the caller: the new one borrows the caller's memory until its exec.
//!
//! `clone` with `CLONE_VM` and `CLONE_VFORK` suspends the calling thread until the child has called exec or
//! has ended. The other threads go on, so everything that the child reads is prepared before and owned by
//! the caller, and the child writes to its own stack and to the page of [`Told`](super::told::Told) alone. All
//! signals are blocked, so that no handler of the caller runs in the child.
//!
//! ```text
//!   caller ── clone ── root: join, take place, exec
//!
//!   caller ── clone ── supervisor ── clone ── root: join, take place, exec
//!     └── waits for its message ──── exec of the helper, once the root has called exec
//! ```
//!
//! The root may stop its supervisor as soon as it runs. So the caller is not suspended for that one: it waits
//! for a message and lets it go on meanwhile. Neither uses what threads of libc share but `errno`, and the
//! caller does not use that while it waits. Without the helper program the supervisor is a copy of the
//! caller: the same steps without `CLONE_VM`.
#![expect(unsafe_code, reason = "a child that borrows memory, and what it calls before its exec")]

use super::clone3::{self, Arguments, clone3};
use super::launch::{Fault, Launch, unless_negative};
use super::pidfd::{Pidfd, wait_readable};
use super::raw::{
    Mask, block_all_signals, children_are_ignored, drop_handlers, exit, heed_broken_pipes,
    heed_children, ignore_children, leave_table, own_pid, prctl, set_mask,
};
use super::recipe::{Recipe, change_user, execute};
use super::supervise::{Supervise, give_up, prepare};
use crate::error::SpawnStep;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant};

/// Processes that have just been started, held from their birth on.
#[derive(Debug)]
pub(crate) struct Born {
    pub(crate) root: libc::pid_t,
    pub(crate) pidfd: Pidfd,
    pub(crate) supervisor: Option<(libc::pid_t, Pidfd)>,
}

/// What a child reads; it lives on the stack of the caller, which waits.
struct Order<'a> {
    recipe: &'a Recipe,
    launch: &'a Launch,
    mask: Mask,
    /// The caller ignores SIGCHLD, and its children inherit that.
    ignores_children: bool,
    /// Where the stack of the root ends, of which it uses the upper end first.
    root_stack: *mut libc::c_void,
    /// `clone3` is there for the root.
    has_clone3: bool,
    /// The supervisor has a copy of the memory, and not the caller's own.
    is_copy: bool,
}

/// Starts the program. `news` is the caller's end of the socket to a supervisor.
///
/// # Errors
///
/// With the step that failed and the exact error. Then nothing runs.
pub(crate) fn start(
    recipe: &Recipe,
    launch: &Launch,
    news: Option<BorrowedFd<'_>>,
) -> Result<Born, Fault> {
    let failed = |error: io::Error| Fault {
        step: SpawnStep::Process,
        errno: error.raw_os_error().unwrap_or(libc::EAGAIN),
    };
    let stacks = Stacks::new().map_err(failed)?;
    let supervise = launch.supervise.as_ref();
    let is_copy = supervise.is_some_and(|supervise| supervise.helper.is_none());
    let mut flags = libc::CLONE_PIDFD | libc::SIGCHLD;
    if supervise.is_some() {
        // The pidfd of the root appears in the caller's own table.
        flags |= libc::CLONE_FILES;
    }
    if supervise.is_some_and(|supervise| supervise.namespace) {
        flags |= libc::CLONE_NEWPID;
    }
    if !is_copy {
        flags |= libc::CLONE_VM;
    }
    if supervise.is_none() {
        flags |= libc::CLONE_VFORK;
    }
    let changes_user = recipe.user.user.is_some() || recipe.user.group.is_some();
    let dumpable = changes_user.then(|| prctl(libc::PR_GET_DUMPABLE, 0));
    let has_clone3 = clone3::is_available();
    let mask = block_all_signals();
    let order = Order {
        recipe,
        launch,
        mask,
        ignores_children: children_are_ignored(),
        root_stack: stacks.top_of_root(),
        has_clone3,
        is_copy,
    };
    let mut pidfd = -1;
    let pid = match supervise {
        Some(_) => clone(in_supervisor, stacks.top(), flags, &order, &raw mut pidfd),
        None => make_root(&order, flags, &raw mut pidfd),
    };
    let born = pid.map_err(|errno| Fault { step: SpawnStep::Process, errno }).map(|pid| {
        // SAFETY: the kernel has put the descriptor into this table, for this call alone.
        (pid, unsafe { Pidfd::from_owned(OwnedFd::from_raw_fd(pidfd)) })
    });
    let outcome = born.and_then(|(pid, pidfd)| match news {
        Some(news) => await_supervised(launch, pid, pidfd, news.as_fd()),
        None => Ok(Born { root: pid, pidfd, supervisor: None }),
    });
    set_mask(mask);
    // A change of the user clears this mark of the memory, which is the caller's.
    if dumpable == Some(1) {
        prctl(libc::PR_SET_DUMPABLE, 1);
    }
    let born = outcome?;
    match launch.told.failure() {
        Some((step, errno)) => {
            born.conclude();
            Err(Fault { step, errno })
        }
        None => Ok(born),
    }
}

impl Born {
    /// Waits for processes that have failed, and so have ended or are about to.
    fn conclude(self) {
        let first = self.supervisor.map_or(self.pidfd, |(_, pidfd)| pidfd);
        let _ = wait_readable(first.as_fd(), Instant::now() + FAREWELL);
        let _ = first.reap();
    }
}

/// How long a process takes to end that has called exit.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often a supervisor is let go on that has not sent its first message.
const NUDGE: Duration = Duration::from_millis(5);

/// Takes hold of the root once the supervisor has started it.
fn await_supervised(
    launch: &Launch,
    pid: libc::pid_t,
    supervisor: Pidfd,
    news: BorrowedFd<'_>,
) -> Result<Born, Fault> {
    let told = &launch.told;
    let in_namespace = launch.supervise.as_ref().is_some_and(|supervise| supervise.namespace);
    await_ready(news, &supervisor);
    let until = Instant::now() + FAREWELL;
    while told.root_may_come() && Instant::now() < until {
        // Somebody has killed the supervisor in the moment in which it made the root, whose first step says
        // that it is there.
        std::thread::yield_now();
    }
    // SAFETY: the root was made, and the kernel has put its descriptor into this table, for this call alone.
    let root = told.root_pidfd().map(|fd| unsafe { Pidfd::from_owned(OwnedFd::from_raw_fd(fd)) });
    match root {
        Some(pidfd) if told.root_runs() => {
            let root = told.pid_of_root(in_namespace, &pidfd);
            return Ok(Born { root, pidfd, supervisor: Some((pid, supervisor)) });
        }
        // It has failed and ended, or somebody has killed the supervisor and it may still borrow this memory.
        Some(root) => {
            let number = told.pid_of_root(in_namespace, &root);
            let _ = root.signal(crate::signal::Signal::KILL);
            while !root.is_dead() {
                let _ = wait_readable(root.as_fd(), Instant::now() + FAREWELL);
            }
            // It may have started others before: its tree is there to find and end them.
            if told.failure().is_none() && number > 0 {
                return Ok(Born { root: number, pidfd: root, supervisor: Some((pid, supervisor)) });
            }
        }
        None => {}
    }
    let _ = wait_readable(supervisor.as_fd(), Instant::now() + FAREWELL);
    let _ = supervisor.reap();
    match told.failure() {
        Some((step, errno)) => Err(Fault { step, errno }),
        None => Err(Fault { step: SpawnStep::Supervisor, errno: libc::ECHILD }),
    }
}

/// Waits until a supervisor has sent its first message or has ended. Its root may have stopped it before.
pub(crate) fn await_ready(news: BorrowedFd<'_>, supervisor: &Pidfd) {
    use rustix::net::{RecvFlags, recv};
    let is_ready = || matches!(recv(news, &mut [0; 1][..], RecvFlags::DONTWAIT), Ok((1, _)));
    while !is_ready() && !supervisor.is_dead() {
        if !wait_readable(news, Instant::now() + NUDGE).unwrap_or(false) {
            let _ = supervisor.signal(crate::signal::Signal::CONT);
        }
    }
}

pub(super) type Entry = extern "C" fn(*mut libc::c_void) -> libc::c_int;

/// Makes a process that runs `entry` on the stack that ends at `top`; its pid.
fn clone(
    entry: Entry,
    top: *mut libc::c_void,
    flags: libc::c_int,
    order: &Order<'_>,
    pidfd: *mut RawFd,
) -> Result<libc::pid_t, i32> {
    let at: *mut libc::c_void = ptr::from_ref(order).cast_mut().cast();
    // SAFETY: the stack is large enough and in use by nobody else, and with a shared memory this thread
    // waits until the child has left it, in here or for its message. `entry` returns nowhere: it ends the
    // process. The kernel writes the pidfd.
    let pid = unsafe { libc::clone(entry, top, flags, at, pidfd) };
    match unless_negative(pid) {
        Ok(()) => Ok(pid),
        // Some kernels and filters refuse to share memory. A copy does the same, and takes longer.
        Err(libc::EINVAL | libc::EPERM | libc::ENOSYS) if flags & libc::CLONE_VM != 0 => {
            clone(entry, top, flags & !libc::CLONE_VM, order, pidfd)
        }
        Err(errno) => Err(errno),
    }
}

/// Makes the root, in its cgroup from the first moment on where the kernel can; its pid.
fn make_root(order: &Order<'_>, flags: libc::c_int, pidfd: *mut RawFd) -> Result<libc::pid_t, i32> {
    if order.has_clone3 {
        let base = order.root_stack.wrapping_byte_sub(STACK).addr();
        let arguments = Arguments::new(flags, (base, STACK), pidfd);
        let mut arguments = arguments.noting_success(order.launch.told.root_is_made_place());
        if let Some(directory) = order.launch.directory {
            arguments = arguments.into_cgroup(directory);
        }
        let at = ptr::from_ref(order).cast_mut().cast();
        // SAFETY: as for `clone`.
        let outcome = unsafe { clone3(&arguments, in_cleared_root, at) };
        // What is refused otherwise is tried the other way, which says exactly what is wrong.
        match libc::c_int::try_from(outcome.wrapping_neg()).unwrap_or(0) {
            error @ (libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => {
                return Err(error);
            }
            ..=0 => return Ok(outcome as libc::pid_t),
            _ => {}
        }
    }
    order.launch.told.set_root_comes(true);
    let root = clone(in_root, order.root_stack, flags, order, pidfd);
    match root {
        Ok(pid) => order.launch.told.set_root_is_made(pid),
        Err(_) => order.launch.told.set_root_comes(false),
    }
    root
}

extern "C" fn in_root(order: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `start` passes its order, which lives until the process has left its memory.
    let order = unsafe { &*order.cast::<Order<'_>>() };
    order.launch.told.set_root_is_made(own_pid());
    run_root(order, false)
}

/// The root, when its handlers are gone and it is in its cgroup already.
extern "C" fn in_cleared_root(order: *mut libc::c_void) -> libc::c_int {
    // SAFETY: as in `in_root`.
    let order = unsafe { &*order.cast::<Order<'_>>() };
    run_root(order, true)
}

extern "C" fn in_supervisor(order: *mut libc::c_void) -> libc::c_int {
    // SAFETY: as in `in_root`.
    let order = unsafe { &*order.cast::<Order<'_>>() };
    match order.launch.supervise.as_ref() {
        Some(supervise) => run_supervisor(order, supervise),
        None => exit(127),
    }
}

fn run_supervisor(order: &Order<'_>, supervise: &Supervise) -> ! {
    let told = &order.launch.told;
    prepare();
    heed_children();
    let memory = if order.is_copy { 0 } else { libc::CLONE_VM };
    let flags = memory | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let root = match make_root(order, flags, told.root_pidfd_place()) {
        Ok(root) => root,
        Err(errno) => {
            told.fail(Fault { step: SpawnStep::Process, errno });
            exit(127);
        }
    };
    if told.failure().is_some() {
        super::raw::reap_one(root);
        exit(127);
    }
    told.set_root_runs();
    if let Err(errno) = leave_table() {
        give_up(told, root, errno);
    }
    supervise.go_on(told, root, !order.is_copy)
}

fn run_root(order: &Order<'_>, is_cleared: bool) -> ! {
    let fault = match become_root(order, is_cleared) {
        Err(fault) => fault,
        Ok(()) => Fault { step: SpawnStep::Program, errno: execute(order.recipe) },
    };
    order.launch.told.fail(fault);
    exit(127)
}

/// Everything before the exec, in the order of std where std does the same.
fn become_root(order: &Order<'_>, is_cleared: bool) -> Result<(), Fault> {
    let at = |step| move |errno| Fault { step, errno };
    if !is_cleared {
        drop_handlers();
    }
    heed_broken_pipes();
    if order.ignores_children {
        ignore_children();
    }
    if let Some(supervise) = &order.launch.supervise {
        supervise.begin_root(&order.launch.told, supervise.namespace)?;
    }
    order.launch.join(is_cleared)?;
    change_user(&order.recipe.user).map_err(at(SpawnStep::User))?;
    if let Some(directory) = &order.recipe.directory {
        // SAFETY: the path is terminated.
        let outcome = unsafe { libc::chdir(directory.as_ptr()) };
        unless_negative(outcome).map_err(at(SpawnStep::Directory))?;
    }
    set_mask(order.mask);
    Ok(())
}

/// Two stacks, each above a page that faults when a stack grows into it.
struct Stacks(*mut libc::c_void);

/// What a child needs is far less; only the pages that are touched become memory.
const STACK: usize = 64 * 1024;
/// Larger than a page of any architecture.
const GUARD: usize = 64 * 1024;
const WHOLE: usize = 2 * (GUARD + STACK);

impl Stacks {
    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        // SAFETY: a new mapping touches no memory that is in use.
        let at = unsafe { libc::mmap(ptr::null_mut(), WHOLE, libc::PROT_NONE, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stacks = Self(at);
        for top in [stacks.top_of_root(), stacks.top()] {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: the range lies in the new mapping.
            let outcome =
                unsafe { libc::mprotect(top.wrapping_byte_sub(STACK), STACK, protection) };
            unless_negative(outcome).map_err(io::Error::from_raw_os_error)?;
        }
        Ok(stacks)
    }

    /// Stacks grow down, from here.
    fn top(&self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(WHOLE)
    }

    fn top_of_root(&self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(WHOLE / 2)
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        // SAFETY: the children that had these stacks have called exec or ended.
        unsafe { libc::munmap(self.0, WHOLE) };
    }
}
