//! How much memory can be had before something is killed for it.

use std::path::{Path, PathBuf};

/// Bytes that can be had without swapping: what the machine has available, or what the control groups
/// of this process leave of their limits, whichever is less. `None` where nobody says.
pub(crate) fn free_memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| available(&text));
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = groups(&own, Path::new("/sys/fs/cgroup"));
    groups.iter().filter_map(|group| left_in(group)).chain(machine).min()
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The folder of the process's own group (version 2), and those above it: each may have a limit.
fn groups(own: &str, mount: &Path) -> Vec<PathBuf> {
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Vec::new();
    };
    let folder = mount.join(path);
    folder.ancestors().take_while(|path| path.starts_with(mount)).map(Path::to_owned).collect()
}

/// What a group may still use: its limit without what is in use, where files that were only read once
/// count as free, because the kernel drops them first.
fn left_in(group: &Path) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    // "max" is no number, and no limit.
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    let stat = read("memory.stat").unwrap_or_default();
    let files = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let files: u64 = files.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_what_is_available() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    12 kB\n"), Some(12 * 1024));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert!(!cfg!(target_os = "linux") || free_memory().is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn the_groups_above_count_too() {
        let mount = Path::new("/m");
        let found = groups("1:name=x:/y\n0::/a/b\n", mount);
        assert_eq!(found, ["/m/a/b", "/m/a", "/m"].map(PathBuf::from));
        assert_eq!(groups("0::/\n", mount).last().map(PathBuf::as_path), Some(mount));
        assert!(groups("1:memory:/a\n", mount).is_empty(), "version 1 is not read");
    }

    #[test]
    fn a_limit_leaves_what_is_not_in_use() {
        let group = std::env::temp_dir().join(format!("lo-group-{}", std::process::id()));
        std::fs::create_dir(&group).unwrap();
        let write = |name: &str, text: &str| std::fs::write(group.join(name), text).unwrap();
        assert_eq!(left_in(&group), None);
        write("memory.max", "max\n");
        write("memory.current", "600\n");
        assert_eq!(left_in(&group), None);
        write("memory.max", "1000\n");
        assert_eq!(left_in(&group), Some(400));
        write("memory.stat", "anon 1\ninactive_file 100\nactive_file 7\n");
        assert_eq!(left_in(&group), Some(500));
        write("memory.current", "5000\n");
        assert_eq!(left_in(&group), Some(0));
        for name in ["memory.max", "memory.current", "memory.stat"] {
            std::fs::remove_file(group.join(name)).unwrap();
        }
        std::fs::remove_dir(group).unwrap();
    }
}
