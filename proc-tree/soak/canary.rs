//! Innocent processes beside the trees: none of them may be killed or stopped.

use lastout_proc_tree::{Child, Containment, Level, Tree};
use std::io::{PipeReader, PipeWriter};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// A process that stands for all those that have nothing to do with a tree.
struct Canary {
    what: &'static str,
    /// Its end of file is the death of the canary.
    life: PipeReader,
    /// Where it can be seen; `None` when only its pipe is known.
    pid: Option<u32>,
    /// The canary ends with this, and with the soak.
    _lifeline: PipeWriter,
    /// A sibling tree that is let live, if the canary is one.
    _tree: Option<(Tree, Child)>,
    child: Option<std::process::Child>,
}

/// All canaries of a worker. They live for as long as it does.
pub(crate) struct Canaries {
    level: Level,
    all: Vec<Canary>,
}

impl Canaries {
    pub(crate) fn new(level: Level) -> Self {
        let mut canaries = Self { level, all: Vec::new() };
        canaries.restock();
        canaries
    }

    /// How many were killed or stopped since the last look; the missing are replaced.
    pub(crate) fn harmed(&mut self) -> usize {
        let mut harmed = 0;
        self.all.retain_mut(|canary| {
            let is_dead = crate::round::is_over(&mut canary.life, std::time::Duration::ZERO);
            let is_stopped = canary.pid.and_then(state_of).is_some_and(|state| state == 'T');
            if is_dead || is_stopped {
                println!(
                    "an innocent was {}: {}",
                    if is_dead { "killed" } else { "stopped" },
                    canary.what
                );
                harmed += 1;
            }
            if is_dead && let Some(child) = &mut canary.child {
                let _ = child.wait();
            }
            !is_dead
        });
        self.restock();
        harmed
    }

    fn restock(&mut self) {
        for what in ["a child", "a child in its own group", "an orphan", "a sibling tree"] {
            if !self.all.iter().any(|canary| canary.what == what) {
                self.all.push(hatch(what, self.level));
            }
        }
    }
}

impl Drop for Canaries {
    /// Cuts the lifelines, and waits for the children among the canaries.
    fn drop(&mut self) {
        for canary in self.all.drain(..) {
            let Canary { _lifeline: lifeline, child, _tree: tree, .. } = canary;
            drop((lifeline, tree));
            if let Some(mut child) = child {
                let _ = child.wait();
            }
        }
    }
}

fn hatch(what: &'static str, level: Level) -> Canary {
    let (life, theirs) = std::io::pipe().expect("a pipe");
    let (their_lifeline, lifeline) = std::io::pipe().expect("a pipe");
    // It lives until its stdin ends, and holds its stdout.
    let mut command = Command::new("sh");
    let script = match what {
        "an orphan" => "exec 3<&0; cat <&3 & exit 0",
        _ => "exec cat",
    };
    command.args(["-c", script]).env_clear().env("PATH", "/usr/bin:/bin");
    command.stdin(their_lifeline).stdout(theirs).stderr(Stdio::null());
    let mut canary =
        Canary { what, life, pid: None, _lifeline: lifeline, _tree: None, child: None };
    if what == "a sibling tree" {
        let spawned = Tree::spawn(&mut command, Containment::demand(level));
        let (tree, child) = spawned.expect("the level is there");
        canary.pid = tree.root().map(|root| root.pid());
        canary._tree = Some((tree, child));
        return canary;
    }
    if what == "a child in its own group" {
        command.process_group(0);
    }
    let mut child = command.spawn().expect("a canary starts");
    if what == "an orphan" {
        child.wait().expect("it leaves its orphan");
    } else {
        canary.pid = Some(child.id());
        canary.child = Some(child);
    }
    canary
}

/// The letter of `ps`, if the process can be seen.
fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}
