//! Who made a leaf, as its name tells: so that the next program can remove what a killed one has left.

use super::cgroup::remove_now;
use crate::id::{Pid, ProcId};
use crate::sys;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the names of all leaves begin with; who made it, and its number, follow.
const PREFIX: &str = "lastout-";

/// A name that no other leaf has: who made it, and a number.
pub(super) fn new_name() -> Result<String, String> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let owner = Owner::current().ok_or("the calling process cannot be looked at")?;
    Ok(owner.leaf(number))
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

/// Who made a leaf. The numbers of another PID namespace say nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    namespace: u64,
    pid: Pid,
    start: u64,
    /// 0 where the kernel gives none.
    inode: u64,
}

impl Owner {
    fn current() -> Option<Self> {
        let me = ProcId::of(std::process::id())?;
        let namespace = sys::pid_namespace()?;
        let inode = me.inode().map_or(0, std::num::NonZeroU64::get);
        Some(Self { namespace, pid: me.pid(), start: me.start(), inode })
    }

    fn leaf(&self, number: u64) -> String {
        let Self { namespace, pid, start, inode } = self;
        format!("{PREFIX}{namespace}-{pid}-{start}-{inode}-{number}")
    }

    /// Whether it certainly does not live any more.
    fn is_gone(&self) -> bool {
        if sys::pid_namespace() != Some(self.namespace) {
            return false;
        }
        match sys::identify(self.pid) {
            sys::Identified::Nobody => true,
            sys::Identified::Unknown(..) => false,
            // A start counts differently in another time namespace, so the inode tells where it is known.
            sys::Identified::Process(now, ..) => match now.inode() {
                Some(inode) if self.inode != 0 => inode.get() != self.inode,
                _ => now.start() != self.start,
            },
        }
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
        if owner.is_some_and(|owner| owner.is_gone()) {
            let _ = remove_now(&entry.path());
        }
    }
}

/// Whose leaf has this name.
fn owner_of(name: &str) -> Option<Owner> {
    let mut parts = name.strip_prefix(PREFIX)?.splitn(5, '-');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (namespace, pid, start, inode) = (number()?, number()?, number()?, number()?);
    number()?;
    Some(Owner { namespace, pid: pid.try_into().ok()?, start, inode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_leaves_have_owners() {
        let owner = Owner { namespace: 7, pid: 12, start: 345, inode: 99 };
        assert_eq!(owner_of(&owner.leaf(3)), Some(owner));
        for other in
            ["lastout-7-12-345-99", "lastout-7-12-345-99-x", "user.slice", "lastout--1-2-3-4-5"]
        {
            assert_eq!(owner_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_leaf_of_another_pid_namespace_or_of_a_living_owner_is_not_swept() {
        let me = Owner::current().unwrap();
        assert!(!me.is_gone());
        assert!(!Owner { namespace: me.namespace + 1, inode: me.inode + 1, ..me }.is_gone());
        assert!(Owner { start: me.start + 1, inode: me.inode + 1, ..me }.is_gone());
    }
}
