//! [`Snapshot`]: a process and its descendants as they are now, to be printed.

use crate::id::{Pid, ProcId};
use crate::sys;
use std::collections::HashMap;
use std::fmt;
use std::io;

/// A process and everybody who descends from it, at one moment.
///
/// ```
/// let tree = lastout_proc_tree::snapshot(std::process::id())?;
/// assert_eq!(tree.processes()[0].pid, std::process::id());
/// println!("{tree}");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Snapshot {
    processes: Vec<Process>,
}

/// One process of a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Process {
    /// Which process.
    pub id: ProcId,
    /// Its number.
    pub pid: Pid,
    /// Its parent.
    pub parent: Pid,
    /// Its process group.
    pub group: Pid,
    /// Its session.
    pub session: Pid,
    /// The state of its first thread, as the letter of `ps`.
    pub state: char,
    /// Its name, as in `ps -o comm`.
    pub name: String,
    /// How many parents stand between it and the first process of the snapshot.
    pub depth: usize,
}

/// Looks at the process with this pid and its descendants. It is not a guarantee: they may fork
/// while they are looked at, and orphans are not seen.
///
/// # Errors
///
/// When there is no such process, or the process table cannot be read.
pub fn snapshot(pid: Pid) -> io::Result<Snapshot> {
    Snapshot::of(pid)
}

impl Snapshot {
    fn of(root: Pid) -> io::Result<Self> {
        let mut table = sys::Lookout::open()?;
        let mut processes = Vec::new();
        let mut waiting = vec![(root, 0)];
        let mut seen = HashMap::new();
        while let Some((pid, depth)) = waiting.pop() {
            if seen.insert(pid, ()).is_some() {
                continue;
            }
            let Some((id, stat, name)) = table.look(pid) else {
                continue;
            };
            let mut children = table.children(pid);
            // The last one is taken first.
            children.sort_unstable_by(|a, b| b.cmp(a));
            waiting.extend(children.into_iter().map(|child| (child, depth + 1)));
            processes.push(Process {
                id,
                pid,
                parent: stat.parent,
                group: stat.group,
                session: stat.session,
                state: char::from(stat.state.0),
                name: String::from_utf8_lossy(&name).into_owned(),
                depth,
            });
        }
        match processes.is_empty() {
            true => Err(io::Error::from(io::ErrorKind::NotFound)),
            false => Ok(Self { processes }),
        }
    }

    /// The processes, each before its children.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Without the first process: its descendants.
    pub fn descendants(&self) -> &[Process] {
        &self.processes[1..]
    }
}

impl fmt::Display for Snapshot {
    /// One line for each process, indented by its depth.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for process in &self.processes {
            if !std::mem::take(&mut first) {
                writeln!(f)?;
            }
            write!(f, "{:indent$}{process}", "", indent = process.depth * 2)?;
        }
        Ok(())
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name may hold control characters, which must not reach a terminal.
        let name = self.name.escape_debug();
        write!(
            f,
            "{} {name} [{}] parent {} group {} session {}",
            self.pid, self.state, self.parent, self.group, self.session
        )
    }
}
