//! Removing a directory in which nobody lives any more, and seeing that it stays gone.

use lastout_proc_tree::{Deadline, StaysDead, StaysDeadError, Tree};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a directory is watched after its removal when the machine cannot promise that the whole
/// tree was seen. Where it can, a tree that is gone writes nothing, and no time is spent.
const WINDOW: Duration = Duration::from_millis(50);

/// Removes the directory with all that is in it; symbolic links in it are removed, not followed.
///
/// When it comes back, the members of the tree are killed again.
pub(super) fn remove(
    path: &Path,
    tree: Option<&Tree>,
    deadline: Instant,
) -> Result<(), StaysDeadError> {
    let doubtful = tree.is_some_and(|tree| !tree.guarantee().is_complete());
    let window = if doubtful { WINDOW } else { Duration::ZERO };
    let removed = || {
        let removal = StaysDead::new(path).window(window).within(Deadline::at(deadline));
        match tree {
            Some(tree) => removal.suspect(tree).remove_blocking(),
            None => removal.remove_blocking(),
        }
        .map(drop)
    };
    removed().or_else(|_| {
        open_up(path, DEEPEST);
        removed()
    })
}

/// How deep directories are opened up. Browsers make less than ten levels.
const DEEPEST: u32 = 64;

/// Gives our own directories back the rights that removing needs: something that ran in them may have taken
/// them away. Never through a link, and never what belongs to another user.
fn open_up(path: &Path, levels: u32) {
    use rustix::fs::{Mode, OFlags};
    use std::os::fd::AsRawFd;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(dir) = rustix::fs::open(path, flags, Mode::empty()) else {
        return;
    };
    let ours = rustix::process::geteuid().as_raw();
    if levels == 0 || !rustix::fs::fstat(&dir).is_ok_and(|found| found.st_uid == ours) {
        return;
    }
    // The directory itself, whatever has its name by now.
    let itself = format!("/proc/self/fd/{}", dir.as_raw_fd());
    // When it fails, so does the removal, which says why.
    let _ = rustix::fs::chmod(&*itself, Mode::RWXU);
    for entry in std::fs::read_dir(&itself).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path(), levels - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    // As root this shows nothing: nobody takes rights away from it.
    #[test]
    fn a_directory_without_rights_is_removed_and_a_link_is_not_followed() {
        let unique = format!("lo-rights-{}", std::process::id());
        let (root, other) = (std::env::temp_dir().join(&unique), std::env::temp_dir());
        let other = other.join(format!("{unique}-other"));
        for dir in ["a/b/c", "d"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(root.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&other, root.join("a/b/link")).unwrap();
        let rights = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        rights(&other, 0o500);
        for dir in ["a/b/c", "a/b", "a", "d"] {
            rights(&root.join(dir), 0o000);
        }
        remove(&root, None, Instant::now() + Duration::from_secs(30)).unwrap();
        assert!(!root.exists());
        let mode = std::fs::metadata(&other).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o500, "what a link points to is not ours");
        std::fs::remove_dir(&other).unwrap();
    }
}
