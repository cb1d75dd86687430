//! The walk over a cgroup and all cgroups below it, however deep members have nested them.
//!
//! It holds one directory at a time and goes up again through `..`, which cannot lead elsewhere: a cgroup
//! is never moved. So neither the length of a path nor the number of free descriptors bounds the depth; the
//! deadline bounds the walk.

use crate::sys::sparing;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, fstat, openat, unlinkat};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

/// What a walk may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means {
    pub(super) until: Instant,
}

impl Means {
    /// Opens a file or a directory of the cgroup `above`.
    pub(super) fn open(
        self,
        above: BorrowedFd<'_>,
        name: impl rustix::path::Arg + Copy,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        sparing(|| openat(above, name, flags | OFlags::CLOEXEC, Mode::empty()))
    }

    /// Reads a file of the cgroup `above` to its end.
    pub(super) fn read(self, above: BorrowedFd<'_>, name: &str) -> Result<Vec<u8>, Errno> {
        let file = self.open(above, name, OFlags::RDONLY)?;
        let mut text = Vec::with_capacity(4096);
        loop {
            if text.capacity() - text.len() < 2048 {
                text.reserve(4096);
            }
            match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)) {
                Ok(0) => return Ok(text),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls `visit` with `path` and every cgroup below it, each before those below it.
    pub(super) fn each(
        self,
        path: &Path,
        visit: &mut dyn FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    ) -> io::Result<()> {
        self.walk(path, visit, &mut |_, _| Ok(()))
    }

    /// Removes every cgroup below `path`, the deepest first. Those with members stay.
    pub(super) fn remove_below(self, path: &Path) -> io::Result<()> {
        self.walk(path, &mut |_| Ok(()), &mut |above, name| match unlinkat(
            above,
            name,
            AtFlags::REMOVEDIR,
        ) {
            Err(Errno::BUSY | Errno::NOENT | Errno::NODEV) => Ok(()),
            outcome => outcome,
        })
    }

    fn walk(
        self,
        path: &Path,
        enter: &mut dyn FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
        leave: &mut dyn FnMut(BorrowedFd<'_>, &CString) -> Result<(), Errno>,
    ) -> io::Result<()> {
        let mut here = match self.open(CWD, path, DIRECTORY) {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            opened => opened?,
        };
        enter(here.as_fd())?;
        // The names that are still to be entered, at each depth, and the one that was entered last.
        let mut waiting = vec![below(here.as_fd())?];
        let mut entered: Vec<CString> = Vec::new();
        // Not every turn asks for the time: what is small is walked whole, however late it is.
        let mut turn = 0u32;
        while let Some(names) = waiting.last_mut() {
            turn = turn.wrapping_add(1);
            if turn % 64 == 0 && Instant::now() >= self.until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if let Some(name) = names.pop() {
                let inner = match self.open(here.as_fd(), &*name, DIRECTORY) {
                    Err(Errno::NOENT | Errno::NODEV) => continue,
                    opened => opened?,
                };
                here = inner;
                entered.push(name);
                enter(here.as_fd())?;
                waiting.push(below(here.as_fd())?);
                continue;
            }
            waiting.pop();
            if let Some(name) = entered.pop() {
                here = self.open(here.as_fd(), c"..", DIRECTORY)?;
                leave(here.as_fd(), &name)?;
            }
        }
        Ok(())
    }
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW);

/// The names of the cgroups right below.
fn below(cgroup: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    // A directory of cgroups counts the ones below it: two links are its own.
    if fstat(cgroup)?.st_nlink == 2 {
        return Ok(names);
    }
    let mut space = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(cgroup, &mut space);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::NOENT | Errno::NODEV) => break,
            entry => entry?,
        };
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_depth_beyond_the_longest_path_is_walked_and_removed() {
        // Plain directories stand for cgroups; the names make the path longer than a path may be.
        let top = std::env::temp_dir().join(format!("lastout-below-{}", std::process::id()));
        std::fs::create_dir(&top).unwrap();
        let name = "d".repeat(200);
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut here = openat(CWD, &top, flags, Mode::empty()).unwrap();
        for _ in 0..100 {
            rustix::fs::mkdirat(&here, &*name, Mode::RWXU).unwrap();
            here = openat(&here, &*name, flags, Mode::empty()).unwrap();
        }
        let means = Means { until: Instant::now() + Duration::from_secs(60) };
        let mut count = 0;
        let counted = means.each(&top, &mut |_| {
            count += 1;
            Ok(())
        });
        let late = Means { until: Instant::now() }.each(&top, &mut |_| Ok(()));
        means.remove_below(&top).unwrap();
        std::fs::remove_dir(&top).unwrap();
        counted.unwrap();
        assert_eq!(count, 101);
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
