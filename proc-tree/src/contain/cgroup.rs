//! A leaf of the cgroup v2 tree: made, emptied and removed through its files.
//!
//! The root joins from inside, between fork and exec: a join from outside comes too late for the
//! children that it has by then.

use super::below::Means;
use super::mounts::own_v2;
use super::owner::{new_name, sweep_once};
use crate::id::Pid;
use crate::identity::Maker;
use crate::signal::Signal;
use crate::sys::{self, LeafFiles, Pidfd, is_shortage, sparing};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a drop goes on removing what members have made below the leaf.
const REMOVAL: Duration = Duration::from_millis(250);

/// How many members are held at once, so that a list that confirms them is read seldom.
const MOST_HELD: usize = 512;

/// How long members are listed.
const LISTING: Duration = Duration::from_secs(2);

/// A cgroup that belongs to one tree. What a kill needs of it is open from the start on.
#[derive(Debug)]
pub(crate) struct Leaf {
    maker: Maker,
    path: PathBuf,
    /// Its last component, which no other cgroup has.
    name: String,
    procs: File,
    /// Missing before Linux 5.14.
    kill: Option<File>,
    events: File,
}

impl Leaf {
    /// Makes a leaf below that cgroup, or below the one of the calling process.
    pub(crate) fn make(chosen: Option<&Path>) -> Result<Self, String> {
        let parent = match chosen {
            Some(parent) => check_parent(parent)?,
            None => {
                let parent = own_v2()?;
                // Whoever moves a process needs to write where it comes from, too.
                let own = parent.join("cgroup.procs");
                open_to_write(&own).map_err(|error| format!("write {}: {error}", own.display()))?;
                parent
            }
        };
        sweep_once(&parent);
        let name = new_name()?;
        let path = parent.join(&name);
        std::fs::create_dir(&path).map_err(|error| format!("make {}: {error}", path.display()))?;
        Self::open(path.clone(), name).map_err(|error| {
            let _ = std::fs::remove_dir(&path);
            format!("open the files of {}: {error}", path.display())
        })
    }

    fn open(path: PathBuf, name: String) -> io::Result<Self> {
        Ok(Self {
            maker: Maker::here(),
            procs: open_to_write(&path.join("cgroup.procs"))?,
            kill: open_to_write(&path.join("cgroup.kill")).ok(),
            events: File::open(path.join("cgroup.events"))?,
            path,
            name,
        })
    }

    #[cfg(test)]
    pub(super) fn without_kill_file(mut self) -> Self {
        self.kill = None;
        self
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file to which a process writes `0` to join.
    pub(crate) fn door(&self) -> &File {
        &self.procs
    }

    /// The open directory, in which a process can be made.
    pub(crate) fn directory(&self) -> io::Result<OwnedFd> {
        Ok(File::open(&self.path)?.into())
    }

    /// What a supervisor needs to empty and remove the leaf.
    pub(crate) fn files(&self) -> Option<LeafFiles> {
        let path = std::ffi::CString::new(self.path.as_os_str().as_bytes()).ok()?;
        let kill = self.kill.as_ref()?.as_raw_fd();
        Some(LeafFiles { kill, path })
    }

    /// The members that `cgroup.procs` lists, here and below, in one quick look. It misses a process in a
    /// threaded cgroup, and one whose first thread had ended before the others were moved here. Members of
    /// another PID namespace, which the kernel lists as 0, are not in it.
    pub(super) fn listed(&self, until: Instant) -> io::Result<Vec<Pid>> {
        listed(&self.path, Means { until })
    }

    /// Visits the members that [`listed`](Self::listed) does not list, found by their threads, each held.
    fn visit_by_threads(
        &self,
        listed: &[Pid],
        until: Instant,
        visit: &mut dyn FnMut(Pid, &Pidfd),
    ) -> io::Result<()> {
        let mut known: HashSet<Pid> = listed.iter().copied().collect();
        let mut threads = Vec::new();
        let means = Means { until };
        means.each(&self.path, &mut |cgroup| {
            match means.read(cgroup, "cgroup.threads") {
                Ok(text) => threads.extend(numbers(&text)),
                Err(error) if is_gone(error) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        for pid in listed {
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sys::each_thread(*pid, &mut |thread| {
                known.insert(thread);
            });
        }
        threads.retain(|thread| !known.contains(thread));
        for thread in threads {
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match sys::hold_process_of(thread, &self.name) {
                Ok((pid, pidfd)) if known.insert(pid) => visit(pid, &pidfd),
                Err(error) if is_shortage(error) => return Err(error.into()),
                // It is known, or gone.
                _ => {}
            }
        }
        Ok(())
    }

    /// Every member, those of nested and threaded cgroups too, as far as the time goes; whether it went to the
    /// end. Members that fork on take the processor from the look: those that are found are an answer.
    pub(crate) fn members(&self, until: Instant) -> io::Result<(Vec<Pid>, bool)> {
        let mut members = self.listed(until)?;
        let mut others = Vec::new();
        let is_whole = match self.visit_by_threads(&members, until, &mut |pid, _| others.push(pid))
        {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => false,
            outcome => outcome.map(|()| true)?,
        };
        members.append(&mut others);
        members.sort_unstable();
        members.dedup();
        Ok((members, is_whole))
    }

    /// Visits the members, each held and certainly one: it was listed again after it was held. As many are
    /// held at once as there are free descriptors, and one that is kept for this where there is none.
    pub(crate) fn visit_members(
        &self,
        until: Instant,
        visit: &mut dyn FnMut(Pid, &Pidfd),
    ) -> io::Result<()> {
        let listed = self.listed(until)?;
        let mut rest = listed.as_slice();
        while let Some((first, others)) = rest.split_first() {
            if rest.len() < listed.len() && Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let mut held = Vec::new();
            rest = others;
            match Pidfd::open_sparing(*first) {
                Ok(pidfd) => held.push((*first, pidfd)),
                Err(error) if is_shortage(error) => return Err(error.into()),
                Err(_) => continue,
            }
            while let Some((pid, others)) = rest.split_first().filter(|_| held.len() < MOST_HELD) {
                match Pidfd::open(*pid) {
                    Ok(pidfd) => held.push((*pid, pidfd)),
                    Err(error) if is_shortage(error) => break,
                    Err(_) => {}
                }
                rest = others;
            }
            let again: HashSet<Pid> = self.listed(until)?.into_iter().collect();
            held.retain(|(pid, pidfd)| again.contains(pid) && !pidfd.is_dead());
            held.iter().for_each(|(pid, pidfd)| visit(*pid, pidfd));
        }
        self.visit_by_threads(&listed, until, visit)
    }

    /// Freezes or thaws the members. A leaf that is gone has none.
    pub(crate) fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        let word = if frozen { b"1" } else { b"0" };
        let (path, flags) = (self.path.join("cgroup.freeze"), OFlags::WRONLY | OFlags::CLOEXEC);
        let file = sparing(|| openat(CWD, &path, flags, Mode::empty()));
        match file
            .map_err(io::Error::from)
            .map(File::from)
            .and_then(|mut file| file.write_all(word))
        {
            Err(error) if is_gone_io(&error) => Ok(()),
            outcome => outcome,
        }
    }

    /// Whether no member runs, as the kernel says.
    pub(crate) fn is_frozen(&self) -> io::Result<bool> {
        let mut text = [0; 256];
        match self.events.read_at(&mut text, 0) {
            Ok(length) => {
                let mut lines = text[..length].split(|byte| *byte == b'\n');
                Ok(lines.any(|line| matches!(line, b"frozen 1" | b"populated 0")))
            }
            Err(error) if is_gone_io(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Tells the kernel to kill every member, and to let none be born.
    pub(super) fn strike(&self, until: Instant) -> io::Result<()> {
        let Some(mut file) = self.kill.as_ref() else {
            return self.strike_frozen(until);
        };
        match file.write_all(b"1") {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                // A member has made it threaded.
                self.strike_frozen(until)
            }
            Err(error) if is_gone_io(&error) => Ok(()),
            outcome => outcome,
        }
    }

    /// Kills each member by its pidfd: also one whose first thread has ended, which the kernel's own kill
    /// of a cgroup does not reach.
    pub(super) fn strike_each(&self, until: Instant) -> io::Result<Vec<Pid>> {
        let mut members = Vec::new();
        self.visit_members(until, &mut |pid, pidfd| {
            // One that is gone meanwhile needs no signal, and one that may not be signalled is named later.
            let _ = pidfd.signal(Signal::KILL);
            members.push(pid);
        })?;
        Ok(members)
    }

    /// The same while no member moves.
    pub(super) fn strike_frozen(&self, until: Instant) -> io::Result<()> {
        let frozen = self.set_frozen(true).is_ok();
        let struck = self.strike_each(until);
        if frozen {
            let _ = self.set_frozen(false);
        }
        struck.map(drop)
    }

    /// Whether a member is alive in the leaf, or below. Reading the open file takes its notification.
    pub(crate) fn is_populated(&self) -> io::Result<bool> {
        let mut text = [0; 256];
        match self.events.read_at(&mut text, 0) {
            Ok(length) => Ok(text[..length].starts_with(b"populated 1")),
            Err(error) if is_gone_io(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Announces a change of [`is_populated`](Self::is_populated).
    pub(super) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Removes the leaf and what is below it, deepest first. It stays while a member is in it.
    pub(crate) fn remove(&self, until: Instant) -> io::Result<()> {
        remove(&self.path, Means { until })
    }
}

impl Drop for Leaf {
    /// A leaf that is not empty stays: its members were let live.
    fn drop(&mut self) {
        if self.maker.is_here() {
            let _ = self.remove(Instant::now() + REMOVAL);
        }
    }
}

/// Removes a leaf and what is below it, deepest first. It stays while a member is in it.
pub(super) fn remove_now(leaf: &Path) -> io::Result<()> {
    remove(leaf, Means { until: Instant::now() + REMOVAL })
}

/// Whether a member runs in a leaf, or below it, as far as can be seen.
pub(super) fn has_members(leaf: &Path) -> bool {
    let alive = |pid: Pid| Pidfd::open_sparing(pid).map_or(true, |pidfd| !pidfd.is_dead());
    let means = Means { until: Instant::now() + LISTING };
    listed(leaf, means).is_ok_and(|members| members.into_iter().any(alive))
}

fn listed(leaf: &Path, means: Means) -> io::Result<Vec<Pid>> {
    let mut members = Vec::new();
    means.each(leaf, &mut |cgroup| match means.read(cgroup, "cgroup.procs") {
        Ok(text) => {
            members.extend(numbers(&text));
            Ok(())
        }
        Err(error) if is_gone(error) || error == Errno::OPNOTSUPP => Ok(()),
        Err(error) => Err(error),
    })?;
    Ok(members)
}

fn remove(path: &Path, means: Means) -> io::Result<()> {
    // Most leaves have nothing below them, and are gone with one call.
    match std::fs::remove_dir(path) {
        Err(error) if is_gone_io(&error) => return Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
        outcome => return outcome,
    }
    means.remove_below(path)?;
    match std::fs::remove_dir(path) {
        Err(error) if is_gone_io(&error) => Ok(()),
        outcome => outcome,
    }
}

/// The directory that the caller has chosen, if it is a cgroup of v2: a leaf anywhere else would hold nobody.
fn check_parent(chosen: &Path) -> Result<PathBuf, String> {
    const CGROUP2: u64 = 0x6367_7270;
    let at = |error: io::Error| format!("use {}: {error}", chosen.display());
    // A relative path would mean another directory after the caller has changed its own.
    let parent = chosen.canonicalize().map_err(at)?;
    let system = rustix::fs::statfs(&parent).map_err(|error| at(error.into()))?;
    match u64::try_from(system.f_type) {
        Ok(CGROUP2) => Ok(parent),
        _ => Err(format!("use {}: it is no cgroup of v2", chosen.display())),
    }
}

fn numbers(text: &[u8]) -> impl Iterator<Item = Pid> + '_ {
    let lines = text.split(|byte| *byte == b'\n');
    let numbers = lines.filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok());
    numbers.filter(|pid: &Pid| *pid > 1)
}

pub(super) fn open_to_write(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Whether a file of a cgroup says so because the cgroup was removed.
fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NODEV)
}

fn is_gone_io(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(is_gone)
}
