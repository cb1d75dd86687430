//! The trees of the soak: processes that fork, orphan each other and hide, until their lifeline is cut.
//!
//! Each inherits two descriptors. It holds the writing end of the *oracle*, whose reading end tells
//! the soak that nobody is left by its end of file, whatever the crate believes. And it watches the
//! *lifeline*, whose end makes it exit: a tree that survived its kill ends when its round does.
#![expect(unsafe_code, reason = "storms fork without exec; each process of them has one thread")]

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// The descriptors of every process of a storm.
pub(crate) const ORACLE: RawFd = 30;
pub(crate) const LIFELINE: RawFd = 31;

/// How many processes a storm has at a time.
const POPULATION: i32 = 48;

/// A kind of tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storm {
    /// Eight that sleep, one in a session of its own, one in a group of its own, and a daemon.
    Escape,
    /// The same, and the daemon has an empty environment.
    Ghost,
    /// 48 at a time, each forking every 1–6 ms; parents outlive their children.
    Busy,
    /// The same, and parents end right after their forks: everybody is an orphan.
    Orphan,
    /// The same, and a quarter each change their session or their group.
    Hostile,
}

impl Storm {
    pub(crate) const ALL: [Self; 5] =
        [Self::Escape, Self::Ghost, Self::Busy, Self::Orphan, Self::Hostile];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Escape => "escape",
            Self::Ghost => "ghost",
            Self::Busy => "busy",
            Self::Orphan => "orphan",
            Self::Hostile => "hostile",
        }
    }
}

/// What this process does as the root of a storm. Never returns.
pub(crate) fn run(storm: Storm, seed: u64) -> ! {
    match storm {
        Storm::Escape => escape(true),
        Storm::Ghost => escape(false),
        Storm::Busy | Storm::Orphan | Storm::Hostile => {
            let count = shared_count();
            count.store(1, Ordering::Relaxed);
            fork_on(storm, seed, count)
        }
    }
}

fn escape(with_environment: bool) -> ! {
    for _ in 0..8 {
        if fork() == 0 {
            sleep_on();
        }
    }
    if fork() == 0 {
        new_session();
        sleep_on();
    }
    if fork() == 0 {
        new_group();
        sleep_on();
    }
    let daemonizer = fork();
    if daemonizer == 0 {
        if fork() == 0 {
            new_session();
            if !with_environment {
                exec_without_environment();
            }
            report();
            sleep_on();
        }
        exit();
    }
    let mut status = 0;
    // SAFETY: `status` is writable, and the child is ours.
    unsafe { libc::waitpid(daemonizer, &raw mut status, 0) };
    sleep_on()
}

/// The daemon of [`Storm::Ghost`] after its exec.
pub(crate) fn be_a_ghost() -> ! {
    report();
    sleep_on()
}

fn exec_without_environment() {
    let program = c"/proc/self/exe".as_ptr();
    let arguments = [c"soak".as_ptr(), c"--ghost".as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    // SAFETY: terminated strings in terminated arrays.
    unsafe { libc::execve(program, arguments.as_ptr(), environment.as_ptr()) };
    exit()
}

fn fork_on(storm: Storm, seed: u64, count: &AtomicI32) -> ! {
    let mut random = seed | 1;
    let mut forks = 0;
    let mut told = false;
    loop {
        random = next(random);
        if !pause(1 + (random >> 33) as i32 % 6) {
            exit();
        }
        reap();
        let born = count.load(Ordering::Relaxed);
        if !told && born >= POPULATION {
            told = true;
            report();
        }
        if born >= POPULATION {
            // The population is kept by ends: of leaves here, of whole lineages in the others.
            if forks == 0 && random.is_multiple_of(4) {
                count.fetch_sub(1, Ordering::Relaxed);
                exit();
            }
            continue;
        }
        count.fetch_add(1, Ordering::Relaxed);
        if fork() == 0 {
            random = next(random ^ u64::from(std::process::id()) << 17);
            (forks, told) = (0, true);
            if storm == Storm::Hostile {
                match random % 4 {
                    0 => new_session(),
                    1 => new_group(),
                    _ => {}
                }
            }
            continue;
        }
        forks += 1;
        if storm != Storm::Busy && told_or_old(told, forks) {
            count.fetch_sub(1, Ordering::Relaxed);
            exit();
        }
    }
}

/// Whether a parent may leave its children to nobody: the root first has to tell that it is up.
fn told_or_old(told: bool, forks: u32) -> bool {
    told && forks >= 1
}

/// Waits; whether the lifeline still holds.
fn pause(milliseconds: i32) -> bool {
    let mut lifeline = libc::pollfd { fd: LIFELINE, events: libc::POLLIN, revents: 0 };
    // SAFETY: one live entry.
    unsafe { libc::poll(&raw mut lifeline, 1, milliseconds) };
    lifeline.revents == 0
}

fn sleep_on() -> ! {
    while pause(-1) {}
    exit()
}

/// Tells the soak that the tree stands.
fn report() {
    // SAFETY: one byte of a literal is read.
    unsafe { libc::write(ORACLE, c"!".as_ptr().cast(), 1) };
}

fn reap() {
    // SAFETY: no status is asked for; all children are of the storm.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

fn fork() -> libc::pid_t {
    // SAFETY: the process has one thread, so the copy may do anything.
    unsafe { libc::fork() }
}

fn new_session() {
    // SAFETY: a system call without pointers.
    unsafe { libc::setsid() };
}

fn new_group() {
    // SAFETY: a system call without pointers.
    unsafe { libc::setpgid(0, 0) };
}

fn exit() -> ! {
    // SAFETY: ends this process; nothing of it needs a destructor.
    unsafe { libc::_exit(0) }
}

/// A number that all processes of the storm share.
fn shared_count() -> &'static AtomicI32 {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping, which nothing else knows.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED, "no memory");
    // SAFETY: the page is zeroed, aligned, mapped until the end of the process, and used as this alone.
    unsafe { &*page.cast::<AtomicI32>() }
}

fn next(random: u64) -> u64 {
    let random = random ^ (random << 13);
    let random = random ^ (random >> 7);
    random ^ (random << 17)
}
