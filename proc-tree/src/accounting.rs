//! How the usage of a tree is added up: by the files of its controllers, and by asking the processes.

use crate::id::ProcId;
use crate::inner::Inner;
use crate::members::LOOK;
use crate::sys::{Account, account_of, account_of_waited};
use crate::tree::Tree;
use crate::usage::{Reading, Source, Usage};
use std::io;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How long members are asked before a kill that has time.
const LONGEST_ASKING: Duration = Duration::from_millis(500);

impl Tree {
    /// What the tree has used until now, members that ended included as far as something counts them.
    ///
    /// [`Containment::measured`](crate::Containment::measured) makes more of it known.
    ///
    /// # Errors
    ///
    /// When the members have to be asked, and the process table cannot be read, or not all of them were found and
    /// asked within 2 s.
    pub fn usage(&self) -> io::Result<Usage> {
        self.inner().usage()
    }
}

impl Usage {
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
}

impl Inner {
    fn usage(&self) -> io::Result<Usage> {
        let mut usage = self.means.controls.usage();
        if usage.is_full() {
            return Ok(usage);
        }
        let until = Instant::now() + LOOK;
        let seen = self.look(until)?;
        let (mut account, is_whole) = self.account_of(&seen.ids, until);
        if !is_whole || !seen.is_whole {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.account_of_the_ended().iter().for_each(|ended| account.add(ended));
        usage.fill(Usage::of_processes(&account));
        Ok(usage)
    }

    /// What these members have used, as far as they run and there is time to ask them; whether there was.
    fn account_of(&self, members: &[ProcId], until: Instant) -> (Account, bool) {
        let mut sum = Account::default();
        for id in members {
            if Instant::now() >= until {
                return (sum, false);
            }
            let account = account_of(id.pid());
            // Its number may mean another process by now, whose account is none of the tree.
            if id.is_running() {
                account.iter().for_each(|account| sum.add(account));
            }
        }
        (sum, true)
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
            engine.ids()
        });
        // Who cannot be asked is missing from the account, which its source says.
        let (mut account, _) = self.account_of(&members.unwrap_or_default(), until);
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

    proptest! {
        #[test]
        fn no_text_panics_the_parsers(text in ".{0,200}") {
            let _ = (parse::keyed(&text, "x"), parse::io_stat(&text), parse::blkio(&text));
        }
    }
}
