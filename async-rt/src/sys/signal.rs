//! SIGINT and SIGTERM, only for runtimes that ask for them: the one process-wide effect here.
//!
//! The handler counts and writes to one descriptor per process, which every such runtime watches.
//! The handlers that were there before come back when the last of these runtimes is gone. The
//! descriptor stays: a handler may be running while the last runtime ends.
#![expect(unsafe_code, reason = "signal handlers have no safe interface in std")]

use super::Poller;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

const SIGNALS: [libc::c_int; 2] = [libc::SIGINT, libc::SIGTERM];

/// How many signals came, ever.
static CAME: AtomicU64 = AtomicU64::new(0);
/// Where the handler writes; set before the first handler is installed.
static WRITE_TO: AtomicI32 = AtomicI32::new(-1);
static INSTALLED: Mutex<Installed> = Mutex::new(Installed { users: 0, before: Vec::new() });

struct Installed {
    users: usize,
    /// What each signal did before.
    before: Vec<(libc::c_int, libc::sigaction)>,
}

impl Installed {
    /// Counts one more user, and installs the handlers for the first one: of all of these signals, or of none.
    fn add_user(&mut self, signals: &[libc::c_int]) -> io::Result<()> {
        if self.users == 0 {
            for signal in signals {
                match set(*signal, &ours()) {
                    Ok(before) => self.before.push((*signal, before)),
                    Err(error) => {
                        self.restore();
                        return Err(error);
                    }
                }
            }
        }
        self.users += 1;
        Ok(())
    }

    fn remove_user(&mut self) {
        self.users -= 1;
        if self.users == 0 {
            self.restore();
        }
    }

    fn restore(&mut self) {
        for (signal, before) in self.before.drain(..) {
            let _ = set(signal, &before);
        }
    }
}

fn installed() -> MutexGuard<'static, Installed> {
    INSTALLED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the handlers installed.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: std::cell::Cell<u64>,
}

impl Watch {
    /// Installs the handlers, unless they are, and lets `poller` watch the descriptor that tells of signals.
    pub(crate) fn install(poller: &Poller) -> io::Result<Self> {
        let read_from = channel()?;
        let seen = std::cell::Cell::new(CAME.load(Ordering::Relaxed));
        installed().add_user(&SIGNALS)?;
        // If what follows fails, the handlers go with this.
        let watch = Self { seen };
        poller.add_signals(read_from)?;
        Ok(watch)
    }

    /// Whether a signal came since the last question.
    pub(crate) fn came(&self) -> bool {
        // Relaxed: the descriptor's event says when to look; the count is all there is to read.
        let now = CAME.load(Ordering::Relaxed);
        self.seen.replace(now) != now
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        installed().remove_user();
    }
}

/// The one channel of the process, created on first use; the descriptor to watch.
fn channel() -> io::Result<RawFd> {
    static CHANNEL: OnceLock<Channel> = OnceLock::new();
    if CHANNEL.get().is_none() {
        // Of two threads that get here at once, one drops its own.
        let _ = CHANNEL.set(Channel::new()?);
    }
    let channel = CHANNEL.get().expect("it was set above");
    WRITE_TO.store(channel.write_end(), Ordering::Relaxed);
    Ok(channel.read_end())
}

/// An eventfd is both ends, and each epoll that watches it hears of each write.
#[cfg(target_os = "linux")]
struct Channel(super::epoll::EventFd);

#[cfg(target_os = "linux")]
impl Channel {
    fn new() -> io::Result<Self> {
        super::epoll::EventFd::new().map(Self)
    }

    fn read_end(&self) -> RawFd {
        self.0.raw()
    }

    fn write_end(&self) -> RawFd {
        self.0.raw()
    }
}

/// A pair that is never read, only watched for edges.
#[cfg(not(target_os = "linux"))]
struct Channel(std::os::unix::net::UnixStream, std::os::unix::net::UnixStream);

#[cfg(not(target_os = "linux"))]
impl Channel {
    fn new() -> io::Result<Self> {
        let (read, write) = std::os::unix::net::UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        Ok(Self(read, write))
    }

    fn read_end(&self) -> RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.0)
    }

    fn write_end(&self) -> RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.1)
    }
}

/// Async-signal-safe: atomics and `write`, with `errno` left as it was.
extern "C" fn on_signal(_signal: libc::c_int) {
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    CAME.fetch_add(1, Ordering::Relaxed);
    let (fd, one) = (WRITE_TO.load(Ordering::Relaxed), 1_u64);
    // SAFETY: eight readable bytes; the descriptor stays open for the life of the process.
    unsafe { libc::write(fd, (&raw const one).cast(), 8) };
    // SAFETY: the place is valid for the life of the thread.
    unsafe { *errno_place() = errno };
}

/// Where this thread's `errno` is.
fn errno_place() -> *mut libc::c_int {
    #[cfg(target_os = "linux")]
    // SAFETY: it takes nothing and returns this thread's place.
    return unsafe { libc::__errno_location() };
    #[cfg(not(target_os = "linux"))]
    // SAFETY: it takes nothing and returns this thread's place.
    return unsafe { libc::__error() };
}

fn ours() -> libc::sigaction {
    let mut action = empty_action();
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    action
}

fn empty_action() -> libc::sigaction {
    // SAFETY: all-zero bytes are a valid `sigaction`: default action, empty mask, no flags.
    unsafe { std::mem::zeroed() }
}

/// Sets the action of a signal, and returns the one before.
fn set(signal: libc::c_int, action: &libc::sigaction) -> io::Result<libc::sigaction> {
    let mut before = empty_action();
    // SAFETY: both are alive during the call, and the handler in `action` is async-signal-safe.
    let outcome = unsafe { libc::sigaction(signal, action, &raw mut before) };
    if outcome == 0 { Ok(before) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SIGKILL has no handler: the system refuses it.
    #[test]
    fn handlers_that_the_system_refuses_leave_none_behind() {
        let mut all = Installed { users: 0, before: Vec::new() };
        assert!(all.add_user(&[libc::SIGUSR2, libc::SIGKILL]).is_err());
        assert!(all.users == 0 && all.before.is_empty());
        let before = set(libc::SIGUSR2, &ours()).unwrap();
        set(libc::SIGUSR2, &before).unwrap();
        assert_eq!(before.sa_sigaction, libc::SIG_DFL);
    }
}
