//! From a [`Containment`] to a running tree: which level is available, what is made for it, and the start.

mod level;
mod reserve;

use crate::child::{Child, Root};
use crate::contain::{Controls, Leaf, Link, Means};
use crate::containment::{Containment, Standing};
use crate::error::{AdoptError, SpawnError, SpawnStep};
use crate::evidence::Evidence;
use crate::guarantee::{Gap, Guarantee, Level, Skipped, SupervisorForm};
use crate::id::{Pid, ProcId};
use crate::marks::{new_mark, process_number, variable_name, variables_of_outer_trees};
use crate::program::{Ends, Program};
use crate::sys::{Handover, Launch, Pidfd, Place, Supervise, ToldPage};
use crate::tree::Tree;
use level::choose;
use reserve::reserve;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::process::Command;
use std::sync::Arc;

/// Everything that is made before the spawn. Once it is dropped, what it has put into a command does nothing.
#[derive(Debug)]
pub(crate) struct Plan {
    launch: Arc<Launch>,
    leaf: Option<Leaf>,
    controls: Controls,
    measured: bool,
    outlives_caller: bool,
    /// Our end of the socket to a supervisor.
    socket: Option<OwnedFd>,
    form: Option<SupervisorForm>,
    mark: u64,
    /// The variable by which members are recognised.
    variable: (String, String),
    level: Level,
    skipped: Vec<Skipped>,
    /// Handed to the child, and closed here when the spawn is over.
    _descriptors: Vec<Arc<OwnedFd>>,
    /// Hold the numbers that the child will put descriptors on, so that nothing is opened there that
    /// the child still needs.
    _reserved: Vec<OwnedFd>,
}

/// Where the variable of a tree is added to those of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adding {
    /// Before the start.
    Before,
    /// By the child itself, because nothing of ours may stay in the command.
    InChild,
}

/// Starts a command in a copy of the calling process, as std does for every command with a hook.
pub(crate) fn start_command(
    command: &mut Command,
    containment: Containment,
) -> Result<(Tree, Child), SpawnError> {
    // A command without variables of its own passes on what the child finds. Otherwise std has made the
    // list before, and the variable has to be in the command for the moment.
    let changes = command.get_envs().next().is_some();
    let adding = if changes { Adding::Before } else { Adding::InChild };
    let mut plan = Plan::make(containment, true, adding, &[])?;
    if changes {
        // One name for all trees of this process: std keeps a note of each name that was taken out.
        plan.variable = (variable_name(process_number()), format!("{:016x}", plan.mark));
        command.env(&plan.variable.0, &plan.variable.1);
    }
    plan.expect_handover();
    plan.launch.install(command);
    let started = plan.start(command);
    if changes {
        command.env_remove(&plan.variable.0);
    }
    let mut process = started?;
    let child = (process.stdin.take(), process.stdout.take(), process.stderr.take());
    let hold = plan.hold_forked(process).map_err(|source| SpawnError::Lost { source })?;
    let (stdin, stdout, stderr) = child;
    let (tree, root) = plan.into_tree(hold);
    Ok((tree, Child { stdin, stdout, stderr, root }))
}

/// Prepares the next spawn of a command that somebody else starts.
pub(crate) fn contain_command(
    command: &mut Command,
    containment: Containment,
) -> Result<Plan, SpawnError> {
    let plan = Plan::make(containment, false, Adding::InChild, &[])?;
    plan.launch.install(command);
    Ok(plan)
}

/// Starts a program without a copy of the calling process.
pub(crate) fn start_program(
    program: &Program,
    containment: Containment,
) -> Result<(Tree, Child), SpawnError> {
    let failed = |step, source| SpawnError::Command { program: program.shown(), step, source };
    let ends = Ends::open(&program.io).map_err(|error| failed(SpawnStep::Descriptors, error))?;
    let plan = Plan::make(containment, true, Adding::Before, &ends.theirs())?;
    let recipe = program.recipe((&plan.variable.0, &plan.variable.1))?;
    let news = plan.socket.as_ref().map(AsFd::as_fd);
    let born = crate::sys::start(&recipe, &plan.launch, news).map_err(|fault| {
        plan.unavailable(fault.step, fault.errno)
            .unwrap_or_else(|| failed(fault.step, fault.into()))
    })?;
    let hold = plan.hold_born(born);
    let (tree, root) = plan.into_tree(hold);
    let [stdin, stdout, stderr] = ends.ours;
    Ok((
        tree,
        Child {
            stdin: stdin.map(Into::into),
            stdout: stdout.map(Into::into),
            stderr: stderr.map(Into::into),
            root,
        },
    ))
}

impl Plan {
    /// Chooses the level and makes what it needs. Without `may_supervise`, the process that is started is
    /// the root itself.
    fn make(
        containment: Containment,
        may_supervise: bool,
        adding: Adding,
        streams: &[(RawFd, RawFd)],
    ) -> Result<Self, SpawnError> {
        let reserved = reserve(&containment.descriptors)?;
        let told = ToldPage::new().map_err(|source| SpawnError::Lost { source })?;
        let mut skipped = Vec::new();
        let choice = choose(&containment, may_supervise, &mut skipped)?;
        let at = choice.leaf.as_ref().map(Leaf::path);
        let controls = Controls::arrange(at, &containment.limits, containment.measure)
            .map_err(SpawnError::Limit)?;
        let mark = new_mark();
        let variable = (variable_name(mark), String::from("1"));
        let (numbers, mut owned): (Vec<_>, Vec<_>) = containment.descriptors.into_iter().unzip();
        let sources = owned.iter().map(AsRawFd::as_raw_fd);
        let placed = streams.iter().copied().chain(numbers.into_iter().zip(sources));
        let placed: Vec<_> = placed.collect();
        let place = match containment.standing {
            None | Some(Standing::OwnGroup) => Place::OwnGroup,
            Some(Standing::CallersGroup) => Place::CallersGroup,
            Some(Standing::Session(terminal)) => {
                let number = terminal.as_ref().map(AsRawFd::as_raw_fd);
                owned.extend(terminal);
                Place::Session(number)
            }
        };
        let (mut socket, mut form, mut supervise) = (None, None, None);
        if let Some(made) = choice.supervisor {
            supervise = Some(Supervise {
                control: made.theirs.as_raw_fd(),
                namespace: choice.level == Level::PidNamespace,
                leaf: choice.leaf.as_ref().and_then(Leaf::files),
                helper: made.helper.as_ref().map(AsRawFd::as_raw_fd),
                variables: variables_of_outer_trees(),
            });
            (socket, form) = (Some(made.ours), Some(made.form));
            owned.extend([made.theirs].into_iter().chain(made.helper).map(Arc::new));
        }
        let in_child = adding == Adding::InChild;
        let entry = in_child.then(|| CString::new(format!("{}={}", variable.0, variable.1)).ok());
        let doors = choice.leaf.iter().map(|leaf| leaf.door().as_raw_fd());
        // A fork does not need it. Without it the root joins by the door, which takes longer.
        let leaf = choice.leaf.as_ref().filter(|_| !in_child);
        let directory = leaf.and_then(|leaf| leaf.directory().ok());
        let launch = Arc::new(Launch {
            told,
            supervise,
            directory: directory.as_ref().map(AsRawFd::as_raw_fd),
            doors: doors.chain(controls.doors()).collect(),
            mark: Some(mark),
            place,
            descriptors: placed,
            handover: None,
            variable: entry.flatten(),
        });
        owned.extend(directory.map(Arc::new));
        Ok(Self {
            launch,
            leaf: choice.leaf,
            controls,
            measured: containment.measure,
            outlives_caller: containment.outlive_caller,
            socket,
            form,
            mark,
            variable,
            level: choice.level,
            skipped,
            _descriptors: owned,
            _reserved: reserved,
        })
    }

    /// Has the process hand itself over that std is about to fork, if it may be gone when std returns. Without
    /// descriptors for that it is looked for by its number.
    fn expect_handover(&mut self) {
        if !crate::sys::kernel_waits_for_children() {
            return;
        }
        if let Some(launch) = Arc::get_mut(&mut self.launch) {
            launch.handover = Handover::new().ok();
        }
    }

    /// Starts a command with the hook of this plan.
    fn start(&self, command: &mut Command) -> Result<std::process::Child, SpawnError> {
        let spawned = match self.level {
            Level::PidNamespace => spawn_in_namespace(command)?,
            _ => spawn(command),
        };
        spawned.map_err(|source| {
            let step = self.launch.told.failure().map_or(SpawnStep::Process, |(step, _)| step);
            let errno = source.raw_os_error().unwrap_or(0);
            let program = command.get_program().to_string_lossy().into_owned();
            let error = SpawnError::Command { program, step, source };
            self.unavailable(step, errno).unwrap_or(error)
        })
    }

    /// What stands in the way of the level, and not of the program.
    fn unavailable(&self, step: SpawnStep, errno: i32) -> Option<SpawnError> {
        let makes_namespace =
            self.level == Level::PidNamespace && step == SpawnStep::Process && errno == libc::EPERM;
        if !makes_namespace && step != SpawnStep::Namespace {
            return None;
        }
        let why = io::Error::from_raw_os_error(errno);
        let why = match step {
            SpawnStep::Namespace => format!("{step}: {why}"),
            _ => format!("make a pid namespace: {why}"),
        };
        Some(SpawnError::Unavailable { level: self.level, why })
    }

    /// Takes hold of what a fork has started.
    fn hold_forked(&self, mut process: std::process::Child) -> io::Result<Hold> {
        let pid = process.id();
        let handed = self.launch.handover.as_ref().and_then(Handover::take);
        let pidfd = match handed.map_or_else(|| Pidfd::open(pid), Ok) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                // A caller that ignores SIGCHLD has no child to lose any more: that one is gone.
                if crate::sys::kernel_waits_for_children()
                    && error == rustix::io::Errno::SRCH
                    && self.socket.is_none()
                {
                    return Ok(Hold { id: ProcId::new(pid, 0), pidfd: None, supervisor: None });
                }
                let _ = process.kill();
                let _ = process.wait();
                return Err(error.into());
            }
        };
        let id = crate::sys::identify_held(pid, &pidfd);
        let Some(news) = &self.socket else {
            return Ok(Hold { id, pidfd: Some(pidfd), supervisor: None });
        };
        crate::sys::await_ready(news.as_fd(), &pidfd);
        let (root, start) = self.launch.told.root();
        let root = Pid::try_from(root).unwrap_or(0);
        // It may have ended already, and its pid may have been reused; a child of the supervisor is a member
        // in any case.
        let held = Pidfd::open(root).ok().filter(|_| crate::sys::parent_of(root) == Some(pid));
        let root = match &held {
            Some(held) => crate::sys::identify_held(root, held),
            None => ProcId::new(root, start),
        };
        Ok(Hold { id: root, pidfd: held, supervisor: Some((id, pidfd)) })
    }

    /// Takes hold of what was started without a fork.
    fn hold_born(&self, born: crate::sys::Born) -> Hold {
        let pid = |pid: libc::pid_t| pid.unsigned_abs();
        let id = crate::sys::identify_held(pid(born.root), &born.pidfd);
        let supervisor = born
            .supervisor
            .map(|(number, pidfd)| (crate::sys::identify_held(pid(number), &pidfd), pidfd));
        Hold { id, pidfd: Some(born.pidfd), supervisor }
    }

    /// The tree of a process that the caller has started from the prepared command.
    pub(crate) fn adopt(self, pid: Pid) -> Result<Tree, AdoptError> {
        let is_root = Pid::try_from(self.launch.told.root().0) == Ok(pid);
        match crate::adopt::hold(pid) {
            Ok((id, pidfd)) if self.is_started(pid) => Ok(self.tree(id, Some(pidfd), None)),
            // The kernel waits for the children of a caller that ignores SIGCHLD. What the root has left behind
            // is there all the same.
            Ok(_) | Err(AdoptError::Gone(_)) if is_root => {
                Ok(self.tree(ProcId::new(pid, 0), None, None))
            }
            Ok(_) => Err(AdoptError::Gone(pid)),
            Err(error) => Err(error),
        }
    }

    /// Whether the process that has `pid` is the one that was started, and not a later one with its number: it
    /// carries the mark, or its caller has not waited for it.
    fn is_started(&self, pid: Pid) -> bool {
        !crate::sys::lacks_mark(pid, self.mark)
            || crate::sys::parent_of(pid) == Some(std::process::id())
    }

    fn into_tree(mut self, hold: Hold) -> (Tree, Arc<Root>) {
        let link = hold.supervisor.zip(self.socket.take()).map(|((id, pidfd), socket)| {
            Arc::new(Link::new(socket, id, pidfd, hold.pidfd.clone()))
        });
        let root = Arc::new(match (&link, &hold.pidfd) {
            (Some(link), _) => Root::told(hold.id, Arc::clone(link)),
            (None, Some(pidfd)) => Root::own(hold.id, pidfd.clone()),
            (None, None) => Root::lost(hold.id),
        });
        let tree = self.tree(hold.id, hold.pidfd, link);
        (tree.with_root(Arc::clone(&root)), root)
    }

    fn tree(mut self, id: ProcId, pidfd: Option<Pidfd>, link: Option<Arc<Link>>) -> Tree {
        let (name, value) = std::mem::take(&mut self.variable);
        let mut evidence = Evidence::new().process(id).variable(name, value);
        evidence.mark = Some(self.mark);
        if self.launch.place != Place::CallersGroup {
            evidence = evidence.group(id.pid());
        }
        if let Place::Session(_) = self.launch.place {
            evidence = evidence.session(id.pid());
        }
        if let (Some(SupervisorForm::Program), true) = (&self.form, self.launch.told.is_copy()) {
            self.form = Some(SupervisorForm::Copy { why: "the helper program was refused".into() });
        }
        if let (Some(link), true) = (&link, self.outlives_caller) {
            link.let_live();
        }
        let dies_with_parent = link.is_some() && !self.outlives_caller;
        let guarantee =
            Guarantee::new(self.level, dies_with_parent, std::mem::take(&mut self.skipped));
        let mut guarantee = guarantee.with_supervisor(self.form.take());
        // A root that ended before it could be marked has left nobody behind.
        if !self.launch.told.is_marked() && !crate::sys::can_mark_child() {
            guarantee = guarantee.with(Gap::Unmarked);
        }
        let means =
            Means { leaf: self.leaf.take(), link, controls: std::mem::take(&mut self.controls) };
        Tree::new(Some(id), pidfd, evidence, means, guarantee).measured(self.measured)
    }
}

/// A root that was started, and its supervisor.
struct Hold {
    id: ProcId,
    /// Absent when it was gone before it could be held.
    pidfd: Option<Pidfd>,
    supervisor: Option<(ProcId, Pidfd)>,
}

/// Spawns from a thread of its own, which alone is tied to the new namespace.
fn spawn_in_namespace(
    command: &mut Command,
) -> Result<io::Result<std::process::Child>, SpawnError> {
    let unavailable = |why: String| SpawnError::Unavailable { level: Level::PidNamespace, why };
    std::thread::scope(|scope| {
        let spawner = std::thread::Builder::new().name("lastout-namespace".into());
        let spawner = spawner.spawn_scoped(scope, || {
            crate::sys::enter_new_pid_namespace()
                .map_err(|error| unavailable(format!("make a pid namespace: {error}")))?;
            Ok(spawn(command))
        });
        let spawner = spawner.map_err(|error| unavailable(format!("start a thread: {error}")))?;
        spawner
            .join()
            .unwrap_or_else(|_| Err(unavailable("the thread that spawns panicked".into())))
    })
}

#[expect(clippy::disallowed_methods, reason = "this is the spawn that owns the descendants")]
fn spawn(command: &mut Command) -> io::Result<std::process::Child> {
    command.spawn()
}
