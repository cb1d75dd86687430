//! Who is never signalled, whatever the evidence says.
//!
//! Pids 0 and 1, the calling process, its ancestors, and kernel threads. The engine asks here before
//! it takes hold of a process, and knows no other way to take hold of one.

use super::table::{Stat, Table};
use crate::id::Pid;

/// The processes that must not be touched.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The calling process and its ancestors: their pids cannot be reused while it lives, except
    /// that an ancestor may die, and then nobody is hurt by sparing its number.
    line: Vec<Pid>,
    /// The groups of the line: a signal to one of them would reach it.
    groups: Vec<Pid>,
    sessions: Vec<Pid>,
}

/// No line of ancestors is longer; a longer one would be a loop made of reused pids.
const LONGEST_LINE: usize = 4096;

impl Refusal {
    pub(crate) fn new<T: Table>(table: &mut T) -> Self {
        let mut refusal =
            Self { line: vec![table.own_pid()], groups: Vec::new(), sessions: Vec::new() };
        while refusal.line.len() < LONGEST_LINE {
            let Some(stat) = refusal.line.last().and_then(|pid| table.stat(*pid)) else {
                break;
            };
            refusal.groups.push(stat.group);
            refusal.sessions.push(stat.session);
            if stat.parent <= 1 || refusal.line.contains(&stat.parent) {
                break;
            }
            refusal.line.push(stat.parent);
        }
        refusal
    }

    /// Whether this number must not be signalled, without a look at the process.
    pub(crate) fn of_pid(&self, pid: Pid) -> bool {
        pid <= 1 || i32::try_from(pid).is_err() || self.line.contains(&pid)
    }

    /// Whether this process must not be signalled.
    pub(crate) fn of_process(&self, stat: &Stat) -> bool {
        self.of_pid(stat.pid) || stat.is_kernel_thread
    }

    /// Whether a signal to this group could reach the caller or an ancestor.
    pub(crate) fn of_group(&self, group: Pid) -> bool {
        group <= 1 || self.groups.contains(&group)
    }

    /// Whether the caller or an ancestor is in this session.
    pub(crate) fn of_session(&self, session: Pid) -> bool {
        session <= 1 || self.sessions.contains(&session)
    }
}
