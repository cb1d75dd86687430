//! The mark of a tree: a number that children inherit, and that stays on a daemon that left its group, its
//! session, its parent and its environment behind.
//!
//! It is kept in limits that no kernel enforces any more: `RLIMIT_LOCKS` since 2.4.25, `RLIMIT_RSS` since
//! 2.4.30. They pass through fork and exec, and are shown to the same user. A process may be a member of
//! several trees, one inside the other or adopted one after the other, so there are several places, and a
//! mark takes the first that is free:
//!
//! ```text
//!   place   1            2          3            4
//!           LOCKS soft   RSS soft   LOCKS hard   RSS hard
//! ```
//!
//! A hard limit cannot be raised again without privileges. So a process only lowers its own, before it
//! becomes the root, and the mark of an adoption takes a soft one, which can be taken off. The numbers of
//! hard marks are above those of all soft ones, because a soft limit may not exceed the hard one.
#![expect(unsafe_code, reason = "reading and setting the limits of another process")]

use crate::id::Pid;
use rustix::io::Errno;
use std::io;

/// All marks are between this and twice this: no program mistakes one for a limit that it could reach.
const SOFT: u64 = 1 << 60;

/// Added to a mark in a hard limit.
const HARD: u64 = 1 << 61;

/// Numbers whose type depends on the libc.
const RESOURCES: [libc::c_long; 2] =
    [libc::RLIMIT_LOCKS as libc::c_long, libc::RLIMIT_RSS as libc::c_long];

/// A limit as the kernel writes it: of 64 bits on every architecture.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Limit {
    soft: u64,
    hard: u64,
}

const UNLIMITED: u64 = u64::MAX;

/// A number that no other tree has, made of 60 random bits.
pub(crate) fn mark_of(random: u64) -> u64 {
    SOFT | (random & (SOFT - 1))
}

/// Which of the limits a mark may be put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    Soft,
    All,
}

/// Whether the process that has `pid` now carries the mark; an error when it may not be read.
pub(crate) fn carries(pid: Pid, mark: u64) -> Result<bool, Errno> {
    for resource in RESOURCES {
        if holds(&limit_of(number(pid)?, resource, None)?, mark) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the text of `/proc/<pid>/limits`, which everybody may read, tells of the mark.
pub(super) fn is_in(text: &[u8], mark: u64) -> bool {
    let names: [&[u8]; 2] = [b"Max file locks", b"Max resident set"];
    text.split(|byte| *byte == b'\n').any(|line| {
        let values = names.iter().find_map(|name| line.strip_prefix(*name));
        let words = values.unwrap_or_default().split(u8::is_ascii_whitespace);
        let mut words = words
            .filter(|word| !word.is_empty())
            .map(|word| std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()));
        let mut value = || words.next().flatten().unwrap_or(UNLIMITED);
        let (soft, hard) = (value(), value());
        holds(&Limit { soft, hard }, mark)
    })
}

/// Puts the mark on the process that has `pid` now, beside those that it carries. Whether it carries it
/// afterwards; the caller checks that it was the right process.
pub(crate) fn put(pid: Pid, mark: u64) -> bool {
    number(pid).is_ok_and(|pid| put_on(pid, mark, Places::Soft))
}

/// Marks the calling process, between fork and exec: system calls on plain memory are all that it makes.
pub(super) fn put_on_self(mark: u64) -> bool {
    put_on(0, mark, Places::All)
}

/// Whether a child of the calling process could be marked: it inherits the limits.
pub(crate) fn can_mark_child() -> bool {
    RESOURCES.iter().any(|resource| {
        limit_of(0, *resource, None)
            .is_ok_and(|limit| place_in(&limit, SOFT, Places::All).is_some())
    })
}

/// Takes the mark off the process that has `pid` now, if it carries it in a soft limit.
pub(crate) fn remove(pid: Pid, mark: u64) {
    let Ok(pid) = number(pid) else { return };
    for resource in RESOURCES {
        let limit = limit_of(pid, resource, None);
        if let Some(limit) = limit.ok().filter(|limit| limit.soft == mark) {
            let plain = Limit { soft: limit.hard, ..limit };
            // It fails when the process is gone.
            let _ = limit_of(pid, resource, Some(&plain));
        }
    }
}

fn put_on(pid: libc::pid_t, mark: u64, places: Places) -> bool {
    // Every soft place comes before every hard one.
    for places in [Places::Soft, places] {
        for resource in RESOURCES {
            let Ok(limit) = limit_of(pid, resource, None) else {
                return false;
            };
            if holds(&limit, mark) {
                return true;
            }
            let takes = |marked: Limit| {
                limit_of(pid, resource, Some(&marked)).is_ok()
                    && limit_of(pid, resource, None).is_ok_and(|limit| holds(&limit, mark))
            };
            if place_in(&limit, mark, places).is_some_and(takes) {
                return true;
            }
        }
    }
    false
}

fn holds(limit: &Limit, mark: u64) -> bool {
    limit.soft == mark || limit.hard == mark + HARD
}

/// The limit with the mark in it, if it has a free place.
fn place_in(limit: &Limit, mark: u64, places: Places) -> Option<Limit> {
    let has_soft_mark = (SOFT..2 * SOFT).contains(&limit.soft);
    if !has_soft_mark && limit.hard >= mark {
        return Some(Limit { soft: mark, ..*limit });
    }
    let is_free = places == Places::All && limit.hard > HARD + 2 * SOFT;
    is_free.then(|| Limit { soft: limit.soft, hard: mark + HARD })
}

/// The number as the system call takes it. 0 means the calling process there, and is no process here.
fn number(pid: Pid) -> Result<libc::pid_t, Errno> {
    libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(Errno::SRCH)
}

fn limit_of(pid: libc::pid_t, resource: libc::c_long, new: Option<&Limit>) -> Result<Limit, Errno> {
    let mut old = Limit { soft: 0, hard: 0 };
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `new` is null or a live limit, `old` is a live and writable one.
    let outcome = unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, new, &raw mut old) };
    match outcome {
        0 => Ok(old),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Limit = Limit { soft: UNLIMITED, hard: UNLIMITED };

    /// Two limits in memory, marked as those of a process are.
    fn put_into(limits: &mut [Limit; 2], mark: u64, most: Places) -> bool {
        for places in [Places::Soft, most] {
            for limit in limits.iter_mut() {
                if let Some(marked) = place_in(limit, mark, places) {
                    assert!(marked.soft <= marked.hard || limit.soft > limit.hard);
                    *limit = marked;
                    return true;
                }
            }
        }
        false
    }

    #[test]
    fn four_marks_live_side_by_side_and_the_fifth_is_refused() {
        let mut limits = [FREE; 2];
        let marks: Vec<u64> = [0, 1, u64::MAX, 3, 4].into_iter().map(mark_of).collect();
        for (n, mark) in marks.iter().enumerate() {
            assert_eq!(put_into(&mut limits, *mark, Places::All), n < 4);
            for (m, mark) in marks.iter().enumerate() {
                let is_held = limits.iter().any(|limit| holds(limit, *mark));
                assert_eq!(is_held, m <= n.min(3), "mark {m} after {n}");
            }
        }
    }

    #[test]
    fn a_hard_limit_below_every_mark_leaves_the_places_of_the_other_one() {
        let low = Limit { soft: 100, hard: 100 };
        let mut limits = [low, FREE];
        assert!(put_into(&mut limits, mark_of(7), Places::Soft));
        assert!(holds(&limits[1], mark_of(7)));
        assert!(!put_into(&mut [low, low], mark_of(7), Places::All));
    }

    #[test]
    fn the_text_for_everybody_tells_the_same() {
        let (soft, hard) = (mark_of(5), mark_of(6));
        let text = format!(
            "Limit   Soft Limit   Hard Limit   Units\n\
             Max resident set          unlimited            {}  bytes     \n\
             Max file locks            {soft}  unlimited            locks     \n",
            hard + HARD,
        );
        assert!(is_in(text.as_bytes(), soft) && is_in(text.as_bytes(), hard));
        assert!(!is_in(text.as_bytes(), mark_of(7)) && !is_in(b"", soft));
    }
}
