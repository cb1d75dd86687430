//! `clone3`, with a child that runs a function on a stack of its own.
//!
//! It starts a process inside of its cgroup. The other way in, a write to `cgroup.procs`, takes a lock of the
//! whole machine, which can cost milliseconds when nobody has moved a process for a while. It also clears
//! the handlers of signals, which are 64 calls otherwise. Libc offers no such function, so the few lines that
//! leave the caller's stack are written here, for the architectures that they were written for.
#![expect(unsafe_code, reason = "a system call that returns twice")]

use super::birth::Entry;
use std::os::fd::RawFd;
use std::sync::OnceLock;

/// What the kernel is told. Version 2 of the structure, Linux 5.7.
#[derive(Debug, Default)]
#[repr(C, align(8))]
pub(super) struct Arguments {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    pub(super) cgroup: u64,
}

const PARENT_SETTID: u64 = 1 << 20;
const CLEAR_SIGHAND: u64 = 1 << 32;
const INTO_CGROUP: u64 = 1 << 33;

impl Arguments {
    /// Flags as `clone` takes them, with the signal of the end in the low byte.
    pub(super) fn new(flags: libc::c_int, stack: (usize, usize), pidfd: *mut RawFd) -> Self {
        let flags = u64::from(flags as u32);
        Self {
            flags: (flags & !0xff) | CLEAR_SIGHAND,
            exit_signal: flags & 0xff,
            pidfd: pidfd.addr() as u64,
            stack: stack.0 as u64,
            stack_size: stack.1 as u64,
            ..Self::default()
        }
    }

    /// Has the kernel write the pid here once the process is made, and before it runs. It writes the pidfd
    /// earlier, also of a process that it then does not make.
    pub(super) fn noting_success(mut self, place: *mut libc::pid_t) -> Self {
        self.flags |= PARENT_SETTID;
        self.parent_tid = place.addr() as u64;
        self
    }

    /// Starts the process in the cgroup of this directory.
    pub(super) fn into_cgroup(mut self, directory: RawFd) -> Self {
        self.flags |= INTO_CGROUP;
        self.cgroup = u64::from(directory as u32);
        self
    }
}

/// Whether the kernel takes the call, and no filter refuses it. Asked once, while no signal is blocked: a
/// filter may answer by a signal.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let nothing: *const Arguments = std::ptr::null();
        // SAFETY: a size of 0 is refused before anything is read.
        unsafe { libc::syscall(libc::SYS_clone3, nothing, 0) };
        cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
            && super::launch::errno() == libc::EINVAL
    })
}

/// Makes a process that runs `entry`; its pid, or a negative error.
///
/// # Safety
///
/// The stack in the arguments is in use by nobody else. With a shared memory the caller leaves both alone until
/// the process has called exec or ended. `entry` does not return.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn clone3(
    arguments: &Arguments,
    entry: Entry,
    order: *mut libc::c_void,
) -> isize {
    let pid: isize;
    // SAFETY: the parent goes on behind the block with the registers that the call changes. The child has a
    // stack of its own, and leaves it for `entry` alone.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, {order}",
            "call {entry}",
            "ud2",
            "2:",
            order = in(reg) order,
            entry = in(reg) entry,
            inlateout("rax") libc::SYS_clone3 as isize => pid,
            in("rdi") std::ptr::from_ref(arguments),
            in("rsi") size_of::<Arguments>(),
            out("rcx") _,
            out("r11") _,
        );
    }
    pid
}

/// As above.
///
/// # Safety
///
/// As above.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn clone3(
    arguments: &Arguments,
    entry: Entry,
    order: *mut libc::c_void,
) -> isize {
    let pid: isize;
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, {order}",
            "blr {entry}",
            "brk 1",
            "2:",
            order = in(reg) order,
            entry = in(reg) entry,
            in("x8") libc::SYS_clone3,
            inlateout("x0") std::ptr::from_ref(arguments) => pid,
            in("x1") size_of::<Arguments>(),
        );
    }
    pid
}

/// Not written for this architecture.
///
/// # Safety
///
/// It does nothing.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) unsafe fn clone3(_: &Arguments, _: Entry, _: *mut libc::c_void) -> isize {
    -(libc::ENOSYS as isize)
}
