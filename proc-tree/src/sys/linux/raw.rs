//! System calls that may be made between fork and exec, in a copy of a process of many threads: each a
//! single call on plain memory.
#![expect(unsafe_code, reason = "raw system calls")]

use super::launch::check;
use std::io;
use std::os::fd::RawFd;
use std::ptr;

/// Forks without the handlers that libc runs around a fork: they take locks.
pub(super) fn fork() -> libc::pid_t {
    let (flags, no) = (libc::SIGCHLD as libc::c_ulong, 0 as libc::c_ulong);
    // SAFETY: without flags this is fork, with copies of all memory on both sides.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, no, no, no, no) };
    // A pid always fits.
    pid as libc::pid_t
}

pub(super) fn block_all_signals() -> io::Result<libc::sigset_t> {
    // SAFETY: all-zero bytes are a valid set, a plain array of integers.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `all` is writable.
    unsafe { libc::sigfillset(&raw mut all) };
    let mut before = all;
    // SAFETY: both sets are live, and `before` is writable.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut before) })?;
    Ok(before)
}

pub(super) fn set_mask(mask: &libc::sigset_t) {
    // SAFETY: the set is live; the old one is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
}

/// A descriptor that is readable when a child has ended. A caller that ignores the signal would have
/// its children waited for by the kernel, so the default is put back.
pub(super) fn watch_children() -> RawFd {
    // SAFETY: sets the default action, which is a constant and runs no code.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    // SAFETY: all-zero bytes are a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is writable.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
    // SAFETY: `set` is live.
    unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }
}

/// Closes everything that was inherited: pipes must see their end when the tree is gone.
pub(super) fn keep_only(mut kept: [RawFd; 3]) {
    kept.sort_unstable();
    let mut from = 0;
    for fd in kept {
        if fd >= from {
            close_range(from, fd - 1);
            from = fd + 1;
        }
    }
    close_range(from, RawFd::MAX);
}

pub(super) fn close_range(from: RawFd, to: RawFd) {
    if from > to {
        return;
    }
    let (first, last) = (from.cast_unsigned(), to.cast_unsigned());
    // SAFETY: nothing in this process uses the descriptors any more.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if outcome != 0 {
        // Older than Linux 5.9: one by one, as far as descriptors usually go.
        (from..=to.min(65_535)).for_each(close);
    }
}

pub(super) fn poll_in(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

pub(super) fn prctl(option: libc::c_int, value: libc::c_ulong) {
    let no: libc::c_ulong = 0;
    // SAFETY: the options that are used take a number, or a name that is terminated.
    unsafe { libc::prctl(option, value, no, no, no) };
}

pub(super) fn open(path: &std::ffi::CStr) -> RawFd {
    // SAFETY: the path is terminated.
    unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }
}

pub(super) fn close(fd: RawFd) {
    // SAFETY: nothing in this process uses the descriptor any more.
    unsafe { libc::close(fd) };
}

pub(super) fn read(fd: RawFd, into: &mut [u8]) -> isize {
    // SAFETY: the buffer is writable for its length.
    unsafe { libc::read(fd, into.as_mut_ptr().cast(), into.len()) }
}

/// Reads a short file; returns how much.
pub(super) fn read_file(path: &std::ffi::CStr, into: &mut [u8]) -> usize {
    let file = open(path);
    let length = read(file, into);
    close(file);
    usize::try_from(length).unwrap_or(0)
}

pub(super) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
