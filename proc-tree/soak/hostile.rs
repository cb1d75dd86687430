//! The storms that fight back: they leave their cgroup, stop their supervisor, bomb, lose their first
//! thread, and hold trees of their own.
#![expect(unsafe_code, reason = "storms fork without exec, and end single threads")]

use crate::storm::{
    self, BOMB_DOOR, LIFELINE, ORACLE, Storm, exit, fork, new_session, next, pause, reap, report,
    say, shared_count, sleep_on,
};
use lastout_proc_tree::{Containment, Level, Tree};
use std::os::fd::{BorrowedFd, RawFd};
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};

/// How many processes without a first thread there are at a time.
const LEADERLESS: i32 = 24;

/// Children and a daemon move into the parent of their cgroup.
pub(crate) fn mover(seed: u64) -> ! {
    if fork() == 0 {
        leave_the_leaf();
        sleep_on();
    }
    let orphan = fork();
    if orphan == 0 {
        if fork() == 0 {
            leave_the_leaf();
            new_session();
            if seed.is_multiple_of(2) {
                storm::exec_without_environment();
            }
            report();
            sleep_on();
        }
        exit();
    }
    wait_for(orphan);
    sleep_on()
}

/// Moves this process to where the caller of the crate is, if it is in a leaf of the crate.
fn leave_the_leaf() {
    let Ok(own) = std::fs::read_to_string("/proc/self/cgroup") else { return };
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let (Some(own), Some(root)) = (own, crate::condition::unified()) else { return };
    let path = root.join(own);
    let is_leaf =
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lastout-"));
    if let Some(parent) = path.parent().filter(|_| is_leaf) {
        // Where it may not, it stays, and is no worse than the other storms.
        let _ = std::fs::write(parent.join("cgroup.procs"), "0");
    }
}

/// A daemon stops the supervisor again and again, if there is one.
pub(crate) fn stopper(soak: u32) -> ! {
    // SAFETY: a system call without pointers.
    let parent = unsafe { libc::getppid() };
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    let own = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    // Without a supervisor the parent is the soak itself, which is not to be stopped.
    let is_supervisor = parent.cast_unsigned() != soak && parent > 1 && name != own;
    for _ in 0..4 {
        if fork() == 0 {
            sleep_on();
        }
    }
    let orphan = fork();
    if orphan == 0 {
        if fork() == 0 {
            new_session();
            let stop = || {
                if is_supervisor {
                    // SAFETY: a system call without pointers.
                    unsafe { libc::kill(parent, libc::SIGSTOP) };
                }
            };
            stop();
            report();
            while pause(1) {
                stop();
            }
        }
        exit();
    }
    // No wait for the orphan: the one who would tell is stopped, perhaps.
    sleep_on()
}

/// Forks until its limit, and goes on trying.
pub(crate) fn bomb() -> ! {
    // SAFETY: one byte of a literal is read. Without the group the limit of the user has to do.
    let joined = unsafe { libc::write(BOMB_DOOR, c"0".as_ptr().cast(), 1) } == 1;
    if !joined {
        let limit = libc::rlimit { rlim_cur: 400, rlim_max: 400 };
        // SAFETY: `limit` is live.
        unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) };
    }
    let told = shared_count();
    loop {
        if fork() < 0 {
            if told.swap(1, Ordering::Relaxed) == 0 {
                report();
            }
            // A processor is left to whoever is to end this.
            if !pause(1) {
                exit();
            }
        } else if !pause(0) {
            exit();
        }
    }
}

/// Launchers whose first thread has ended, each leaving a successor and then itself.
pub(crate) fn leaderless(seed: u64) -> ! {
    let count = shared_count();
    count.store(1, Ordering::Relaxed);
    for launcher in 0..4 {
        count.fetch_add(1, Ordering::Relaxed);
        if fork() == 0 {
            lose_the_leader(seed ^ launcher, count);
        }
    }
    while count.load(Ordering::Relaxed) < LEADERLESS {
        if !pause(1) {
            exit();
        }
    }
    report();
    while pause(5) {
        reap();
    }
    exit()
}

struct Lost {
    random: u64,
    count: &'static AtomicI32,
}

/// Goes on in a second thread and ends the first one.
fn lose_the_leader(seed: u64, count: &'static AtomicI32) -> ! {
    let random = next(seed ^ u64::from(std::process::id()) << 20 | 1);
    let lost = Box::into_raw(Box::new(Lost { random, count }));
    let mut thread = std::mem::MaybeUninit::uninit();
    // SAFETY: the thread owns what it is given, and the attributes are the default.
    let outcome =
        unsafe { libc::pthread_create(thread.as_mut_ptr(), std::ptr::null(), go_on, lost.cast()) };
    if outcome != 0 {
        // Where no thread may be made, it is an ordinary process.
        go_on(lost.cast());
    }
    // SAFETY: ends this thread alone; nothing on its stack is used by the other one.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended")
}

extern "C" fn go_on(lost: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: made by `Box::into_raw` for this thread alone.
    let Lost { mut random, count } = *unsafe { Box::from_raw(lost.cast::<Lost>()) };
    loop {
        random = next(random);
        if !pause(5 + (random >> 40) as i32 % 10) {
            exit();
        }
        reap();
        if count.load(Ordering::Relaxed) < LEADERLESS {
            count.fetch_add(1, Ordering::Relaxed);
            if fork() == 0 {
                lose_the_leader(random, count);
            }
        } else if random.is_multiple_of(4) {
            count.fetch_sub(1, Ordering::Relaxed);
            exit();
        }
    }
}

/// Trees of other levels inside the tree, each with a daemon.
pub(crate) fn nested(seed: u64, soak: u32) -> ! {
    let mut trees = Vec::new();
    for level in [Level::Evidence, Level::Supervisor, Level::Cgroup, Level::Evidence] {
        let mut command = Command::new("/proc/self/exe");
        let storm = if seed.is_multiple_of(2) { Storm::Escape } else { Storm::Ghost };
        command.args(["--storm-root", storm.name(), &seed.to_string(), &soak.to_string()]);
        let containment = [ORACLE, LIFELINE]
            .into_iter()
            .fold(Containment::demand(level), |containment, number| {
                containment.descriptor(number, inherited(number))
            });
        // A level that is not to be had in here is left out.
        trees.extend(Tree::spawn(&mut command, containment).ok());
    }
    say(Storm::Nested.word());
    sleep_on()
}

fn inherited(number: RawFd) -> std::os::fd::OwnedFd {
    // SAFETY: the number is open for the whole life of this process.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned().expect("a descriptor is left")
}

fn wait_for(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: `status` is writable, and the child is ours.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
}
