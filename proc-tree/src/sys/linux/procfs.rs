//! Reads `/proc` through one directory descriptor and one buffer.

use super::reserve::{Reserve, is_shortage, open_proc, sparing};
use super::stat::parse;
use crate::engine::{Listing, Stat};
use crate::id::{BootId, Pid};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use std::io;
use std::io::{Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};

/// An open `/proc`, with the buffer that its files are read into.
#[derive(Debug)]
pub(crate) struct ProcFs {
    root: Root,
    buffer: Vec<u8>,
    ran_short: bool,
    is_hidden: bool,
}

/// The directory, open for this one alone or for all trees.
#[derive(Debug)]
enum Root {
    Own(OwnedFd),
    Shared(Arc<Reserve>),
}

/// The first size of the buffer. A longer file makes it grow: nothing is cut off.
const BUFFER: usize = 16 * 1024;

impl ProcFs {
    /// Needs no free descriptor while the calling process has trees.
    pub(crate) fn open() -> io::Result<Self> {
        let root = match Reserve::current() {
            Some(reserve) => Root::Shared(reserve),
            None => Root::Own(open_proc()?),
        };
        Ok(Self { root, buffer: Vec::with_capacity(BUFFER), ran_short: false, is_hidden: false })
    }

    /// Whether the state of a process that exists could not be read since the last call.
    pub(crate) fn was_hidden(&mut self) -> bool {
        std::mem::take(&mut self.is_hidden)
    }

    /// Whether something since the last call could not be opened although it may be there.
    pub(crate) fn ran_short(&mut self) -> bool {
        std::mem::take(&mut self.ran_short)
    }

    pub(super) fn open_below(&mut self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let root = match &self.root {
            Root::Own(root) => root.as_fd(),
            Root::Shared(reserve) => reserve.proc(),
        };
        let file = sparing(|| openat(root, name, flags | OFlags::CLOEXEC, Mode::empty()));
        self.ran_short |= file.as_ref().is_err_and(|error| is_shortage(*error));
        file
    }

    /// The state of the process; `None` when it is gone or hidden.
    pub(crate) fn stat(&mut self, pid: Pid) -> Option<Stat> {
        let read = self.read(format_args!("{pid}/stat"));
        self.is_hidden |= matches!(read, Err(Errno::PERM | Errno::ACCESS));
        read.ok()?;
        parse(&self.buffer).map(|(stat, _)| stat)
    }

    /// Whether `pid` is that of a process, and not of one of its threads.
    pub(crate) fn is_process(&mut self, pid: Pid) -> bool {
        let read = self.read(format_args!("{pid}/status"));
        let mut lines = self.buffer.split(|byte| *byte == b'\n');
        let group = lines.find_map(|line| line.strip_prefix(b"Tgid:"));
        read.is_ok() && group.and_then(|group| decimal(group.trim_ascii())) == Some(pid)
    }

    /// The state and the name of the process.
    pub(crate) fn stat_and_name(&mut self, pid: Pid) -> Option<(Stat, Vec<u8>)> {
        self.read(format_args!("{pid}/stat")).ok()?;
        parse(&self.buffer).map(|(stat, name)| (stat, name.to_vec()))
    }

    /// Whether every thread of the process is stopped, or has ended.
    pub(crate) fn all_threads_stopped(&mut self, pid: Pid) -> bool {
        let mut threads = Vec::new();
        if self.list(format_args!("{pid}/task"), &mut threads).is_err() {
            return true;
        }
        threads.into_iter().all(|thread| {
            if self.read(format_args!("{pid}/task/{thread}/stat")).is_err() {
                return true;
            }
            parse(&self.buffer).is_none_or(|(stat, _)| {
                stat.state.is_stopped() || stat.state.is_zombie() || stat.state.is_uninterruptible()
            })
        })
    }

    /// Appends the children of all threads of `pid` to `out`.
    pub(crate) fn children(&mut self, pid: Pid, out: &mut Vec<Pid>) -> Listing {
        let mut threads = [0; 64];
        let count = match self.threads(pid, &mut threads) {
            Ok(count) => count,
            Err(Errno::MFILE | Errno::NFILE) => return Listing::Exhausted,
            Err(_) => return Listing::Gone,
        };
        if count <= threads.len() {
            return self.children_of_threads(pid, &threads[..count], out);
        }
        let mut many = Vec::new();
        match self.list(format_args!("{pid}/task"), &mut many) {
            Ok(()) => self.children_of_threads(pid, &many, out),
            Err(Errno::MFILE | Errno::NFILE) => Listing::Exhausted,
            Err(_) => Listing::Gone,
        }
    }

    fn children_of_threads(&mut self, pid: Pid, threads: &[Pid], out: &mut Vec<Pid>) -> Listing {
        let mut worth = Listing::Gone;
        for thread in threads {
            match self.read(format_args!("{pid}/task/{thread}/children")) {
                Ok(()) => {
                    worth = Listing::Whole;
                    let words = self.buffer.split(|byte| byte.is_ascii_whitespace());
                    out.extend(words.filter_map(decimal));
                }
                Err(Errno::MFILE | Errno::NFILE) => return Listing::Exhausted,
                Err(Errno::NOENT | Errno::ACCESS | Errno::PERM)
                    if self.thread_exists(pid, *thread) =>
                {
                    return Listing::Unsupported;
                }
                Err(_) => {}
            }
        }
        worth
    }

    fn thread_exists(&mut self, pid: Pid, thread: Pid) -> bool {
        self.read(format_args!("{pid}/task/{thread}/stat")).is_ok()
    }

    /// Calls `visit` with each thread of `pid`.
    pub(crate) fn each_thread(&mut self, pid: Pid, visit: &mut dyn FnMut(Pid)) {
        // Who is gone has none.
        let _ = self.each(format_args!("{pid}/task"), visit);
    }

    /// Fills `out` with the threads and returns how many there are, which may be more than fit.
    fn threads(&mut self, pid: Pid, out: &mut [Pid]) -> Result<usize, Errno> {
        let mut count = 0;
        self.each(format_args!("{pid}/task"), &mut |thread| {
            if let Some(slot) = out.get_mut(count) {
                *slot = thread;
            }
            count += 1;
        })?;
        Ok(count)
    }

    /// Appends every pid of the machine, as far as this process may see it.
    pub(crate) fn all(&mut self, out: &mut Vec<Pid>) -> io::Result<()> {
        Ok(self.list(format_args!("."), out)?)
    }

    /// Whether the environment of `pid`, as it was at its exec, holds exactly `entry`.
    pub(crate) fn has_variable(&mut self, pid: Pid, entry: &[u8]) -> bool {
        self.read(format_args!("{pid}/environ")).is_ok()
            && self.buffer.split(|byte| *byte == 0).any(|variable| variable == entry)
    }

    /// Whether the limits of `pid` hold the mark.
    pub(crate) fn shows_mark(&mut self, pid: Pid, mark: u64) -> bool {
        self.read(format_args!("{pid}/limits")).is_ok() && super::mark::is_in(&self.buffer, mark)
    }

    /// Whether `marker` stands whole in the command line of `pid`.
    ///
    /// Programs that set a title join their arguments by spaces, so a space ends an argument too.
    pub(crate) fn has_argument(&mut self, pid: Pid, marker: &[u8]) -> bool {
        if marker.is_empty() || self.read(format_args!("{pid}/cmdline")).is_err() {
            return false;
        }
        holds_word(&self.buffer, marker)
    }

    fn list(&mut self, path: std::fmt::Arguments<'_>, out: &mut Vec<Pid>) -> Result<(), Errno> {
        self.each(path, &mut |pid| out.push(pid))
    }

    fn each(
        &mut self,
        path: std::fmt::Arguments<'_>,
        take: &mut dyn FnMut(Pid),
    ) -> Result<(), Errno> {
        let mut name = [0; 64];
        let name = render(&mut name, path)?;
        let directory = self.open_below(name, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut space = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(directory, &mut space);
        while let Some(entry) = entries.next() {
            if let Some(pid) = decimal(entry?.file_name().to_bytes()) {
                take(pid);
            }
        }
        Ok(())
    }

    /// Reads a whole file into the buffer, however long it is.
    fn read(&mut self, path: std::fmt::Arguments<'_>) -> Result<(), Errno> {
        let mut name = [0; 64];
        let name = render(&mut name, path)?;
        let file = self.open_below(name, OFlags::RDONLY)?;
        self.buffer.clear();
        loop {
            if self.buffer.capacity() - self.buffer.len() < BUFFER / 2 {
                self.buffer.reserve(BUFFER);
            }
            match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut self.buffer)) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for ProcFs {
    /// What was opened in the place of spare descriptors is closed by now.
    fn drop(&mut self) {
        if let Root::Shared(reserve) = &self.root {
            reserve.refill();
        }
    }
}

/// The directory of one process or thread, open: its files tell of that one alone.
#[derive(Debug)]
pub(crate) struct Entry(OwnedFd);

impl Entry {
    pub(crate) fn open(number: Pid) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        sparing(|| openat(CWD, format!("/proc/{number}"), flags, Mode::empty())).map(Self)
    }

    /// The pid of the process, while the thread is alive.
    pub(crate) fn process(&self) -> Result<Pid, Errno> {
        let text = self.read("status")?;
        let mut lines = text.split(|byte| *byte == b'\n');
        let group = lines.find_map(|line| line.strip_prefix(b"Tgid:"));
        group.and_then(|group| decimal(group.trim_ascii())).ok_or(Errno::SRCH)
    }

    /// Whether it is in the cgroup with this name, or below it.
    pub(crate) fn is_in(&self, cgroup: &str) -> Result<bool, Errno> {
        let text = self.read("cgroup")?;
        let mut lines = text.split(|byte| *byte == b'\n');
        let path = lines.find_map(|line| line.strip_prefix(b"0::"));
        let mut names = path.unwrap_or_default().split(|byte| *byte == b'/');
        Ok(names.any(|name| name == cgroup.as_bytes()))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = sparing(|| openat(&self.0, name, flags, Mode::empty()))?;
        let mut text = Vec::new();
        let read = std::fs::File::from(file).read_to_end(&mut text);
        // Nothing but its end keeps an open file of a process from being read.
        read.map(|_| text).map_err(|_| Errno::SRCH)
    }
}

/// Whether `marker` stands in `text` between NULs, spaces, or its ends.
fn holds_word(text: &[u8], marker: &[u8]) -> bool {
    let ends = |byte: Option<&u8>| byte.is_none_or(|byte| matches!(byte, 0 | b' '));
    text.windows(marker.len()).enumerate().any(|(at, window)| {
        window == marker
            && ends(at.checked_sub(1).map(|before| &text[before]))
            && ends(text.get(at + marker.len()))
    })
}

pub(super) fn decimal(word: &[u8]) -> Option<Pid> {
    let all_digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(word).ok()?.parse().ok())?
}

fn render<'a>(space: &'a mut [u8; 64], path: std::fmt::Arguments<'_>) -> Result<&'a str, Errno> {
    let mut rest = &mut space[..];
    rest.write_fmt(path).map_err(|_| Errno::NAMETOOLONG)?;
    let left = rest.len();
    let used = space.len() - left;
    std::str::from_utf8(&space[..used]).map_err(|_| Errno::INVAL)
}

/// Which boot of the machine this is, by a number that differs between boots.
pub(crate) fn boot() -> BootId {
    static CURRENT: OnceLock<BootId> = OnceLock::new();
    *CURRENT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits = text.chars().filter_map(|digit| digit.to_digit(16));
        BootId(digits.fold(0, |id, digit| id.rotate_left(4) ^ u64::from(digit)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_counts_only_as_a_whole_word() {
        let title = b"/opt/chrome --type=gpu --user-data-dir=/tmp/a b\0";
        let argv = b"chrome\0--user-data-dir=/tmp/a\0--x\0";
        let longer = b"chrome\0--user-data-dir=/tmp/ab\0";
        let marker = b"--user-data-dir=/tmp/a";
        assert!(holds_word(title, marker) && holds_word(argv, marker));
        assert!(!holds_word(longer, marker) && !holds_word(b"", marker));
        assert!(!holds_word(b"x--user-data-dir=/tmp/a", marker));
    }

    #[test]
    fn a_list_of_children_longer_than_any_buffer_is_read_whole() {
        let folder = std::env::temp_dir().join(format!("lastout-procfs-{}", std::process::id()));
        let thread = folder.join("77/task/77");
        std::fs::create_dir_all(&thread).unwrap();
        let expected: Vec<Pid> = (1_000_000..1_030_000).collect();
        let list: String = expected.iter().map(|pid| format!("{pid} ")).collect();
        assert!(list.len() > 8 * BUFFER);
        std::fs::write(thread.join("children"), list).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut proc = ProcFs {
            root: Root::Own(openat(CWD, &folder, flags, Mode::empty()).unwrap()),
            buffer: Vec::new(),
            ran_short: false,
            is_hidden: false,
        };
        let mut children = Vec::new();
        let listing = proc.children(77, &mut children);
        for path in ["77/task/77/children", "77/task/77", "77/task", "77", ""] {
            let path = folder.join(path);
            let removed = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
            removed.unwrap();
        }
        assert_eq!((listing, children), (Listing::Whole, expected));
    }

    #[test]
    fn the_calling_process_is_listed_and_read() {
        let mut proc = ProcFs::open().unwrap();
        let me = std::process::id();
        let mut all = Vec::new();
        proc.all(&mut all).unwrap();
        assert!(all.contains(&me));
        let stat = proc.stat(me).unwrap();
        assert_eq!((stat.pid, stat.parent), (me, std::os::unix::process::parent_id()));
        let mut children = Vec::new();
        assert_eq!(proc.children(me, &mut children), Listing::Whole);
        assert_eq!(proc.children(u32::MAX, &mut children), Listing::Gone);
    }
}
