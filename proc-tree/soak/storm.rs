//! The trees of the soak: processes that fork, orphan each other and hide, until their lifeline is cut.
//!
//! Each inherits two descriptors. It holds the writing end of the *oracle*, whose reading end tells
//! the soak that nobody is left by its end of file, whatever the crate believes. And it watches the
//! *lifeline*, whose end makes it exit: a tree that survived its kill ends when its round does.
#![expect(unsafe_code, reason = "storms fork without exec; each process of them has one thread")]

use crate::hostile;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// The descriptors of every process of a storm.
pub(crate) const ORACLE: RawFd = 30;
pub(crate) const LIFELINE: RawFd = 31;
/// The `cgroup.procs` of the group in which a fork bomb finds its limit.
pub(crate) const BOMB_DOOR: RawFd = 32;

/// How many processes a storm has at a time.
const POPULATION: i32 = 48;

/// A kind of tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storm {
    /// Eight that sleep, one in a session of its own, one in a group of its own, and a daemon.
    Escape,
    /// The same, and the daemon has an empty environment.
    Ghost,
    /// The same, and the daemon may not be traced, as that of ssh-agent.
    Undumpable,
    /// 48 at a time, each forking every 1–6 ms; parents outlive their children.
    Busy,
    /// The same, and parents end right after their forks: everybody is an orphan.
    Orphan,
    /// The same, and a quarter each change their session or their group.
    Hostile,
    /// Members that move into the parent of their cgroup.
    Mover,
    /// A daemon that stops the supervisor.
    Stopper,
    /// A fork bomb at its limit.
    Bomb,
    /// Processes whose first thread has ended, with successors.
    Leaderless,
    /// Trees of other levels inside the tree.
    Nested,
    /// As [`Escape`](Self::Escape), and whoever kills it has one descriptor left, or none.
    Scarce,
}

impl Storm {
    pub(crate) const ALL: [Self; 12] = [
        Self::Escape,
        Self::Ghost,
        Self::Undumpable,
        Self::Busy,
        Self::Orphan,
        Self::Hostile,
        Self::Mover,
        Self::Stopper,
        Self::Bomb,
        Self::Leaderless,
        Self::Nested,
        Self::Scarce,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Escape => "escape",
            Self::Ghost => "ghost",
            Self::Undumpable => "undumpable",
            Self::Busy => "busy",
            Self::Orphan => "orphan",
            Self::Hostile => "hostile",
            Self::Mover => "mover",
            Self::Stopper => "stopper",
            Self::Bomb => "bomb",
            Self::Leaderless => "leaderless",
            Self::Nested => "nested",
            Self::Scarce => "scarce",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|storm| storm.name() == name)
    }

    /// What the storm says when it stands. The trees inside of one speak, too, before it does.
    pub(crate) fn word(self) -> u8 {
        if self == Self::Nested { b'.' } else { b'!' }
    }
}

/// How the daemon of an escape hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Daemon {
    Plain,
    Ghost,
    Undumpable,
}

/// What this process does as the root of a storm, which the process `soak` has started. Never returns.
pub(crate) fn run(storm: Storm, seed: u64, soak: u32) -> ! {
    match storm {
        Storm::Escape | Storm::Scarce => escape(Daemon::Plain),
        Storm::Ghost => escape(Daemon::Ghost),
        Storm::Undumpable => escape(Daemon::Undumpable),
        Storm::Busy | Storm::Orphan | Storm::Hostile => {
            let count = shared_count();
            count.store(1, Ordering::Relaxed);
            fork_on(storm, seed, count)
        }
        Storm::Mover => hostile::mover(seed),
        Storm::Stopper => hostile::stopper(soak),
        Storm::Bomb => hostile::bomb(),
        Storm::Leaderless => hostile::leaderless(seed),
        Storm::Nested => hostile::nested(seed, soak),
    }
}

fn escape(daemon: Daemon) -> ! {
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
            match daemon {
                Daemon::Plain => {}
                Daemon::Ghost => exec_without_environment(),
                Daemon::Undumpable => forbid_tracing(),
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

pub(crate) fn exec_without_environment() {
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
pub(crate) fn pause(milliseconds: i32) -> bool {
    let mut lifeline = libc::pollfd { fd: LIFELINE, events: libc::POLLIN, revents: 0 };
    // SAFETY: one live entry.
    unsafe { libc::poll(&raw mut lifeline, 1, milliseconds) };
    lifeline.revents == 0
}

pub(crate) fn sleep_on() -> ! {
    while pause(-1) {}
    exit()
}

/// Tells the soak that the tree stands.
pub(crate) fn report() {
    say(b'!');
}

pub(crate) fn say(word: u8) {
    let word: *const u8 = &raw const word;
    // SAFETY: one byte of a live local is read.
    unsafe { libc::write(ORACLE, word.cast(), 1) };
}

pub(crate) fn reap() {
    // SAFETY: no status is asked for; all children are of the storm.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

pub(crate) fn fork() -> libc::pid_t {
    // SAFETY: the process has one thread, so the copy may do anything.
    unsafe { libc::fork() }
}

fn forbid_tracing() {
    // SAFETY: the option takes a number.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

pub(crate) fn new_session() {
    // SAFETY: a system call without pointers.
    unsafe { libc::setsid() };
}

fn new_group() {
    // SAFETY: a system call without pointers.
    unsafe { libc::setpgid(0, 0) };
}

pub(crate) fn exit() -> ! {
    // SAFETY: ends this process; nothing of it needs a destructor.
    unsafe { libc::_exit(0) }
}

/// A number that all processes of the storm share.
pub(crate) fn shared_count() -> &'static AtomicI32 {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping, which nothing else knows.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED, "no memory");
    // SAFETY: the page is zeroed, aligned, mapped until the end of the process, and used as this alone.
    unsafe { &*page.cast::<AtomicI32>() }
}

pub(crate) fn next(random: u64) -> u64 {
    let random = random ^ (random << 13);
    let random = random ^ (random >> 7);
    random ^ (random << 17)
}
