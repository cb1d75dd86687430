//! System calls straight to the kernel, without libc: what a supervisor is made of.
//!
//! This file and `watch.rs` are compiled twice: into the crate, for the supervisor that is a copy of the
//! caller, and into the helper program. They use `core` alone, allocate nothing, keep nothing in memory
//! that threads share, and cannot panic.
#![allow(unsafe_code, reason = "raw system calls")]

/// What the kernel calls a process.
pub(crate) type RawPid = i32;

#[cfg(target_arch = "x86_64")]
mod arch {
    pub(super) const READ: usize = 0;
    pub(super) const WRITE: usize = 1;
    pub(super) const CLOSE: usize = 3;
    pub(super) const MMAP: usize = 9;
    pub(super) const SENDTO: usize = 44;
    pub(super) const WAIT4: usize = 61;
    pub(super) const KILL: usize = 62;
    pub(super) const CHDIR: usize = 80;
    pub(super) const SETPGID: usize = 109;
    pub(super) const GETPGID: usize = 121;
    pub(super) const PRCTL: usize = 157;
    pub(super) const GETDENTS64: usize = 217;
    pub(super) const CLOCK_GETTIME: usize = 228;
    pub(super) const EXIT_GROUP: usize = 231;
    pub(super) const OPENAT: usize = 257;
    pub(super) const UNLINKAT: usize = 263;
    pub(super) const PPOLL: usize = 271;
    pub(super) const SIGNALFD4: usize = 289;
    pub(super) const PRLIMIT64: usize = 302;
    pub(super) const MUNMAP: usize = 11;

    pub(super) unsafe fn call(number: usize, a: [usize; 6]) -> isize {
        let out: isize;
        // SAFETY: the instruction enters the kernel, which changes these registers and no others; the
        // caller answers for the arguments.
        unsafe {
            core::arch::asm!("syscall", inlateout("rax") number as isize => out, in("rdi") a[0],
                in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
                lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        out
    }
}

#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
mod arch {
    pub(super) const UNLINKAT: usize = 35;
    pub(super) const CHDIR: usize = 49;
    pub(super) const OPENAT: usize = 56;
    pub(super) const CLOSE: usize = 57;
    pub(super) const GETDENTS64: usize = 61;
    pub(super) const READ: usize = 63;
    pub(super) const WRITE: usize = 64;
    pub(super) const PPOLL: usize = 73;
    pub(super) const SIGNALFD4: usize = 74;
    pub(super) const EXIT_GROUP: usize = 94;
    pub(super) const CLOCK_GETTIME: usize = 113;
    pub(super) const KILL: usize = 129;
    pub(super) const SETPGID: usize = 154;
    pub(super) const GETPGID: usize = 155;
    pub(super) const PRCTL: usize = 167;
    pub(super) const SENDTO: usize = 206;
    pub(super) const MUNMAP: usize = 215;
    pub(super) const MMAP: usize = 222;
    pub(super) const WAIT4: usize = 260;
    pub(super) const PRLIMIT64: usize = 261;

    #[cfg(target_arch = "aarch64")]
    pub(super) unsafe fn call(number: usize, a: [usize; 6]) -> isize {
        let out: isize;
        // SAFETY: the instruction enters the kernel, which changes the first register and no other; the
        // caller answers for the arguments.
        unsafe {
            core::arch::asm!("svc 0", in("x8") number, inlateout("x0") a[0] as isize => out,
                in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
                options(nostack));
        }
        out
    }

    #[cfg(target_arch = "riscv64")]
    pub(super) unsafe fn call(number: usize, a: [usize; 6]) -> isize {
        let out: isize;
        // SAFETY: the instruction enters the kernel, which changes the first register and no other; the
        // caller answers for the arguments.
        unsafe {
            core::arch::asm!("ecall", in("a7") number, inlateout("a0") a[0] as isize => out,
                in("a1") a[1], in("a2") a[2], in("a3") a[3], in("a4") a[4], in("a5") a[5],
                options(nostack));
        }
        out
    }
}

/// Not written for this architecture: every call is refused, and `can_supervise` says so before.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod arch {
    macro_rules! unknown {
        ($($name:ident)*) => { $(pub(super) const $name: usize = 0;)* };
    }
    unknown!(READ WRITE CLOSE MMAP SENDTO WAIT4 KILL CHDIR SETPGID GETPGID PRCTL GETDENTS64 CLOCK_GETTIME);
    unknown!(EXIT_GROUP OPENAT UNLINKAT PPOLL SIGNALFD4 PRLIMIT64 MUNMAP);

    pub(super) unsafe fn call(_: usize, _: [usize; 6]) -> isize {
        const NOT_THERE: isize = -38;
        NOT_THERE
    }
}

const PIDFD_SEND_SIGNAL: usize = 424;
const PIDFD_OPEN: usize = 434;
const CLOSE_RANGE: usize = 436;

const HERE: usize = -100isize as usize;
const IN: i16 = 1;

/// Descriptors and numbers go to the kernel as its words; a negative one stays negative.
fn word(number: i32) -> usize {
    number as isize as usize
}

fn call(number: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    // SAFETY: every caller in this file passes numbers, or memory that is live and of the size that the
    // call is told; none of the calls changes the memory of this process otherwise.
    unsafe { arch::call(number, [a, b, c, d, 0, 0]) }
}

/// Reads what there is; negative on an error.
pub(crate) fn read(fd: i32, into: &mut [u8]) -> isize {
    call(arch::READ, word(fd), into.as_mut_ptr() as usize, into.len(), 0)
}

pub(crate) fn write(fd: i32, bytes: &[u8]) -> isize {
    call(arch::WRITE, word(fd), bytes.as_ptr() as usize, bytes.len(), 0)
}

/// Sends one message without waiting; a receiver that is gone needs none.
pub(crate) fn send(fd: i32, message: &[u8]) {
    const NOSIGNAL_DONTWAIT: usize = 0x4040;
    call(arch::SENDTO, word(fd), message.as_ptr() as usize, message.len(), NOSIGNAL_DONTWAIT);
}

pub(crate) fn close(fd: i32) {
    call(arch::CLOSE, word(fd), 0, 0, 0);
}

/// Opens to read. The path ends with a NUL.
pub(crate) fn open(path: &[u8]) -> i32 {
    call(arch::OPENAT, HERE, path.as_ptr() as usize, 0, 0) as i32
}

/// Reads the entries of an open directory as the kernel writes them; 0 at the end.
pub(crate) fn entries(directory: i32, into: &mut [u8]) -> isize {
    call(arch::GETDENTS64, word(directory), into.as_mut_ptr() as usize, into.len(), 0)
}

/// Closes all descriptors from this one on.
pub(crate) fn close_from(first: i32) {
    if call(CLOSE_RANGE, word(first), u32::MAX as usize, 0, 0) < 0 {
        // Older than Linux 5.9: one by one, as far as descriptors usually go.
        (first..65_536).for_each(close);
    }
}

/// Waits for a child that has ended: its pid and status, 0 when none has, negative when none is left.
pub(crate) fn reap() -> (RawPid, i32) {
    const ANY: usize = usize::MAX;
    const NOHANG: usize = 1;
    let mut status = 0i32;
    let pid = call(arch::WAIT4, ANY, &raw mut status as usize, NOHANG, 0);
    (pid as RawPid, status)
}

pub(crate) fn kill(pid: RawPid, signal: i32) {
    call(arch::KILL, word(pid), word(signal), 0, 0);
}

pub(crate) fn hold(pid: RawPid) -> i32 {
    call(PIDFD_OPEN, word(pid), 0, 0, 0) as i32
}

pub(crate) fn signal(pidfd: i32, signal: i32) -> bool {
    call(PIDFD_SEND_SIGNAL, word(pidfd), word(signal), 0, 0) == 0
}

pub(crate) fn group_of(pid: RawPid) -> RawPid {
    call(arch::GETPGID, word(pid), 0, 0, 0) as RawPid
}

pub(crate) fn lead_a_group() {
    call(arch::SETPGID, 0, 0, 0, 0);
}

/// Names the process. The name ends with a NUL and has 16 bytes at most.
pub(crate) fn set_name(name: &[u8; 16]) {
    const SET_NAME: usize = 15;
    call(arch::PRCTL, SET_NAME, name.as_ptr() as usize, 0, 0);
}

/// Lets this process go on, if it is stopped, whenever the thread ends that started it or that it falls to: so also
/// when the process of that thread is killed. What runs takes no notice.
pub(crate) fn go_on_without_parent() {
    const SET_PDEATHSIG: usize = 1;
    const SIGCONT: usize = 18;
    call(arch::PRCTL, SET_PDEATHSIG, SIGCONT, 0, 0);
}

/// Leaves the directory of the caller alone, so that it can be unmounted.
pub(crate) fn go_to_root() {
    call(arch::CHDIR, c"/".as_ptr() as usize, 0, 0, 0);
}

/// Removes an empty directory. The path ends with a NUL.
pub(crate) fn remove_directory(path: &[u8]) {
    const REMOVEDIR: usize = 0x200;
    call(arch::UNLINKAT, HERE, path.as_ptr() as usize, REMOVEDIR, 0);
}

/// A descriptor that is readable when a child has ended.
pub(crate) fn watch_children(child_signal: u32) -> i32 {
    let set = 1u64 << (child_signal - 1);
    call(arch::SIGNALFD4, usize::MAX, &raw const set as usize, 8, 0) as i32
}

#[repr(C)]
struct Polled {
    fd: i32,
    events: i16,
    revents: i16,
}

/// Waits until one of two descriptors is readable, or for so many milliseconds; negative means for ever.
pub(crate) fn poll(first: i32, second: i32, millis: i32) -> (bool, bool) {
    let mut fds = [first, second].map(|fd| Polled { fd, events: IN, revents: 0 });
    let time = [(millis / 1000) as isize, (millis % 1000) as isize * 1_000_000];
    let time = if millis < 0 { 0 } else { &raw const time as usize };
    call(arch::PPOLL, &raw mut fds as usize, 2, time, 0);
    (fds[0].revents != 0, fds[1].revents != 0)
}

/// Whether the process behind the descriptor has ended.
pub(crate) fn is_over(pidfd: i32) -> bool {
    poll(pidfd, -1, 0).0
}

/// Milliseconds on a clock that only goes forward.
pub(crate) fn now() -> u64 {
    const MONOTONIC: usize = 1;
    let mut time = [0i64; 2];
    call(arch::CLOCK_GETTIME, MONOTONIC, &raw mut time as usize, 0, 0);
    (time[0] as u64).wrapping_mul(1000).wrapping_add(time[1] as u64 / 1_000_000)
}

/// Lets this process hold as many descriptors as it may.
pub(crate) fn raise_descriptors() {
    const NOFILE: usize = 7;
    let mut limit = [0u64; 2];
    if call(arch::PRLIMIT64, 0, NOFILE, 0, &raw mut limit as usize) == 0 {
        limit[0] = limit[1];
        call(arch::PRLIMIT64, 0, NOFILE, &raw const limit as usize, 0);
    }
}

/// Memory for so many words, zero until it is written; none when there is none.
pub(crate) fn memory(words: usize) -> Option<&'static mut [i32]> {
    const READ_WRITE: usize = 3;
    const PRIVATE_ANONYMOUS_NORESERVE: usize = 0x4022;
    let arguments =
        [0, words.wrapping_mul(4), READ_WRITE, PRIVATE_ANONYMOUS_NORESERVE, usize::MAX, 0];
    // SAFETY: a new mapping touches no memory that is in use.
    let at = unsafe { arch::call(arch::MMAP, arguments) };
    if (-4095..=0).contains(&at) {
        return None;
    }
    // SAFETY: the mapping is new, zeroed, of this length, and never unmapped.
    Some(unsafe { core::slice::from_raw_parts_mut(at as *mut i32, words) })
}

/// Gives memory back.
///
/// # Safety
///
/// Nothing in this process uses it any more.
pub(crate) unsafe fn unmap(from: usize, to: usize) {
    // The kernel refuses an empty range.
    call(arch::MUNMAP, from, to.wrapping_sub(from), 0, 0);
}

/// Ends this process at once, without running anything else.
pub(crate) fn exit(code: i32) -> ! {
    loop {
        call(arch::EXIT_GROUP, word(code), 0, 0, 0);
    }
}
