//! From a [`Containment`] to a running tree: which level is to be had, and what the child does for it.

use crate::child::{Child, Root};
use crate::command::TreeCommand;
use crate::contain::{Leaf, Link, Means};
use crate::containment::Containment;
use crate::error::{AdoptError, SpawnError};
use crate::evidence::Evidence;
use crate::guarantee::{Gap, Guarantee, Level, Skipped};
use crate::id::{Pid, ProcId};
use crate::sys::{Launch, MOST_DESCRIPTORS, Pidfd, Supervise};
use crate::tree::Tree;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::Command;
use std::sync::Arc;

/// Everything that is made before the spawn. Dropping it takes the steps out of the command's child
/// again.
#[derive(Debug)]
pub(crate) struct Plan {
    launch: Arc<Launch>,
    leaf: Option<Leaf>,
    /// Our end of the socket, and that of the supervisor.
    socket: Option<(OwnedFd, OwnedFd)>,
    mark: u64,
    /// The child has a place for the mark.
    is_marked: bool,
    level: Level,
    skipped: Vec<Skipped>,
    /// Handed to the child, and closed here when the spawn is over.
    _descriptors: Vec<OwnedFd>,
    /// Hold the numbers that the child will put descriptors on, so that nothing is opened there that
    /// the child still needs.
    _reserved: Vec<OwnedFd>,
}

impl Plan {
    /// Chooses the level and prepares the command. Without `may_supervise`, the process that is
    /// started is the root itself.
    pub(crate) fn make(
        command: &mut Command,
        containment: Containment,
        may_supervise: bool,
    ) -> Result<Self, SpawnError> {
        let reserved = reserve(&containment.descriptors)?;
        let mut skipped = Vec::new();
        let choice = choose(&containment, may_supervise, &mut skipped)?;
        let mark = new_mark();
        let (numbers, descriptors): (Vec<_>, Vec<_>) = containment.descriptors.into_iter().unzip();
        let sources = descriptors.iter().map(AsRawFd::as_raw_fd);
        let supervise = choice.socket.as_ref().map(|(_, theirs)| Supervise {
            control: theirs.as_raw_fd(),
            namespace: choice.level == Level::PidNamespace,
            leaf: choice.leaf.as_ref().and_then(Leaf::files),
        });
        let launch = Arc::new(Launch {
            supervise,
            door: choice.leaf.as_ref().map(|leaf| leaf.door().as_raw_fd()),
            mark: Some(mark),
            leads_group: !containment.keep_group,
            descriptors: numbers.into_iter().zip(sources).collect(),
            ..Launch::default()
        });
        command.env(variable_name(mark), VARIABLE_VALUE);
        launch.install(command);
        Ok(Self {
            launch,
            leaf: choice.leaf,
            socket: choice.socket,
            mark,
            is_marked: crate::sys::can_mark_child(),
            level: choice.level,
            skipped,
            _descriptors: descriptors,
            _reserved: reserved,
        })
    }

    /// Starts the command.
    pub(crate) fn start<C: TreeCommand>(
        mut self,
        command: &mut C,
    ) -> Result<(Tree, C::Child), SpawnError> {
        let std = command.as_std();
        let program = std.get_program().to_string_lossy().into_owned();
        let spawned = match self.level {
            Level::PidNamespace => start_in_namespace(std),
            _ => start(std),
        };
        std.env_remove(variable_name(self.mark));
        let mut process = spawned.map_err(|source| SpawnError::Command { program, source })?;
        let pipes = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let held = match self.socket.take() {
            // Their end is closed here, so that the end of the supervisor is seen on ours.
            Some((ours, _)) => hold_supervised(ours, process),
            None => hold_own(process),
        };
        let Hold { root, pidfd, link } = held.map_err(|source| SpawnError::Lost { source })?;
        let root = Arc::new(root);
        let tree = self.into_tree(root.id, pidfd, link);
        let tree = tree.with_root(Arc::clone(&root));
        let (stdin, stdout, stderr) = pipes;
        let child = C::wrap(Child { stdin, stdout, stderr, root });
        Ok((tree, child.map_err(|source| SpawnError::Lost { source })?))
    }

    /// The tree of a process that the caller has started from the prepared command.
    pub(crate) fn adopt(self, pid: Pid) -> Result<Tree, AdoptError> {
        let (id, pidfd) = crate::adopt::hold(pid)?;
        Ok(self.into_tree(id, Some(pidfd), None))
    }

    fn into_tree(mut self, id: ProcId, pidfd: Option<Pidfd>, link: Option<Arc<Link>>) -> Tree {
        let mut evidence =
            Evidence::new().process(id).variable(variable_name(self.mark), VARIABLE_VALUE);
        evidence.mark = Some(self.mark);
        if self.launch.leads_group {
            evidence = evidence.group(id.pid());
        }
        let skipped = std::mem::take(&mut self.skipped);
        let mut guarantee = Guarantee::new(self.level, link.is_some(), skipped);
        if !self.is_marked {
            guarantee = guarantee.with(Gap::Unmarked);
        }
        let means = Means { leaf: self.leaf.take(), link };
        Tree::new(Some(id), pidfd, evidence, means, guarantee)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        self.launch.spend();
    }
}

/// A root that runs, held.
struct Hold {
    root: Root,
    pidfd: Option<Pidfd>,
    link: Option<Arc<Link>>,
}

fn hold_own(mut process: std::process::Child) -> io::Result<Hold> {
    // Nobody but us waits for it, so its pid is its own until we do.
    let pid = process.id();
    let held = ProcId::of(pid)
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        .and_then(|id| Ok((id, Pidfd::open(pid)?)));
    match held {
        Ok((id, pidfd)) => {
            let root = Root::own(process, id, pidfd.clone());
            Ok(Hold { root, pidfd: Some(pidfd), link: None })
        }
        Err(error) => {
            let _ = process.kill();
            let _ = process.wait();
            Err(error)
        }
    }
}

fn hold_supervised(socket: OwnedFd, process: std::process::Child) -> io::Result<Hold> {
    let (link, id) = Link::connect(socket, process)?;
    let link = Arc::new(link);
    // It may have ended already, and its pid may have been reused.
    let pidfd = id.hold();
    Ok(Hold { root: Root::told(id, Arc::clone(&link)), pidfd, link: Some(link) })
}

/// A level, and what was made for it.
struct Choice {
    level: Level,
    leaf: Option<Leaf>,
    socket: Option<(OwnedFd, OwnedFd)>,
}

/// The ladder: the first level that is to be had, and a word on each that is not.
fn choose(
    containment: &Containment,
    may_supervise: bool,
    skipped: &mut Vec<Skipped>,
) -> Result<Choice, SpawnError> {
    let ladder = match &containment.demanded {
        Some(level) => std::slice::from_ref(level),
        None => &[Level::Cgroup, Level::Supervisor, Level::Evidence][..],
    };
    for level in ladder {
        match make_level(*level, containment.die_with_parent, may_supervise) {
            Ok(choice) => return Ok(choice),
            Err(why) => skipped.push(Skipped { level: *level, why }),
        }
    }
    let Skipped { level, why } = skipped.remove(0);
    Err(SpawnError::Unavailable { level, why })
}

fn make_level(level: Level, die_with_parent: bool, may_supervise: bool) -> Result<Choice, String> {
    let leaf = match level {
        Level::Cgroup => Some(Leaf::make()?),
        Level::Supervisor | Level::PidNamespace | Level::Evidence => None,
        Level::Subreaper => {
            crate::sys::become_subreaper().map_err(|error| error.to_string())?;
            None
        }
        Level::Walk => return Err("a spawned tree always has evidence".into()),
    };
    let supervised = die_with_parent || matches!(level, Level::Supervisor | Level::PidNamespace);
    if supervised && !may_supervise {
        return Err("the process that is spawned would be the supervisor".into());
    }
    if supervised {
        crate::sys::can_supervise()?;
    }
    let socket = supervised.then(Link::socket).transpose();
    let socket = socket.map_err(|error| format!("make a socket: {error}"))?;
    Ok(Choice { level, leaf, socket })
}

/// Spawns from a thread of its own, which alone is tied to the new namespace.
fn start_in_namespace(command: &mut Command) -> io::Result<std::process::Child> {
    std::thread::scope(|scope| {
        let spawner = std::thread::Builder::new().name("lastout-namespace".into());
        let spawner = spawner.spawn_scoped(scope, || {
            crate::sys::enter_new_pid_namespace()?;
            start(command)
        })?;
        let lost = |_| Err(io::Error::other("the thread that spawns panicked"));
        spawner.join().unwrap_or_else(lost)
    })
}

#[expect(clippy::disallowed_methods, reason = "this is the spawn that owns the descendants")]
fn start(command: &mut Command) -> io::Result<std::process::Child> {
    command.spawn()
}

const VARIABLE_VALUE: &str = "1";

/// Each tree has a variable of its own, so that a tree inside a tree carries both.
fn variable_name(mark: u64) -> String {
    format!("LASTOUT_TREE_{mark:016x}")
}

/// A number that no other tree has.
pub(crate) fn new_mark() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    crate::sys::mark_of(hasher.finish())
}

/// Occupies the numbers that the child will use, as far as they are free here.
fn reserve(descriptors: &[(RawFd, OwnedFd)]) -> Result<Vec<OwnedFd>, SpawnError> {
    let mut reserved = Vec::new();
    if descriptors.len() > MOST_DESCRIPTORS {
        let number = descriptors[MOST_DESCRIPTORS].0;
        let source = io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors");
        return Err(SpawnError::Descriptor { number, source });
    }
    for (number, descriptor) in descriptors {
        let taken = crate::sys::occupy(*number, descriptor);
        match taken {
            Ok(placeholder) => reserved.extend(placeholder),
            Err(source) => {
                let number = *number;
                return Err(SpawnError::Descriptor { number, source });
            }
        }
    }
    Ok(reserved)
}
