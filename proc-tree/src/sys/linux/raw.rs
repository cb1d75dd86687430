//! System calls that may be made before an exec, in a copy of a process of many threads or in its very
//! memory: each a single call on plain memory.
#![expect(unsafe_code, reason = "raw system calls")]

use super::launch::unless_negative;
use std::os::fd::RawFd;
use std::ptr;

/// The signals that a thread holds back, as the kernel keeps them.
pub(super) type Mask = u64;

/// Forks without the handlers that libc runs around a fork: they take locks.
pub(super) fn fork() -> libc::pid_t {
    let (flags, no) = (libc::SIGCHLD as libc::c_ulong, 0 as libc::c_ulong);
    // SAFETY: without flags this is fork, with copies of all memory on both sides.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, no, no, no, no) };
    // A pid always fits.
    pid as libc::pid_t
}

/// Blocks every signal that can be, also the two that libc keeps for itself.
pub(super) fn block_all_signals() -> Mask {
    let (all, mut before): (Mask, Mask) = (Mask::MAX, 0);
    let (all, old) = (&raw const all, &raw mut before);
    // SAFETY: both sets are live and of the size that the call is told.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, all, old, size_of::<Mask>())
    };
    before
}

pub(super) fn set_mask(mask: Mask) {
    let (new, old) = (&raw const mask, ptr::null_mut::<Mask>());
    // SAFETY: the set is live and of the size that the call is told; the old one is not asked for.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, size_of::<Mask>())
    };
}

/// Gives each signal that has a handler its default action: a handler would run on memory that is not this
/// process's own. What is ignored stays ignored.
pub(super) fn drop_handlers() {
    // The kernel's own form, larger than on any architecture: the handler is its first word.
    let mut action = [0usize; 16];
    let size = size_of::<Mask>();
    for signal in 1..=64 {
        // SAFETY: the memory is writable and large enough; nothing is set.
        let outcome = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                ptr::null::<usize>(),
                action.as_mut_ptr(),
                size,
            )
        };
        if outcome == 0 && action[0] != libc::SIG_DFL && action[0] != libc::SIG_IGN {
            let default = [0usize; 16];
            // SAFETY: all zero is the default action, which runs no code.
            unsafe {
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    signal,
                    default.as_ptr(),
                    ptr::null_mut::<usize>(),
                    size,
                )
            };
        }
    }
}

/// Gives SIGPIPE its default action, as std does for its children: the runtime of Rust ignores it.
pub(super) fn heed_broken_pipes() {
    // SAFETY: sets the default action, which is a constant and runs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// A caller that ignores SIGCHLD would have the kernel wait for the children of the supervisor. Whether it does.
pub(super) fn heed_children() -> bool {
    // SAFETY: sets the default action, which is a constant and runs no code.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    before == libc::SIG_IGN
}

pub(super) fn ignore_children() {
    // SAFETY: sets a constant that runs no code.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Whether this process ignores SIGCHLD, which the programs that it starts inherit.
pub(super) fn children_are_ignored() -> bool {
    action_for_children().is_some_and(|action| action.sa_sigaction == libc::SIG_IGN)
}

/// Whether the kernel waits for the children of this process by itself.
pub(crate) fn kernel_waits_for_children() -> bool {
    action_for_children().is_some_and(|action| {
        action.sa_sigaction == libc::SIG_IGN || action.sa_flags & libc::SA_NOCLDWAIT != 0
    })
}

fn action_for_children() -> Option<libc::sigaction> {
    // SAFETY: all-zero bytes are a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the memory is writable; nothing is set.
    let known = unsafe { libc::sigaction(libc::SIGCHLD, ptr::null(), &raw mut action) } == 0;
    known.then_some(action)
}

pub(super) fn prctl(option: libc::c_int, value: libc::c_ulong) -> libc::c_int {
    let no: libc::c_ulong = 0;
    // SAFETY: the options that are used take a number.
    unsafe { libc::prctl(option, value, no, no, no) }
}

/// Leaves the table of descriptors of the caller for one of this process's own.
pub(super) fn leave_table() -> Result<(), i32> {
    // SAFETY: a system call without pointers.
    if unless_negative(unsafe { libc::unshare(libc::CLONE_FILES) }).is_ok() {
        return Ok(());
    }
    // The filters of containers refuse that call, and take this one, which here closes no descriptor.
    let (none, flag) = (libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE);
    // SAFETY: a system call without pointers.
    unless_negative(unsafe { libc::syscall(libc::SYS_close_range, none, none, flag) } as libc::c_int)
}

pub(super) fn close(fd: RawFd) {
    // SAFETY: nothing in this process uses the descriptor any more.
    unsafe { libc::close(fd) };
}

/// Reads a short file; returns how much.
pub(super) fn read_file(path: &std::ffi::CStr, into: &mut [u8]) -> usize {
    // SAFETY: the path is terminated.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    // SAFETY: the buffer is writable for its length.
    let length = unsafe { libc::read(file, into.as_mut_ptr().cast(), into.len()) };
    close(file);
    usize::try_from(length).unwrap_or(0)
}

/// The pid of this process in its own namespace.
pub(super) fn own_pid() -> libc::pid_t {
    // SAFETY: a system call without pointers. A pid always fits.
    unsafe { libc::syscall(libc::SYS_getpid) as libc::pid_t }
}

/// Waits for one child of this process.
pub(super) fn reap_one(child: libc::pid_t) {
    // SAFETY: the status is not asked for.
    unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
}

/// Ends this process at once, without running anything of the caller's.
pub(super) fn exit(code: libc::c_int) -> ! {
    // SAFETY: no code of this process runs after it.
    unsafe { libc::_exit(code) }
}
