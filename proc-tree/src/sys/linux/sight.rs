//! Whether `/proc` shows the caller every process: the mount option `hidepid` keeps those of other users from
//! it, and those of its own user that may not be traced, such as an `ssh-agent`.

use rustix::thread::CapabilitySet;
use std::sync::OnceLock;

/// Whether processes may be there that the caller does not see.
pub(crate) fn hides_processes() -> bool {
    static MOUNTED: OnceLock<Option<Hiding>> = OnceLock::new();
    let mounted = MOUNTED.get_or_init(|| {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        hiding(&mounts)
    });
    let Some(hiding) = mounted else {
        return false;
    };
    // Whoever may trace everybody sees everybody. Privileges may be given up later, so this is asked anew. In a
    // user namespace they do not count for a process whose program belongs to a user outside of it.
    let traces = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE))
        && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| maps_everybody(&map));
    let is_exempt = hiding.group.is_some_and(|group| {
        let groups = rustix::process::getgroups().unwrap_or_default();
        rustix::process::getegid().as_raw() == group
            || groups.iter().any(|one| one.as_raw() == group)
    });
    !traces && !is_exempt
}

/// Whether a map of user ids is that of the first user namespace.
fn maps_everybody(map: &str) -> bool {
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// How a mount hides processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hiding {
    /// This group sees everybody.
    group: Option<u32>,
}

/// What the table of mounts says of `/proc`; the last mount there counts.
fn hiding(mounts: &str) -> Option<Hiding> {
    let mut options = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let is_proc = left.split(' ').nth(4) == Some("/proc") && right.next() == Some("proc");
        is_proc.then(|| right.nth(1).unwrap_or_default())
    });
    let options = options.next_back()?;
    let value = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name));
    match value("hidepid=")? {
        "0" | "off" => None,
        _ => Some(Hiding { group: value("gid=").and_then(|group| group.parse().ok()) }),
    }
}

/// One more than the largest pid there may be.
pub(super) fn pid_max() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
    text.trim().parse().unwrap_or(1 << 22)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_user_namespace_maps_everybody() {
        assert!(maps_everybody("         0          0 4294967295\n"));
        for map in ["", "0 1000 1\n", "0 0 65536\n", "0 0 4294967295\n1 1 1\n"] {
            assert!(!maps_everybody(map), "{map}");
        }
    }

    #[test]
    fn only_a_mount_that_hides_is_taken_for_one() {
        let line =
            |options: &str| format!("22 27 0:21 / /proc rw,relatime - proc proc {options}\n");
        for plain in ["rw", "rw,hidepid=0", "rw,hidepid=off,gid=7"] {
            assert_eq!(hiding(&line(plain)), None, "{plain}");
        }
        assert_eq!(hiding(&line("rw,hidepid=2")), Some(Hiding { group: None }));
        let with_group = Some(Hiding { group: Some(7) });
        assert_eq!(hiding(&line("rw,gid=7,hidepid=invisible")), with_group);
        let over = line("rw") + &line("rw,hidepid=noaccess");
        assert!(hiding(&over).is_some());
        assert_eq!(hiding(&(over + &line("rw"))), None);
        assert_eq!(hiding("35 25 0:30 / /tmp/proc rw - proc proc rw,hidepid=2\n"), None);
    }
}
