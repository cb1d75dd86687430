//! Removes a directory and everything below it, whatever other processes do to it meanwhile.
//!
//! The removal holds one directory at a time. It descends by name, never through a link and never into another
//! mount. It ascends through `..`, and continues only if that is the directory it came from, so a directory that is
//! moved meanwhile does not lead it elsewhere. Neither the depth nor the number of free descriptors matters.

use super::reserve::sparing;
use rustix::fs::{
    AtFlags, CWD, Dev, FileType, Mode, OFlags, RawDir, ResolveFlags, StatxFlags, fstat, openat,
    openat2, statx, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Removes what `path` names, and everything below it.
///
/// What is there takes the time that it takes. What others have put there since the beginning is removed until
/// `until`, and then it is `DirectoryNotEmpty`.
pub(crate) fn remove_all(path: &Path, until: Instant) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(Errno::INVAL.into());
    };
    let name = CString::new(name.as_bytes())?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let removal = Removal { begin: SystemTime::now(), until };
    match sparing(|| openat(CWD, above.unwrap_or(Path::new(".")), PLACE, Mode::empty())) {
        Err(Errno::NOENT) => Ok(()),
        above => Ok(removal.remove(above?, &name)?),
    }
}

const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// How many names of directories are kept of each that is listed, so that a wide one is not listed again for
/// each of them.
const MANY: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Removal {
    begin: SystemTime,
    until: Instant,
}

/// A directory that was left for one below it.
#[derive(Debug)]
struct Left {
    id: (Dev, u64),
    /// The name of the one below.
    name: CString,
    /// Those beside it that are still to be emptied.
    full: Vec<CString>,
}

impl Removal {
    fn remove(self, place: OwnedFd, top: &CStr) -> Result<(), Errno> {
        if unlink(place.as_fd(), top)? {
            return Ok(());
        }
        // A mount point says that it is busy: what is in it is not ours.
        match remove_directory(place.as_fd(), top) {
            Ok(()) => return Ok(()),
            Err(Errno::BUSY) => return Err(Errno::BUSY),
            Err(_) => {}
        }
        let mut here = match sparing(|| openat(&place, top, DIRECTORY, Mode::empty())) {
            Err(Errno::NOENT) => return Ok(()),
            // Another process has replaced it since.
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(Errno::NOTEMPTY),
            opened => opened?,
        };
        let mut above: Vec<Left> = Vec::new();
        let mut full = Vec::new();
        loop {
            if full.is_empty() {
                full = self.empty(here.as_fd())?;
            }
            if let Some(name) = full.pop() {
                let below = match enter(here.as_fd(), &name) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                    entered => entered?,
                };
                above.push(Left { id: id(here.as_fd())?, name, full: std::mem::take(&mut full) });
                here = below;
                continue;
            }
            let Some(left) = above.pop() else {
                return match remove_directory(place.as_fd(), top) {
                    Err(Errno::NOTDIR) => Err(Errno::NOTEMPTY),
                    outcome => outcome,
                };
            };
            here = sparing(|| openat(&here, c"..", DIRECTORY, Mode::empty()))?;
            if id(here.as_fd())? != left.id {
                // It was moved away while it was emptied, so what is left of it is not below the top.
                return Err(Errno::NOTEMPTY);
            }
            full = left.full;
            match remove_directory(here.as_fd(), &left.name) {
                // Somebody has written into it, or put something else there: it is listed again.
                Err(Errno::NOTEMPTY) if Instant::now() < self.until => {}
                Err(Errno::NOTDIR) => {}
                outcome => outcome?,
            }
        }
    }

    /// Removes what is in a directory but for the directories that are not empty; the names of the first [`MANY`].
    fn empty(self, directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
        let mut full = Vec::new();
        rustix::fs::seek(directory, rustix::fs::SeekFrom::Start(0))?;
        let mut space = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(directory, &mut space);
        while let Some(entry) = entries.next().filter(|_| full.len() < MANY) {
            let entry = match entry {
                Err(Errno::NOENT) => break,
                entry => entry?,
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if Instant::now() >= self.until && self.is_new(directory, name) {
                return Err(Errno::NOTEMPTY);
            }
            let is_directory = entry.file_type() == FileType::Directory;
            if !is_directory && unlink(directory, name)? {
                continue;
            }
            match remove_directory(directory, name) {
                Err(Errno::NOTEMPTY) => full.push(name.to_owned()),
                // It was a directory a moment ago.
                Err(Errno::NOTDIR) => drop(unlink(directory, name)?),
                outcome => outcome?,
            }
        }
        Ok(full)
    }

    /// Whether somebody has made this since the beginning. The times of a directory are changed by its
    /// removal, so of one whose birth is not told it is not known.
    fn is_new(self, directory: BorrowedFd<'_>, name: &CStr) -> bool {
        let flags = StatxFlags::BTIME | StatxFlags::CTIME | StatxFlags::TYPE;
        let Ok(seen) = statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, flags) else {
            return false;
        };
        let is_directory = FileType::from_raw_mode(seen.stx_mode.into()) == FileType::Directory;
        let has_birth = seen.stx_mask & StatxFlags::BTIME.bits() != 0;
        let time = if has_birth { seen.stx_btime } else { seen.stx_ctime };
        let since = u64::try_from(time.tv_sec).unwrap_or(0);
        let made = SystemTime::UNIX_EPOCH + Duration::new(since, time.tv_nsec);
        (has_birth || !is_directory) && made > self.begin
    }
}

/// Removes what is no directory; whether it was none. What is gone already is fine.
fn unlink(directory: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove_directory(directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::EXIST) => Err(Errno::NOTEMPTY),
        Err(error) => Err(error),
    }
}

/// Opens a directory of this very mount.
fn enter(above: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match sparing(|| openat2(above, name, DIRECTORY, Mode::empty(), resolve)) {
        // Before Linux 5.6, or behind a filter.
        Err(Errno::NOSYS | Errno::PERM) => {}
        opened => return opened,
    }
    let opened = sparing(|| openat(above, name, DIRECTORY, Mode::empty()))?;
    match fstat(&opened)?.st_dev == fstat(above)?.st_dev {
        true => Ok(opened),
        false => Err(Errno::XDEV),
    }
}

fn id(directory: BorrowedFd<'_>) -> Result<(Dev, u64), Errno> {
    let seen = fstat(directory)?;
    Ok((seen.st_dev, seen.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_its_time_a_removal_goes_on_with_what_was_there_and_not_with_what_comes() {
        let path = std::env::temp_dir().join(format!("lastout-growing-{}", std::process::id()));
        let make = || std::fs::create_dir_all(path.join("a/b")).unwrap();
        make();
        std::fs::write(path.join("a/file"), "text").unwrap();
        let at = sparing(|| openat(CWD, std::env::temp_dir(), PLACE, Mode::empty())).unwrap();
        let name = CString::new(path.file_name().unwrap().as_bytes()).unwrap();
        let until = Instant::now();
        let everything_is_new = Removal { begin: SystemTime::UNIX_EPOCH, until };
        let prevented = everything_is_new.remove(at, &name);
        assert_eq!(prevented, Err(Errno::NOTEMPTY));
        assert!(path.join("a/file").exists());
        remove_all(&path, until).unwrap();
        assert!(!path.exists());
        make();
        remove_all(&path, until + Duration::from_secs(60)).unwrap();
        assert!(!path.exists());
    }
}
