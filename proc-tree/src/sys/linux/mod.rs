//! Linux: `/proc` read through one directory descriptor, processes held by pidfds.

mod account;
mod birth;
mod clone3;
mod direct;
mod elders;
mod handover;
mod helper;
mod kin;
mod launch;
mod mark;
mod pidfd;
mod procfs;
mod raw;
mod recipe;
mod remove;
mod reserve;
mod sight;
mod stat;
mod supervise;
mod table;
mod told;
mod watch;
mod young;

pub(crate) use account::{Account, account_of, account_of_ended, account_of_waited};
pub(crate) use birth::{Born, await_ready, start};
pub(crate) use handover::Handover;
pub(crate) use helper::helper;
pub(crate) use launch::{Launch, MOST_DESCRIPTORS, Place, enter_new_pid_namespace};
pub(crate) use mark::{can_mark_child, mark_of};
pub(crate) use pidfd::{Bell, Pidfd, WaitSet, pid_of_pidfd, poll_all, wait_readable};
pub(crate) use procfs::{ProcFs, boot};
pub(crate) use raw::kernel_waits_for_children;
pub(crate) use recipe::{Executable, Recipe, Strings, User};
pub(crate) use remove::remove_all;
pub(crate) use reserve::{Reserve, is_shortage, sparing};
pub(crate) use sight::hides_processes;
pub(crate) use supervise::{LeafFiles, Supervise};
pub(crate) use table::SystemTable;
pub(crate) use told::ToldPage;
pub(crate) use watch::{EXITED, KILL, KILLED, LET_LIVE, MESSAGE};

use crate::id::{Pid, ProcId};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// The present in the unit of start times; 0 when it cannot be told: then no process passes for older.
///
/// The clock is asked and not `/proc/uptime`, over which containers mount a file of their own.
pub(crate) fn now() -> u64 {
    let Some(now) = boottime() else { return 0 };
    let ticks = rustix::param::clock_ticks_per_second();
    now.as_secs() * ticks + u64::from(now.subsec_nanos()) * ticks / 1_000_000_000
}

/// The time since the boot, which start times count from.
fn boottime() -> Option<Duration> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Some(Duration::new(now.tv_sec.try_into().ok()?, now.tv_nsec.try_into().ok()?))
}

/// What a look at a number tells.
#[derive(Debug)]
pub(crate) enum Identified {
    /// The process that has it, with a hold on it where a descriptor was free.
    Process(ProcId, crate::engine::Stat, Option<Pidfd>),
    /// It is no process: nobody has the number, or a thread does.
    Nobody,
    /// The number is in use, and by whom could not be read: why, and a hold on it where there is one.
    Unknown(Option<Pidfd>, Errno),
}

/// The identity of the process that has `pid` now.
pub(crate) fn identify(pid: Pid) -> Identified {
    loop {
        let held = match Pidfd::open_sparing(pid) {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::SRCH) => return Identified::Nobody,
            // A thread, or no descriptor is free, or a filter refuses.
            Err(_) => None,
        };
        let read = ProcFs::open().map(|mut proc| {
            let is_process = held.is_some() || proc.is_process(pid);
            (proc.stat(pid), is_process, proc.ran_short())
        });
        // It is taken hold of first: what is read while it has its pid is its own.
        if held.as_ref().is_some_and(|held| !held.has_its_pid()) {
            continue;
        }
        return match read {
            Ok((Some(stat), true, _)) => {
                let inode = held.as_ref().and_then(Pidfd::inode);
                Identified::Process(ProcId::from_parts(boot(), pid, stat.start, inode), stat, held)
            }
            Ok((Some(_), false, false)) => Identified::Nobody,
            _ if !pidfd::is_in_use(pid) => Identified::Nobody,
            Ok((_, _, false)) => Identified::Unknown(held, Errno::ACCESS),
            _ => Identified::Unknown(held, Errno::MFILE),
        };
    }
}

/// The identity of a process that is held from its birth on, under its number here.
///
/// One that was waited for already, because the caller ignores SIGCHLD, has no start that could be read: it
/// started at 0, as no process does.
pub(crate) fn identify_held(pid: Pid, held: &Pidfd) -> ProcId {
    let stat = ProcFs::open().ok().and_then(|mut proc| proc.stat(pid));
    let start = stat.filter(|_| held.has_its_pid()).map_or(0, |stat| stat.start);
    ProcId::from_parts(boot(), pid, start, held.inode())
}

/// Calls `visit` with each thread of the process that has `pid`.
pub(crate) fn each_thread(pid: Pid, visit: &mut dyn FnMut(Pid)) {
    if let Ok(mut proc) = ProcFs::open() {
        proc.each_thread(pid, visit);
    }
}

/// Takes hold of the process of a thread that is in the cgroup of this name, or below it.
///
/// The directory of the thread is open all the while: what is read through it is of that very thread, which
/// is alive after its process was taken hold of. So the process is the right one.
pub(crate) fn hold_process_of(thread: Pid, cgroup: &str) -> Result<(Pid, Pidfd), Errno> {
    let thread = procfs::Entry::open(thread)?;
    let pid = thread.process()?;
    let pidfd = Pidfd::open_sparing(pid)?;
    match thread.process()? == pid && thread.is_in(cgroup)? {
        true => Ok((pid, pidfd)),
        false => Err(Errno::SRCH),
    }
}

/// Which PID namespace the calling process is in, by its inode number.
pub(crate) fn pid_namespace() -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").ok().map(|metadata| metadata.ino())
}

/// Occupies a descriptor number that is to be given to a child, when it is free here.
pub(crate) fn occupy(number: RawFd, by: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let fits = u64::try_from(number).is_ok_and(|number| (3..limit).contains(&number));
    if !fits {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a free descriptor number"));
    }
    let copy = rustix::io::fcntl_dupfd_cloexec(by, number)?;
    Ok((copy.as_raw_fd() == number).then_some(copy))
}

/// The same descriptor under a number that no standard stream has.
pub(crate) fn above_standard(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    match descriptor.as_raw_fd() {
        0..=2 => Ok(rustix::io::fcntl_dupfd_cloexec(&descriptor, 3)?),
        _ => Ok(descriptor),
    }
}

/// The parent of the process that has `pid` now.
pub(crate) fn parent_of(pid: Pid) -> Option<Pid> {
    ProcFs::open().ok()?.stat(pid).map(|stat| stat.parent)
}

/// Everybody who carries the mark.
pub(crate) fn marked(mark: u64) -> Vec<Pid> {
    let all = Lookout::open().map(|mut table| table.all()).unwrap_or_default();
    all.into_iter().filter(|pid| mark::carries(*pid, mark) == Ok(true)).collect()
}

/// Whether the process that has `pid` is known not to carry the mark.
pub(crate) fn lacks_mark(pid: Pid, mark: u64) -> bool {
    mark::carries(pid, mark) == Ok(false)
}

/// Whether the caller may signal the processes of every user.
pub(crate) fn may_signal_everybody() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::KILL))
}

/// Takes the mark off everybody who carries it.
pub(crate) fn unmark_all(mark: u64) {
    let Ok(mut table) = Lookout::open() else {
        return;
    };
    for pid in table.all() {
        mark::remove(pid, mark);
    }
}

/// Looks at processes for people, never for signals.
#[derive(Debug)]
pub(crate) struct Lookout(ProcFs);

impl Lookout {
    pub(crate) fn open() -> io::Result<Self> {
        ProcFs::open().map(Self)
    }

    /// Who has `pid`, in which state, and under which name.
    pub(crate) fn look(&mut self, pid: Pid) -> Option<(ProcId, crate::engine::Stat, Vec<u8>)> {
        let held = Pidfd::open_sparing(pid).ok();
        let (stat, name) = self.0.stat_and_name(pid)?;
        let inode = held.filter(Pidfd::has_its_pid).as_ref().and_then(Pidfd::inode);
        Some((ProcId::from_parts(boot(), pid, stat.start, inode), stat, name))
    }

    /// Whether the process was stopped by a signal, with all of its threads.
    pub(crate) fn is_stopped(&mut self, pid: Pid) -> bool {
        self.0.stat(pid).is_some_and(|stat| stat.state.is_stopped())
            && self.0.all_threads_stopped(pid)
    }

    /// Whether no thread of a process runs that has got a signal to stop: one that waits inside the
    /// kernel stops before it comes out of it.
    pub(crate) fn is_halted(&mut self, pid: Pid) -> bool {
        let halted = |state: crate::engine::State| {
            state.is_stopped() || state.is_zombie() || state.is_uninterruptible()
        };
        self.0.stat(pid).is_some_and(|stat| halted(stat.state)) && self.0.all_threads_stopped(pid)
    }

    /// Every pid there is.
    pub(crate) fn all(&mut self) -> Vec<Pid> {
        let mut all = Vec::new();
        // Nobody is seen in a table that cannot be read.
        let _ = self.0.all(&mut all);
        all
    }

    pub(crate) fn children(&mut self, pid: Pid) -> Vec<Pid> {
        use crate::engine::Listing;
        let mut children = Vec::new();
        if self.0.children(pid, &mut children) == Listing::Unsupported {
            let mut all = self.all();
            all.retain(|child| self.0.stat(*child).is_some_and(|stat| stat.parent == pid));
            return all;
        }
        children
    }
}

/// Whether a supervisor can find its children here; otherwise why not.
pub(crate) fn can_supervise() -> Result<(), String> {
    if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")) {
        return Err("the supervisor has no system calls for this architecture".into());
    }
    let lists = std::fs::exists("/proc/thread-self/children");
    match lists.is_ok_and(|lists| lists) {
        true => Ok(()),
        false => Err("the kernel does not list the children of a process".into()),
    }
}

/// Makes orphans below the calling process its children, from now on and for the whole process.
pub(crate) fn become_subreaper() -> io::Result<()> {
    let on = Some(rustix::process::getpid());
    Ok(rustix::process::set_child_subreaper(on)?)
}

/// How many living processes descend from this one, by one walk: a number for a report. `None` if the walk
/// had to look at more than `most`, or could not begin. Who is younger than the walk is not counted, and not
/// followed: processes may move below each other while they are walked.
pub(crate) fn count_descendants(root: ProcId, most: usize) -> Option<usize> {
    let mut table = ProcFs::open().ok()?;
    if !root.exists() {
        return Some(0);
    }
    let begin = now();
    let mut found = vec![root.pid()];
    let (mut place, mut alive) = (0, 0usize);
    while let Some(pid) = found.get(place).copied() {
        if place > most {
            return None;
        }
        place += 1;
        let stat = table.stat(pid).filter(|stat| !stat.is_dead() && stat.start <= begin);
        if stat.is_some() {
            alive += 1;
            table.children(pid, &mut found);
        }
    }
    Some(alive.saturating_sub(1))
}

/// Waits for the zombies among our children that carry the mark of one tree. The root is left to its owner.
pub(crate) fn reap_marked_children(mark: u64, root: Option<Pid>) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if !matches!(waitid(WaitId::All, look), Ok(Some(_))) {
        // No child of this process is a zombie.
        return;
    }
    let Ok(mut table) = ProcFs::open() else {
        return;
    };
    let mut children = Vec::new();
    table.children(std::process::id(), &mut children);
    for child in children {
        if Some(child) == root || mark::carries(child, mark) != Ok(true) {
            continue;
        }
        // Our own unreaped child: its pid is its own, and nobody else can know of it.
        if let Ok(child) = Pidfd::open_sparing(child) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _ = waitid(WaitId::PidFd(child.as_fd()), options);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_not_younger_than_the_present() {
        for _ in 0..100 {
            #[expect(clippy::disallowed_methods, reason = "a process to look at")]
            let mut child = std::process::Command::new("true").spawn().unwrap();
            let (start, now) = (ProcId::of(child.id()).map(|id| id.start()), now());
            child.wait().unwrap();
            assert!(start.unwrap() <= now, "{start:?} is after {now}");
        }
    }
}
