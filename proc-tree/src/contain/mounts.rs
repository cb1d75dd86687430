//! Where the cgroups of the calling process are mounted: pure, from the text of two files of `/proc`.

use std::path::{Path, PathBuf};

/// The directory of the caller's cgroup in the v2 hierarchy.
pub(super) fn own_v2() -> Result<PathBuf, String> {
    let (mounts, own) = read()?;
    locate_v2(&mounts, &own).ok_or_else(|| "no cgroup v2 is mounted".into())
}

/// The directory of the caller's cgroup in the v1 hierarchy of that controller.
pub(super) fn own_v1(controller: &str) -> Result<PathBuf, String> {
    let (mounts, own) = read()?;
    locate_v1(&mounts, &own, controller)
        .ok_or_else(|| format!("no hierarchy of {controller} is mounted"))
}

fn read() -> Result<(String, String), String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo");
    let mounts = mounts.map_err(|error| format!("read the mount table: {error}"))?;
    let own = std::fs::read_to_string("/proc/self/cgroup");
    let own = own.map_err(|error| format!("read the own cgroup: {error}"))?;
    Ok((mounts, own))
}

/// Finds the directory of the cgroup that `own` names, in pure and in hybrid layouts.
pub(super) fn locate_v2(mounts: &str, own: &str) -> Option<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    locate(mounts, own, |kind, _| kind == "cgroup2")
}

fn locate_v1(mounts: &str, own: &str, controller: &str) -> Option<PathBuf> {
    let names = |list: &str| list.split(',').any(|name| name == controller);
    let own = own.lines().find_map(|line| {
        // number:controllers:path
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        names(controllers).then_some(path)
    })?;
    locate(mounts, own, |kind, options| kind == "cgroup" && names(options))
}

/// Finds a mount of that kind, with those options of the file system, which shows the cgroup `own`.
fn locate(mounts: &str, own: &str, fits: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        // id parent device root mountpoint options… - type source super-options
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let kind = right.next()?;
        if !fits(kind, right.nth(1).unwrap_or_default()) {
            return None;
        }
        let mut fields = left.split(' ').skip(3);
        let root = unescape(fields.next()?);
        let mountpoint = unescape(fields.next()?);
        let below = Path::new(own).strip_prefix(&root).ok()?;
        let below_is_plain = !below.components().any(|part| part.as_os_str() == "..");
        below_is_plain.then(|| Path::new(&mountpoint).join(below))
    })
}

/// The mount table writes spaces, tabs, newlines and backslashes as three octal digits.
fn unescape(field: &str) -> String {
    let mut out = String::new();
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4);
        let byte = code.and_then(|code| u8::from_str_radix(code, 8).ok());
        match byte {
            Some(byte) if byte.is_ascii() => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            _ => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 /box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw
";
    const PURE: &str = "35 25 0:30 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn hybrid_and_pure_layouts_are_found() {
        let own = "4:memory:/x\n0::/user.slice/a\n";
        let path = locate_v2(HYBRID, own).unwrap();
        assert_eq!(path, Path::new("/sys/fs/cgroup/unified/user.slice/a"));
        let path = locate_v2(PURE, "0::/\n").unwrap();
        assert_eq!(path, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn the_hierarchy_of_a_controller_is_found_by_its_whole_name() {
        let own = "5:cpu,cpuacct:/a\n4:memory:/box/b\n3:name=systemd:/\n0::/\n";
        let found = |controller| locate_v1(HYBRID, own, controller);
        assert_eq!(found("cpu").unwrap(), Path::new("/sys/fs/cgroup/cpu,cpuacct/a"));
        assert_eq!(found("cpuacct").unwrap(), Path::new("/sys/fs/cgroup/cpu,cpuacct/a"));
        assert_eq!(found("memory").unwrap(), Path::new("/sys/fs/cgroup/memory/b"));
        for other in ["mem", "pids", "", "rw", "systemd"] {
            assert_eq!(found(other), None, "{other}");
        }
        assert_eq!(locate_v1(PURE, own, "memory"), None);
    }

    #[test]
    fn a_mount_of_a_part_is_used_only_for_what_it_holds() {
        let part = "35 25 0:30 /docker/9f /sys/fs/cg\\040x rw - cgroup2 cgroup rw\n";
        let path = locate_v2(part, "0::/docker/9f/app\n").unwrap();
        assert_eq!(path, Path::new("/sys/fs/cg x/app"));
        assert_eq!(locate_v2(part, "0::/other\n"), None);
        assert_eq!(locate_v2(PURE, "0::/../outside\n"), None);
        assert_eq!(locate_v2(PURE, "4:memory:/only-v1\n"), None);
        assert_eq!(locate_v2("", "0::/\n"), None);
    }
}
