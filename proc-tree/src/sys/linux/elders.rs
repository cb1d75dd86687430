//! Who was seen before: so that a look for the members of a younger tree need not read what a process older
//! than its root carries, which takes most of the time of a look.
//!
//! A process is known again by the inode of its pidfd, which no other one has. Before Linux 6.9 nobody is.

use super::pidfd::Pidfd;
use crate::id::Pid;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};

/// By pid: the inode, and a tick of the clock of start times at which the process had been seen.
static SEEN: Mutex<Option<HashMap<Pid, (NonZeroU64, u64)>>> = Mutex::new(None);

/// More are not remembered at once.
const MOST: usize = 1 << 16;

/// What one look adds.
#[derive(Debug, Default)]
pub(super) struct Elders(Vec<(Pid, NonZeroU64)>);

impl Elders {
    /// Whether the process that has `pid` was seen before that tick. Otherwise it is noted.
    pub(super) fn was_seen_before(&mut self, pid: Pid, tick: u64) -> bool {
        let Some(inode) = Pidfd::open(pid).ok().and_then(|held| held.inode()) else {
            return false;
        };
        let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.as_ref().and_then(|seen| seen.get(&pid));
        match known.filter(|(known, _)| *known == inode) {
            Some((_, at)) => *at < tick,
            None => {
                self.0.push((pid, inode));
                false
            }
        }
    }

    /// Whether a process was noted that is not remembered yet.
    pub(super) fn has_noted(&self) -> bool {
        !self.0.is_empty()
    }

    /// Remembers whom this look has noted. `now` is read after it, so that all of them existed by then.
    pub(super) fn remember(&mut self, now: u64) {
        let noted = std::mem::take(&mut self.0);
        if now == 0 {
            return;
        }
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.get_or_insert_default();
        if seen.len() + noted.len() > MOST {
            seen.clear();
        }
        seen.extend(noted.into_iter().take(MOST).map(|(pid, inode)| (pid, (inode, now))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_was_seen_in_an_earlier_tick_is_an_elder() {
        let me = std::process::id();
        let mut elders = Elders::default();
        if Pidfd::open(me).unwrap().inode().is_none() {
            return; // Before Linux 6.9 nobody is known again.
        }
        assert!(!elders.was_seen_before(me, u64::MAX), "it is seen for the first time");
        elders.remember(0);
        assert!(!elders.was_seen_before(me, u64::MAX), "at no time that is known");
        elders.remember(500);
        assert!(!elders.was_seen_before(me, 500) && elders.was_seen_before(me, 501));
        SEEN.lock().unwrap().as_mut().unwrap().get_mut(&me).unwrap().0 = NonZeroU64::MAX;
        assert!(!elders.was_seen_before(me, 501), "the number went to another process");
    }
}
