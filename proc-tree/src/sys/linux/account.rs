//! What processes have used: from `/proc` while they are there, and from the kernel's last word on a
//! child that has ended and was not waited for yet.
#![expect(unsafe_code, reason = "std and rustix do not offer waitid with the usage of the child")]

use crate::id::Pid;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// What one or several processes have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    /// The most that one of them had, in bytes; `None` when it is not known of any.
    pub(crate) peak_memory: Option<u64>,
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) tasks: u64,
}

impl Account {
    pub(crate) fn add(&mut self, other: &Self) {
        self.user = self.user.saturating_add(other.user);
        self.system = self.system.saturating_add(other.system);
        self.peak_memory = self.peak_memory.max(other.peak_memory);
        self.read = self.read.saturating_add(other.read);
        self.written = self.written.saturating_add(other.written);
        self.tasks = self.tasks.saturating_add(other.tasks);
    }
}

/// The process that has `pid` now, and the children that it has waited for.
pub(crate) fn account_of(pid: Pid) -> Option<Account> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let (own, waited) = parse_stat(&stat, rustix::param::clock_ticks_per_second())?;
    let mut account = own;
    account.add(&waited);
    let text = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    account.peak_memory = number(&text("status"), "VmHWM:").map(|kib| kib.saturating_mul(1024));
    let io = text("io");
    account.read = number(&io, "read_bytes:").unwrap_or(0);
    account.written = number(&io, "write_bytes:").unwrap_or(0);
    Some(account)
}

/// The children alone that the process with `pid` has waited for: what its own work cost is no part.
pub(crate) fn account_of_waited(pid: Pid) -> Option<Account> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&stat, rustix::param::clock_ticks_per_second()).map(|(_, waited)| waited)
}

/// Processor time and threads of the process, and the time of the children that it has waited for.
fn parse_stat(text: &[u8], ticks_per_second: u64) -> Option<(Account, Account)> {
    // The name may hold anything: its end is the last parenthesis.
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |place: usize| fields.get(place)?.parse::<u64>().ok();
    let time = |place| {
        let ticks = u128::from(field(place)?) * 1_000_000_000;
        let nanos = ticks.checked_div(u128::from(ticks_per_second))?;
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    };
    // A thread that was the first and has ended stays until the others have.
    let ended = u64::from(matches!(*fields.first()?, "Z" | "X"));
    let tasks = field(17)?.saturating_sub(ended);
    let own = Account { user: time(11)?, system: time(12)?, tasks, ..Account::default() };
    let waited = Account { user: time(13)?, system: time(14)?, ..Account::default() };
    Some((own, waited))
}

fn number(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// What a child has used that has ended, with the children that it has waited for; it stays to be waited
/// for. `None` while it runs, and when it is no child of this process.
pub(crate) fn account_of_ended(child: BorrowedFd<'_>) -> Option<Account> {
    // SAFETY: all-zero bytes are a valid `siginfo_t`, a plain structure of integers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: all-zero bytes are a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: both structures are live and writable; the call has five arguments in the kernel.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            child.as_raw_fd(),
            &raw mut info,
            options,
            &raw mut usage,
        )
    };
    // Without an ended child the kernel writes a signal number of 0.
    (outcome == 0 && info.si_signo == libc::SIGCHLD).then(|| of_rusage(&usage))
}

fn of_rusage(usage: &libc::rusage) -> Account {
    /// The kernel counts blocks of this size, whatever the device has.
    const BLOCK: u64 = 512;
    let time = |time: libc::timeval| {
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
        seconds.saturating_add(Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0)))
    };
    let count = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
    Account {
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        peak_memory: Some(count(usage.ru_maxrss).saturating_mul(1024)),
        read: count(usage.ru_inblock).saturating_mul(BLOCK),
        written: count(usage.ru_oublock).saturating_mul(BLOCK),
        tasks: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_threads_are_those_behind_any_name() {
        let text = b"7 (a) Z 1 (b) S 1 7 7 0 -1 0 1 2 3 4 150 50 1000 200 20 0 3 0 99 9 9\n";
        let (own, waited) = parse_stat(text, 100).unwrap();
        assert_eq!(
            (own.user, own.system),
            (Duration::from_millis(1500), Duration::from_millis(500))
        );
        assert_eq!(own.tasks, 3);
        assert_eq!((waited.user, waited.system), (Duration::from_secs(10), Duration::from_secs(2)));
        let dead = |threads| {
            let text = format!("7 (a) Z 1 7 7 0 -1 0 1 2 3 4 1 5 10 20 20 0 {threads} 0 99 9 9\n");
            parse_stat(text.as_bytes(), 100).unwrap().0.tasks
        };
        assert_eq!((dead(1), dead(3)), (0, 2), "a thread that has ended is no task");
        assert_eq!(parse_stat(b"7 (a) S 1", 100), None);
        assert_eq!(parse_stat(text, 0), None);
    }

    #[test]
    fn the_account_of_a_child_that_ended_is_there_until_it_is_waited_for() {
        use std::os::fd::AsFd;
        let loops = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        #[expect(clippy::disallowed_methods, reason = "a process to look at")]
        let mut child = std::process::Command::new("sh").args(["-c", loops]).spawn().unwrap();
        let pidfd = crate::sys::Pidfd::open(child.id()).unwrap();
        let long = std::time::Instant::now() + Duration::from_secs(60);
        assert!(crate::sys::wait_readable(pidfd.as_fd(), long).unwrap());
        let account = account_of_ended(pidfd.as_fd()).unwrap();
        assert!(account.user + account.system > Duration::ZERO && account.peak_memory > Some(0));
        assert_eq!(account_of_ended(pidfd.as_fd()), Some(account), "it was only looked at");
        child.wait().unwrap();
        assert_eq!(account_of_ended(pidfd.as_fd()), None);
    }
}
