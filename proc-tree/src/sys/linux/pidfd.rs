//! Processes held by descriptor, the set that waits for them, and the one call that has no safe wrapper:
//! a signal to the group of a pidfd.
#![expect(unsafe_code, reason = "system calls that rustix does not offer")]

use super::reserve::sparing;
use crate::engine::GroupSent;
use crate::id::Pid;
use crate::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fs::{fstat, fstatfs};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A process, held: whatever becomes of its number, this means it. A clone shares the descriptor.
#[derive(Debug, Clone)]
pub(crate) struct Pidfd(Arc<OwnedFd>);

/// What `fstatfs` says of the file system of pidfds: the letters `PIDF`.
const PIDFS: u64 = 0x5049_4446;

const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

impl Pidfd {
    pub(crate) fn open(pid: Pid) -> Result<Self, Errno> {
        let raw = i32::try_from(pid).map_err(|_| Errno::SRCH)?;
        let pid = rustix::process::Pid::from_raw(raw).ok_or(Errno::SRCH)?;
        pidfd_open(pid, PidfdFlags::empty()).map(|held| Self(Arc::new(held)))
    }

    /// [`open`](Self::open), in the place of a spare descriptor when none is free.
    pub(crate) fn open_sparing(pid: Pid) -> Result<Self, Errno> {
        sparing(|| Self::open(pid))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Errno> {
        match rustix::process::Signal::from_named_raw(signal.as_raw()) {
            Some(named) => pidfd_send_signal(&self.0, named),
            None => self.send(signal.as_raw(), 0),
        }
    }

    /// Signals the group that this process led when it had one, whether or not it still runs.
    /// Signal 0 only asks whether anybody is left in it.
    pub(crate) fn signal_group(&self, signal: Option<Signal>) -> GroupSent {
        match self.send(signal.map_or(0, Signal::as_raw), PIDFD_SIGNAL_PROCESS_GROUP) {
            Ok(()) => GroupSent::Delivered,
            Err(Errno::SRCH) => GroupSent::Empty,
            Err(Errno::PERM) => GroupSent::Denied,
            Err(_) => GroupSent::Unsupported,
        }
    }

    fn send(&self, signal: i32, flags: libc::c_uint) -> Result<(), Errno> {
        let no_info: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: the descriptor is open, a null siginfo is allowed, and no memory is written.
        let outcome = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal, no_info, flags)
        };
        if outcome == 0 { Ok(()) } else { Err(last_error()) }
    }

    /// Whether every thread of the process has ended. A zombie is dead.
    pub(crate) fn is_dead(&self) -> bool {
        wait_readable(self.0.as_fd(), Instant::now()).unwrap_or(false)
    }

    /// Whether the process still has its pid: it runs, or is a zombie that nobody has waited for.
    pub(crate) fn has_its_pid(&self) -> bool {
        !matches!(self.send(0, 0), Err(Errno::SRCH))
    }

    /// Whether the caller is permitted to signal it.
    pub(crate) fn may_be_signalled(&self) -> bool {
        !matches!(self.send(0, 0), Err(Errno::PERM))
    }

    /// The number that no other process of this boot has; `None` where the kernel gives no such number.
    pub(crate) fn inode(&self) -> Option<NonZeroU64> {
        static NUMBERED: OnceLock<bool> = OnceLock::new();
        // Before 6.9 all pidfds share one anonymous inode, which is of another file system. On machines of
        // 32 bits the number is cut.
        let numbered = *NUMBERED.get_or_init(|| {
            cfg!(target_pointer_width = "64")
                && fstatfs(&self.0).is_ok_and(|files| files.f_type as u64 == PIDFS)
        });
        if !numbered {
            return None;
        }
        NonZeroU64::new(fstat(&self.0).ok()?.st_ino)
    }

    /// Takes a descriptor that the kernel has made for a process.
    pub(crate) fn from_owned(pidfd: OwnedFd) -> Self {
        Self(Arc::new(pidfd))
    }

    /// The pid of the process as this process sees it; `None` when it is gone.
    pub(crate) fn pid(&self) -> Option<Pid> {
        pid_of_pidfd(self.0.as_fd()).ok().flatten()
    }

    /// Waits for this child if it has ended, so that it is no zombie. When the kernel has waited already,
    /// because the caller ignores SIGCHLD, newer kernels still tell how it ended.
    pub(crate) fn reap(&self) -> io::Result<Option<ExitStatus>> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.0.as_fd()), options) {
            Ok(None) => Ok(None),
            Ok(Some(status)) => {
                let core = if status.dumped() { 0x80 } else { 0 };
                let ended = status.terminating_signal().map(|signal| signal | core);
                let code = status.exit_status().unwrap_or(0);
                Ok(Some(ExitStatus::from_raw(ended.unwrap_or((code & 0xff) << 8))))
            }
            Err(Errno::CHILD) if self.is_dead() => match self.told_status() {
                Some(status) => Ok(Some(status)),
                None => Err(Errno::CHILD.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// How a process ended that was waited for, as Linux 6.15 keeps it.
    pub(crate) fn told_status(&self) -> Option<ExitStatus> {
        // The first form of `struct pidfd_info`: a mask, 52 bytes of ids, and the status.
        const GET_INFO: libc::Ioctl = 0xC040_FF0B_u32 as libc::Ioctl;
        const EXIT: u64 = 1 << 3;
        let mut info = [EXIT, 0, 0, 0, 0, 0, 0, 0];
        // SAFETY: the request names the size of the memory, 64 bytes, which is live and writable.
        let outcome = unsafe { libc::ioctl(self.0.as_raw_fd(), GET_INFO, info.as_mut_ptr()) };
        let status = info[7].to_ne_bytes();
        let is_told = outcome == 0 && info[0] & EXIT != 0;
        is_told.then(|| {
            ExitStatus::from_raw(i32::from_ne_bytes([status[4], status[5], status[6], status[7]]))
        })
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether a process or a thread has this number, which needs no descriptor to ask.
pub(crate) fn is_in_use(pid: Pid) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(Errno::SRCH))
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// The process of a pidfd: `None` when it has ended and was waited for, or is of another PID namespace.
pub(crate) fn pid_of_pidfd(pidfd: BorrowedFd<'_>) -> io::Result<Option<Pid>> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    let line = line.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a pidfd"))?;
    Ok(line.trim().parse().ok().filter(|pid| *pid > 0))
}

/// Waits until `fd` is readable; whether it became so before `until`.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, until: Instant) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        match poll(&mut fds, left.as_ref()) {
            Ok(0) if Instant::now() >= until => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Many descriptors behind one: it is readable while one of them is.
#[derive(Debug)]
pub(crate) struct WaitSet(OwnedFd);

impl WaitSet {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Watches for the end of a process, once: an end that was taken does not wake again.
    pub(crate) fn watch_end(&self, process: &Pidfd, token: usize) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        self.add(process.as_fd(), token as u64, flags)
    }

    /// Watches a file of the cgroup file system for a notification.
    pub(crate) fn watch_notice(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.add(file, u64::MAX, epoll::EventFlags::PRI | epoll::EventFlags::ET)
    }

    fn add(&self, fd: BorrowedFd<'_>, token: u64, flags: epoll::EventFlags) -> io::Result<()> {
        match epoll::add(&self.0, fd, epoll::EventData::new_u64(token), flags) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends the tokens of what happened since the last call, so that the set waits for news.
    pub(crate) fn take(&self, tokens: &mut Vec<u64>) {
        let now = Timespec::default();
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; 64];
        loop {
            let count = epoll::wait(&self.0, &mut events[..], Some(&now)).unwrap_or(0);
            tokens.extend(events[..count].iter().map(|event| event.data.u64()));
            if count < events.len() {
                return;
            }
        }
    }
}

impl AsFd for WaitSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Which of the descriptors are readable, as soon as one is, or none at `until`.
pub(crate) fn poll_all(fds: &[BorrowedFd<'_>], until: Instant) -> Vec<bool> {
    let fds = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN));
    let mut fds: Vec<_> = fds.collect();
    let left = until.saturating_duration_since(Instant::now());
    // Every error means that nothing is known to be readable, and the caller asks again.
    let _ = poll(&mut fds, Timespec::try_from(left).ok().as_ref());
    fds.iter().map(|fd| !fd.revents().is_empty()).collect()
}

/// Wakes a thread that waits in [`poll_all`].
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn ring(&self) {
        // It fails only when it has been rung 2⁶⁴ times and nobody came.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub(crate) fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8][..]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_a_pidfd_is_read_and_other_descriptors_are_refused() {
        let me = Pidfd::open(std::process::id()).unwrap();
        assert_eq!(pid_of_pidfd(me.as_fd()).unwrap(), Some(std::process::id()));
        let (reader, _writer) = io::pipe().unwrap();
        assert!(pid_of_pidfd(reader.as_fd()).is_err());
    }
}
