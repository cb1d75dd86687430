//! A leaf of the cgroup v2 tree: found, made, emptied and removed through its files.
//!
//! The root joins from inside, between fork and exec: a join from outside comes too late for the
//! children that it has by then.

use super::mounts::own_v2;
use crate::engine::Step;
use crate::id::{Pid, ProcId};
use crate::sys::{LeafFiles, Pidfd, WaitSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the names of all leaves begin with; pid, start and number of the owner follow.
const PREFIX: &str = "lastout-";

/// How often the leaf is looked at when nothing announces a change: the kernel limits the rate of
/// its notifications to one in 10 ms.
const LOOK: Duration = Duration::from_millis(10);

/// Members may have made cgroups below the leaf, and below those. A deeper one is not looked for.
const DEEPEST: usize = 32;

/// A cgroup that belongs to one tree.
#[derive(Debug)]
pub(crate) struct Leaf {
    path: PathBuf,
    procs: File,
    kill: Option<File>,
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
        let path = parent.join(new_name()?);
        std::fs::create_dir(&path).map_err(|error| format!("make {}: {error}", path.display()))?;
        let procs = open_to_write(&path.join("cgroup.procs"));
        let procs = procs.map_err(|error| {
            let _ = std::fs::remove_dir(&path);
            format!("write {}: {error}", path.join("cgroup.procs").display())
        })?;
        let kill = open_to_write(&path.join("cgroup.kill")).ok();
        Ok(Self { path, procs, kill })
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

    /// What a supervisor needs to empty and remove the leaf.
    pub(crate) fn files(&self) -> Option<LeafFiles> {
        let path = std::ffi::CString::new(self.path.as_os_str().as_bytes()).ok()?;
        let kill = self.kill.as_ref()?.as_raw_fd();
        Some(LeafFiles { kill, path })
    }

    /// The members now, those of nested cgroups too. Members of another PID namespace, which the
    /// kernel lists as 0, are not in it.
    pub(crate) fn members(&self) -> io::Result<Vec<Pid>> {
        members(&self.path)
    }

    /// The members, held, each certainly one: it was listed again after it was held.
    pub(crate) fn hold_members(&self) -> io::Result<Vec<(Pid, Pidfd)>> {
        let listed = self.members()?.into_iter();
        let held = listed.filter_map(|pid| Some((pid, Pidfd::open(pid).ok()?)));
        let held: Vec<_> = held.collect();
        let again = self.members()?;
        let is_member = |(pid, pidfd): &(Pid, Pidfd)| again.contains(pid) && !pidfd.is_dead();
        Ok(held.into_iter().filter(is_member).collect())
    }

    /// Freezes or thaws the members. A leaf that is gone has none.
    pub(crate) fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        let word = if frozen { b"1" } else { b"0" };
        let file = open_to_write(&self.path.join("cgroup.freeze"));
        match file.and_then(|mut file| file.write_all(word)) {
            Err(error) if is_gone(&error) => Ok(()),
            outcome => outcome,
        }
    }

    /// Whether no member runs, as the kernel says.
    pub(crate) fn is_frozen(&self) -> io::Result<bool> {
        match std::fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(text) => Ok(text.lines().any(|line| matches!(line, "frozen 1" | "populated 0"))),
            Err(error) if is_gone(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Tells the kernel to kill everybody, and to let nobody be born.
    fn strike(&self) -> io::Result<()> {
        match &self.kill {
            Some(file) => {
                let mut file = file;
                match file.write_all(b"1") {
                    Err(error) if is_gone(&error) => Ok(()),
                    outcome => outcome,
                }
            }
            None => self.strike_frozen(),
        }
    }

    /// The same on a kernel older than 5.14: nobody moves while everybody is signalled.
    fn strike_frozen(&self) -> io::Result<()> {
        let freezer = self.path.join("cgroup.freeze");
        let frozen = std::fs::write(&freezer, "1").is_ok();
        let struck = self.hold_members().map(|members| {
            for (_, pidfd) in &members {
                // One that is gone meanwhile needs no signal.
                let _ = pidfd.signal(crate::signal::Signal::KILL);
            }
        });
        if frozen {
            let _ = std::fs::write(&freezer, "0");
        }
        struck
    }

    /// Removes the leaf and what is below it. It stays while somebody is in it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }
}

impl Drop for Leaf {
    /// A leaf that is not empty stays: somebody let its members live.
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

/// Waits for a leaf to be empty, after killing everybody in it when asked to.
#[derive(Debug)]
pub(crate) struct LeafWait<'a> {
    leaf: &'a Leaf,
    news: WaitSet,
    /// Kept open: the kernel remembers in it what was told.
    events: Option<File>,
    /// The member whose end is awaited, so that a slow notification costs no time.
    awaited: Option<Pidfd>,
    strikes: bool,
    pub(crate) seen: usize,
    pub(crate) rounds: u32,
    /// Nobody was left at the last step.
    pub(crate) is_empty: bool,
}

impl<'a> LeafWait<'a> {
    /// Strikes before it prepares to wait: members die meanwhile, and who has no descriptor left to wait
    /// with can still kill.
    pub(crate) fn new(leaf: &'a Leaf, strikes: bool) -> io::Result<Self> {
        let mut members = Ok(Vec::new());
        if strikes {
            members = leaf.members();
            leaf.strike()?;
        }
        let members = members?;
        let news = WaitSet::new()?;
        let events = match File::open(leaf.path.join("cgroup.events")) {
            Ok(events) => Some(events),
            Err(error) if is_gone(&error) => None,
            Err(error) => return Err(error),
        };
        if let Some(events) = &events {
            news.watch_notice(events.as_fd())?;
        }
        let (seen, rounds) = (members.len(), u32::from(strikes));
        let mut wait =
            Self { leaf, news, events, awaited: None, strikes, seen, rounds, is_empty: false };
        wait.await_one_of(&members)?;
        Ok(wait)
    }

    pub(crate) fn news(&self) -> &WaitSet {
        &self.news
    }

    pub(crate) fn step(&mut self, now: Instant) -> io::Result<Step> {
        self.news.take(&mut Vec::new());
        if !self.is_populated()? {
            self.is_empty = true;
            return Ok(Step::Done);
        }
        if self.strikes && self.leaf.kill.is_none() {
            self.rounds += 1;
            self.leaf.strike()?;
        }
        if self.awaited.as_ref().is_none_or(Pidfd::is_dead) {
            let members = self.leaf.members()?;
            self.await_one_of(&members)?;
        }
        Ok(Step::Wait(now + LOOK))
    }

    /// Lets the end of the youngest member wake us: it was killed last. One whose pid means another
    /// process by now costs a look too many, and nothing else.
    fn await_one_of(&mut self, members: &[Pid]) -> io::Result<()> {
        self.awaited = members.last().and_then(|pid| Pidfd::open(*pid).ok());
        match &self.awaited {
            Some(member) => self.news.watch_end(member, 0),
            None => Ok(()),
        }
    }

    /// Whether a member is alive in the leaf, or below. Reading the open file takes its notification.
    fn is_populated(&self) -> io::Result<bool> {
        let Some(events) = &self.events else {
            return Ok(false);
        };
        let mut text = [0; 256];
        match events.read_at(&mut text, 0) {
            Ok(length) => Ok(text[..length].starts_with(b"populated 1")),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn members(leaf: &Path) -> io::Result<Vec<Pid>> {
    let mut members = Vec::new();
    each_below(leaf, DEEPEST, &mut |path| {
        let text = match std::fs::read_to_string(path.join("cgroup.procs")) {
            Err(error) if is_gone(&error) => return Ok(()),
            text => text?,
        };
        let pids = text.lines().filter_map(|line| line.parse().ok());
        members.extend(pids.filter(|pid: &Pid| *pid > 1));
        Ok(())
    })?;
    Ok(members)
}

/// Whether a member runs in a leaf, or below it, as far as can be seen.
pub(super) fn has_members(leaf: &Path) -> bool {
    let alive = |pid: Pid| Pidfd::open(pid).map_or(true, |pidfd| !pidfd.is_dead());
    members(leaf).is_ok_and(|members| members.into_iter().any(alive))
}

/// Removes a leaf and what is below it, deepest first. It stays while somebody is in it.
pub(super) fn remove(leaf: &Path) -> io::Result<()> {
    let mut paths = Vec::new();
    each_below(leaf, DEEPEST, &mut |path| {
        paths.push(path.to_owned());
        Ok(())
    })?;
    for path in paths.iter().rev() {
        match std::fs::remove_dir(path) {
            Err(error) if !is_gone(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
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

/// A name that no other leaf has: pid and start of the owner, and a number.
pub(super) fn new_name() -> Result<String, String> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let me = ProcId::of(std::process::id()).ok_or("the process table cannot be read")?;
    Ok(format!("{PREFIX}{}-{}-{number}", me.pid(), me.start()))
}

/// Sweeps that cgroup, once in a process.
pub(super) fn sweep_once(parent: &Path) {
    static SWEPT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if !swept.iter().any(|path| path == parent) {
        swept.push(parent.to_owned());
        drop(swept);
        sweep(parent);
    }
}

/// Removes the empty leaves of owners that are gone: those that were killed before they could, and
/// those that let their trees live. A leaf with members cannot be removed, and nobody is signalled.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(owner_of);
        if owner.is_some_and(|(pid, start)| !ProcId::new(pid, start).exists()) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Whose leaf has this name.
fn owner_of(name: &str) -> Option<(Pid, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '-');
    let owner = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next()?.parse::<u64>().ok()?;
    Some(owner)
}

pub(super) fn open_to_write(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Whether a file of a cgroup says so because the cgroup was removed.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// Calls `visit` for `path` and every cgroup below it, parents first.
fn each_below(
    path: &Path,
    depth: usize,
    visit: &mut dyn FnMut(&Path) -> io::Result<()>,
) -> io::Result<()> {
    visit(path)?;
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(());
    };
    // A directory of cgroups counts the ones below it: two links are its own.
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.nlink() == 2) {
        return Ok(());
    }
    let entries = match std::fs::read_dir(path) {
        Err(error) if is_gone(&error) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let Ok(entry) = entry else { continue };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            each_below(&entry.path(), depth, visit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_leaves_have_owners() {
        assert_eq!(owner_of("lastout-12-345-0"), Some((12, 345)));
        for other in ["lastout-12-345", "lastout-12-345-x", "user.slice", "lastout--1-2-3"] {
            assert_eq!(owner_of(other), None, "{other}");
        }
    }
}
