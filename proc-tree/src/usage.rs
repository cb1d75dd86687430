//! [`Usage`]: what a tree has used, each number with where it comes from.

use crate::id::{Pid, ProcId};
use crate::inner::Inner;
use crate::sys::{Account, account_of, account_of_waited};
use crate::tree::Tree;
use std::fmt;
use std::io;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// What a tree has used until now. A number that nothing counts is `None`, never 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Usage {
    /// Processor time of all members in their own code.
    pub user: Option<Reading<Duration>>,
    /// Processor time of all members in the kernel.
    pub system: Option<Reading<Duration>>,
    /// The most memory that the tree had at a time, in bytes. By [`Source::Processes`] it is that of
    /// the largest process, which is less than that of the tree.
    pub peak_memory: Option<Reading<u64>>,
    /// Bytes read from block devices. The files of cgroup v1 miss what some devices do, and 0 may stand for all of
    /// it: where the processes have counted more than [`Source::V1`], it is their number.
    pub read: Option<Reading<u64>>,
    /// Bytes written to block devices, by the processes counted from the moment on in which they are handed to the
    /// kernel. Where the processes have counted more than [`Source::V1`], it is their number.
    pub written: Option<Reading<u64>>,
    /// How many processes and threads there are now. A cgroup counts a process that has ended until it was
    /// waited for, as its limit does, so that an empty tree may still have a task; [`Source::Processes`] counts
    /// those that run.
    pub tasks: Option<Reading<u64>>,
    /// The most processes and threads that there were at a time, counted as [`tasks`](Self::tasks).
    pub peak_tasks: Option<Reading<u64>>,
}

/// A number, and what counted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Reading<T> {
    /// The number.
    pub value: T,
    /// What counted it.
    pub source: Source,
}

/// What counts the usage of a tree, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Source {
    /// The leaf of the tree in cgroup v2.
    V2,
    /// A leaf in the hierarchy of one controller in cgroup v1.
    V1,
    /// The members themselves: `/proc`, and what the kernel said of those that were waited for.
    Processes,
}

impl Source {
    /// What the number misses.
    pub fn blind_spots(self) -> &'static [&'static str] {
        match self {
            Self::V2 => &["a member that moved out of the leaf"],
            Self::V1 => &[
                "a member that moved out of the leaf of that controller",
                "input and output of devices that the throttle of blkio does not count",
            ],
            Self::Processes => &[
                "a member that ended, and that no other member or the tree itself waited for",
                "a member that the caller may not look at, or has no time to look at before a kill",
                "input and output of a member whose file of it the caller may not read",
            ],
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "cgroup v2",
            Self::V1 => "cgroup v1",
            Self::Processes => "processes",
        })
    }
}

impl<T> Reading<T> {
    pub(crate) fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }

    /// Makes readings of one source.
    pub(crate) fn of(source: Source) -> impl Fn(T) -> Self {
        move |value| Self::new(value, source)
    }
}

impl Usage {
    /// Whether every number is known that the processes could tell. They are asked beside the files of v1 that count
    /// bytes.
    pub(crate) fn is_full(&self) -> bool {
        self.cpu().is_some()
            && self.peak_memory.is_some()
            && [self.read, self.written].iter().all(|bytes| bytes.is_some_and(counts_every_device))
            && self.tasks.is_some()
    }

    /// Takes the numbers of `other` for those that are missing, or that count too little.
    pub(crate) fn fill(&mut self, other: Self) {
        self.user = self.user.or(other.user);
        self.system = self.system.or(other.system);
        self.peak_memory = self.peak_memory.or(other.peak_memory);
        self.read = more_bytes(self.read, other.read);
        self.written = more_bytes(self.written, other.written);
        self.tasks = self.tasks.or(other.tasks);
        self.peak_tasks = self.peak_tasks.or(other.peak_tasks);
    }

    /// What the processes themselves tell.
    pub(crate) fn of_processes(account: &Account) -> Self {
        let by = |value| Some(Reading::new(value, Source::Processes));
        Self {
            user: Some(Reading::new(account.user, Source::Processes)),
            system: Some(Reading::new(account.system, Source::Processes)),
            peak_memory: account.peak_memory.and_then(by),
            read: by(account.read),
            written: by(account.written),
            tasks: by(account.tasks),
            peak_tasks: None,
        }
    }

    /// Processor time in all.
    pub fn cpu(&self) -> Option<Duration> {
        let user = self.user?.value;
        Some(user.saturating_add(self.system?.value))
    }
}

/// The throttle of blkio counts nothing of a device that it has not been switched on for.
fn counts_every_device(bytes: Reading<u64>) -> bool {
    bytes.source != Source::V1
}

fn more_bytes(own: Option<Reading<u64>>, other: Option<Reading<u64>>) -> Option<Reading<u64>> {
    let more = other
        .filter(|other| own.is_none_or(|own| !counts_every_device(own) && other.value > own.value));
    more.or(own)
}

impl fmt::Display for Usage {
    /// One line: what is known, each with its source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut part = |name: &str, value: Option<(String, Source)>| {
            parts.extend(value.map(|(value, source)| format!("{name} {value} ({source})")));
        };
        let time = |r: Reading<Duration>| (format!("{:.2} s", r.value.as_secs_f64()), r.source);
        let kib = |r: Reading<u64>| (format!("{} KiB", r.value.div_ceil(1024)), r.source);
        let plain = |r: Reading<u64>| (r.value.to_string(), r.source);
        part("user", self.user.map(time));
        part("system", self.system.map(time));
        part("peak memory", self.peak_memory.map(kib));
        part("read", self.read.map(kib));
        part("written", self.written.map(kib));
        part("tasks", self.tasks.map(plain));
        part("most tasks", self.peak_tasks.map(plain));
        match parts.is_empty() {
            true => f.write_str("nothing is known"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

/// How long members are asked before a kill that has time.
const LONGEST_ASKING: Duration = Duration::from_millis(500);

impl Tree {
    /// What the tree has used until now, members that ended included as far as something counts them.
    ///
    /// [`Containment::measured`](crate::Containment::measured) makes more of it known.
    ///
    /// # Errors
    ///
    /// When the members have to be asked, and the process table cannot be read.
    pub fn usage(&self) -> io::Result<Usage> {
        self.inner().usage()
    }
}

impl Inner {
    fn usage(&self) -> io::Result<Usage> {
        let mut usage = self.means.controls.usage();
        if usage.is_full() {
            return Ok(usage);
        }
        let mut account = self.account_of(self.member_pids()?, None);
        self.account_of_the_ended().iter().for_each(|ended| account.add(ended));
        usage.fill(Usage::of_processes(&account));
        Ok(usage)
    }

    /// What these members have used, as far as they run and there is time to ask them.
    fn account_of(&self, members: Vec<Pid>, until: Option<Instant>) -> Account {
        let mut sum = Account::default();
        for pid in members {
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
            let Some(id) = ProcId::of(pid) else { continue };
            let account = account_of(pid);
            // Its number may mean another process by now, whose account is none of the tree.
            if id.is_running() {
                account.iter().for_each(|account| sum.add(account));
            }
        }
        sum
    }

    /// What those have used that were waited for, by the supervisor or by the tree itself; `None` when
    /// nothing is known of any.
    fn account_of_the_ended(&self) -> Option<Account> {
        let by_link = self.means.link.as_ref().and_then(|link| match link.account() {
            Some(account) => Some(account),
            None => account_of_waited(link.id().pid()).filter(|_| !link.end().is_dead()),
        });
        by_link.or_else(|| self.process.as_ref()?.account())
    }

    /// What the report of an end says. Members are not asked: nobody is left, or the time is over.
    pub(crate) fn usage_at_the_end(&self) -> Usage {
        let mut usage = self.means.controls.usage_at_the_end();
        let before = *self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.account_of_the_ended();
        let account = match (ended, before) {
            // The supervisor has waited for all whom the members were.
            (Some(ended), Some(before)) if self.means.link.is_some() => {
                let peak_memory = ended.peak_memory.max(before.peak_memory);
                Some(Account { peak_memory, ..ended })
            }
            (Some(mut ended), Some(before)) => {
                ended.add(&before);
                Some(ended)
            }
            (ended, before) => ended.or(before),
        };
        if let Some(account) = account {
            // How many there are now is no matter of those that have ended.
            usage.fill(Usage { tasks: None, ..Usage::of_processes(&account) });
        }
        usage
    }

    /// Asks the members before they are killed, if the tree is measured and nothing else counts them. It
    /// takes a part of the time at most that the kill has.
    pub(crate) fn note_usage(&self, deadline: Instant) {
        if !self.measured || self.means.controls.usage().is_full() {
            return;
        }
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now).min(LONGEST_ASKING * 8) / 8;
        let members = self.engine(until).map(|engine| {
            let mut engine = engine.looking_only();
            engine.look();
            engine.pids()
        });
        // Who cannot be asked is missing from the account, which its source says.
        let mut account = self.account_of(members.unwrap_or_default(), Some(until));
        let root = self.root.filter(|_| self.means.link.is_none());
        let own = root.and_then(|root| account_of(root.pid()).filter(|_| root.is_running()));
        if let Some(own) = own {
            // The root tells at its end.
            account.user = account.user.saturating_sub(own.user);
            account.system = account.system.saturating_sub(own.system);
            account.read = account.read.saturating_sub(own.read);
            account.written = account.written.saturating_sub(own.written);
        }
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = Some(account);
    }
}

/// The files of controllers: pure.
pub(crate) mod parse {
    /// The number behind `key` in lines of a key and a number.
    pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (name == key).then(|| value.trim().parse().ok())?
        })
    }

    /// Bytes read and written, of all devices in `io.stat`.
    pub(crate) fn io_stat(text: &str) -> (u64, u64) {
        let sum = |key: &str| {
            let words = text.split_ascii_whitespace();
            let values = words.filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
            values.fold(0, u64::saturating_add)
        };
        (sum("rbytes="), sum("wbytes="))
    }

    /// Bytes read and written, of all devices in a file of blkio.
    pub(crate) fn blkio(text: &str) -> (u64, u64) {
        let sum = |kind: &str| {
            let values = text.lines().filter_map(|line| {
                let mut words = line.split_ascii_whitespace();
                let (_device, name, value) = (words.next()?, words.next()?, words.next()?);
                (name == kind).then(|| value.parse::<u64>().ok())?
            });
            values.fold(0, u64::saturating_add)
        };
        (sum("Read"), sum("Write"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_files_of_cgroup_v2_are_read_by_their_keys() {
        let cpu = "usage_usec 337601\nuser_usec 330000\nsystem_usec 7601\nnr_periods 0\n";
        assert_eq!(parse::keyed(cpu, "user_usec"), Some(330_000));
        assert_eq!(parse::keyed(cpu, "usec"), None);
        let events = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(parse::keyed(events, "oom_kill"), Some(1));
        let io =
            "254:0 rbytes=4096 wbytes=512 rios=1 wios=1 dbytes=9 dios=0\n8:0 rbytes=4 wbytes=1\n";
        assert_eq!(parse::io_stat(io), (4100, 513));
        assert_eq!(parse::io_stat(""), (0, 0));
    }

    #[test]
    fn the_files_of_cgroup_v1_are_read_by_their_keys() {
        let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(parse::keyed(control, "oom_kill"), Some(3));
        let blkio =
            "254:0 Read 4096\n254:0 Write 512\n254:0 Sync 4608\n254:0 Total 4608\nTotal 4608\n";
        assert_eq!(parse::blkio(blkio), (4096, 512));
        assert_eq!(parse::blkio("Total 0\n"), (0, 0));
    }

    #[test]
    fn numbers_at_their_end_do_not_overflow() {
        let most = u64::MAX;
        assert_eq!(parse::io_stat(&format!("1:0 rbytes={most}\n1:1 rbytes={most}\n")).0, most);
        assert_eq!(parse::keyed(&format!("x {most}0\n"), "x"), None);
    }

    #[test]
    fn a_missing_number_is_taken_from_the_next_source_alone() {
        let from = |source, value| Some(Reading::new(value, source));
        let mut usage = Usage { tasks: from(Source::V2, 1), ..Usage::default() };
        usage.fill(Usage {
            tasks: from(Source::V1, 2),
            read: from(Source::V1, 3),
            ..Usage::default()
        });
        assert_eq!(usage.tasks, from(Source::V2, 1));
        assert_eq!(usage.read, from(Source::V1, 3));
        assert_eq!(usage.to_string(), "read 1 KiB (cgroup v1), tasks 1 (cgroup v2)");
        assert_eq!(Usage::default().to_string(), "nothing is known");
    }

    #[test]
    fn bytes_that_the_old_files_do_not_count_are_those_of_the_processes() {
        let from = |source, value| Some(Reading::new(value, source));
        let counted = |source, read, written| Usage {
            read: from(source, read),
            written: from(source, written),
            ..Usage::default()
        };
        let processes = || counted(Source::Processes, 4, 20);
        let mut usage = counted(Source::V1, 5, 0);
        usage.fill(processes());
        assert_eq!(usage.read, from(Source::V1, 5));
        assert_eq!(usage.written, from(Source::Processes, 20));
        let mut usage = counted(Source::V2, 0, 0);
        usage.fill(processes());
        assert_eq!(usage, counted(Source::V2, 0, 0), "the files of v2 count every device");
    }

    proptest! {
        #[test]
        fn no_text_panics_the_parsers(text in ".{0,200}") {
            let _ = (parse::keyed(&text, "x"), parse::io_stat(&text), parse::blkio(&text));
        }
    }
}
