//! A process table in memory, whose processes act at exactly the moment that a test names.

use super::table::{GroupSent, Listing, Opened, Sent, Stat, State, Table};
use crate::evidence::Evidence;
use crate::id::{BootId, Pid, ProcId};
use crate::signal::Signal;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The pid of the caller in the fake world. Its parent is 50, whose parent is 1.
pub(super) const CALLER: Pid = 100;

/// The only boot of the fake world.
const BOOT: BootId = BootId(1);

#[derive(Debug, Clone)]
pub(super) struct Proc {
    /// What no other process of this world has.
    serial: u64,
    pub(super) start: u64,
    pub(super) parent: Pid,
    pub(super) group: Pid,
    pub(super) session: Pid,
    pub(super) threads: u32,
    pub(super) state: u8,
    pub(super) mark: Option<u64>,
    pub(super) variable: Option<Vec<u8>>,
    pub(super) is_kernel_thread: bool,
    /// All threads have ended.
    pub(super) dead: bool,
    /// May not be signalled.
    pub(super) foreign: bool,
    /// So many looks are needed until a signal to stop has taken effect; never with `None`.
    pub(super) stops_after: Option<u32>,
    /// SIGKILL stays pending.
    pub(super) stuck: bool,
    /// Every place for a mark is closed.
    pub(super) unmarkable: bool,
    /// The table does not show it.
    pub(super) hidden: bool,
    /// Stays as a zombie: its parent does not wait.
    pub(super) lingers: bool,
    pub(super) stopping: bool,
}

/// What the engine is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Open(Pid),
    Stat(Pid),
    Children(Pid),
    All,
    Signal(Pid, Signal),
}

type Act = Box<dyn FnOnce(&mut World)>;

pub(super) struct World {
    /// When the world began, how long each look takes, and how long all have taken. A signal takes no time
    /// beside a look.
    pub(super) epoch: Instant,
    pub(super) cost: Duration,
    /// How long it takes to watch one process.
    pub(super) watch_cost: Duration,
    spent: Duration,
    pub(super) procs: BTreeMap<Pid, Proc>,
    pub(super) signals: Vec<(Pid, u64, Signal)>,
    /// Listed by `children` and `all` besides the real ones.
    pub(super) extra: Vec<Pid>,
    pub(super) handles: usize,
    pub(super) handle_limit: usize,
    /// A look at a process takes a descriptor as well, for the time of the look.
    pub(super) looks_need_one: bool,
    /// So many more may be held when it is urgent.
    pub(super) handles_kept: usize,
    pub(super) hides_children: bool,
    /// No process can be held.
    pub(super) refuses: bool,
    /// The kernel does not number its pidfds.
    pub(super) is_old: bool,
    /// The newest pid, where it tells who is younger than the root.
    pub(super) newest: Option<Pid>,
    /// So many lists of all processes cannot be had for want of a descriptor.
    pub(super) blind: usize,
    ran_short: bool,
    pub(super) looks: usize,
    /// Whose memory was read.
    pub(super) read: Vec<Pid>,
    acts: Vec<(Op, Act)>,
    timed: Option<(usize, Act)>,
    watched: Vec<(Pid, u64, usize)>,
    clock: u64,
}

impl World {
    pub(super) fn spawn(&mut self, pid: Pid, parent: Pid) -> &mut Proc {
        self.clock += 1;
        let template = self.procs.get(&parent);
        let process = Proc {
            serial: self.clock,
            start: self.clock,
            parent,
            group: template.map_or(pid, |t| t.group),
            session: template.map_or(pid, |t| t.session),
            threads: 1,
            state: b'S',
            mark: template.and_then(|t| t.mark),
            variable: template.and_then(|t| t.variable.clone()),
            is_kernel_thread: false,
            dead: false,
            foreign: false,
            stops_after: Some(1),
            stuck: false,
            unmarkable: false,
            hidden: false,
            lingers: false,
            stopping: false,
        };
        assert!(self.procs.insert(pid, process).is_none(), "pid {pid} is in use");
        self.procs.get_mut(&pid).unwrap()
    }

    /// A fork by `parent`, which a stopped or dead process does not get to do.
    pub(super) fn fork(&mut self, pid: Pid, parent: Pid) {
        let able = self.procs.get(&parent).is_some_and(|p| !p.dead && p.state != b'T');
        if able && !self.procs.contains_key(&pid) {
            self.spawn(pid, parent);
        }
    }

    /// The process ends; its children become orphans.
    pub(super) fn end(&mut self, pid: Pid) {
        let Some(process) = self.procs.get_mut(&pid) else {
            return;
        };
        process.dead = true;
        process.state = b'Z';
        if !process.lingers {
            self.procs.remove(&pid);
        }
        for process in self.procs.values_mut().filter(|p| p.parent == pid) {
            process.parent = 1;
        }
    }

    /// Just before the engine does `op` for the first time from now on, `act` happens.
    pub(super) fn before(&mut self, op: Op, act: impl FnOnce(&mut Self) + 'static) {
        self.acts.push((op, Box::new(act)));
    }

    /// After so many operations from now on, `act` happens.
    pub(super) fn after_looks(&mut self, looks: usize, act: impl FnOnce(&mut Self) + 'static) {
        self.timed = Some((self.looks + looks, Box::new(act)));
    }

    fn enter(&mut self, op: Op) {
        self.looks += 1;
        if !matches!(op, Op::Signal(..)) {
            self.spent += self.cost;
        }
        if self.timed.as_ref().is_some_and(|(at, _)| self.looks > *at) {
            let (_, act) = self.timed.take().unwrap();
            act(self);
        }
        let due = self.acts.iter().position(|(when, _)| *when == op);
        if let Some(due) = due {
            let (_, act) = self.acts.remove(due);
            act(self);
        }
    }

    fn same(&mut self, handle: &Handle) -> Option<&mut Proc> {
        let process = self.procs.get_mut(&handle.0.pid)?;
        (process.serial == handle.0.serial).then_some(process)
    }

    fn deliver(&mut self, pid: Pid, signal: Signal) -> Sent {
        let Some(process) = self.procs.get_mut(&pid) else {
            return Sent::Gone;
        };
        if process.foreign {
            return Sent::Denied;
        }
        let start = process.start;
        match signal {
            Signal::STOP if !process.dead => process.stopping = true,
            Signal::CONT => {
                process.stopping = false;
                process.state = b'S';
            }
            Signal::KILL if !process.stuck && !process.dead => self.end(pid),
            _ => {}
        }
        self.signals.push((pid, start, signal));
        Sent::Delivered
    }
}

#[derive(Debug, Clone)]
pub(super) struct Handle(Rc<Held>);

#[derive(Debug)]
struct Held {
    pid: Pid,
    serial: u64,
    world: FakeTable,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.world.0.borrow_mut().handles -= 1;
    }
}

#[derive(Clone)]
pub(super) struct FakeTable(pub(super) Rc<RefCell<World>>);

impl std::fmt::Debug for FakeTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeTable")
    }
}

impl FakeTable {
    /// The caller with its line of ancestors, and nobody else.
    pub(super) fn new() -> Self {
        let mut world = World {
            epoch: Instant::now(),
            cost: Duration::ZERO,
            watch_cost: Duration::ZERO,
            spent: Duration::ZERO,
            procs: BTreeMap::new(),
            signals: Vec::new(),
            extra: Vec::new(),
            handles: 0,
            handle_limit: usize::MAX,
            looks_need_one: false,
            handles_kept: 0,
            hides_children: false,
            refuses: false,
            is_old: false,
            newest: None,
            blind: 0,
            ran_short: false,
            looks: 0,
            read: Vec::new(),
            acts: Vec::new(),
            timed: None,
            watched: Vec::new(),
            clock: 0,
        };
        world.spawn(1, 0);
        world.spawn(50, 1);
        world.spawn(CALLER, 50);
        Self(Rc::new(RefCell::new(world)))
    }

    pub(super) fn with<R>(&self, act: impl FnOnce(&mut World) -> R) -> R {
        act(&mut self.0.borrow_mut())
    }

    /// Evidence for the process that has `pid` now.
    pub(super) fn evidence(&self, pid: Pid) -> Evidence {
        let start = self.with(|world| world.procs[&pid].start);
        Evidence::new().process(ProcId::from_parts(BOOT, pid, start, None))
    }

    pub(super) fn handle(&self, pid: Pid) -> Handle {
        match self.clone().open(pid, false) {
            Opened::Held(handle) => handle,
            other => panic!("{other:?}"),
        }
    }

    /// Lets the time go on until then.
    pub(super) fn wait_until(&self, until: Instant) {
        self.with(|world| {
            world.spent = world.spent.max(until.saturating_duration_since(world.epoch));
        });
    }

    pub(super) fn is_alive(&self, pid: Pid) -> bool {
        self.with(|world| world.procs.get(&pid).is_some_and(|p| !p.dead))
    }

    pub(super) fn signals_to(&self, pid: Pid, start: u64) -> Vec<Signal> {
        self.with(|world| {
            let to = world.signals.iter().filter(|(p, s, _)| (*p, *s) == (pid, start));
            to.map(|(_, _, signal)| *signal).collect()
        })
    }
}

impl Table for FakeTable {
    type Handle = Handle;

    fn own_pid(&self) -> Pid {
        CALLER
    }

    fn open(&mut self, pid: Pid, urgently: bool) -> Opened<Handle> {
        let mut world = self.0.borrow_mut();
        world.enter(Op::Open(pid));
        let kept = if urgently { world.handles_kept } else { 0 };
        if world.handles >= world.handle_limit.saturating_add(kept) {
            return Opened::Exhausted;
        }
        let Some(serial) = world.procs.get(&pid).map(|p| p.serial) else {
            return Opened::Gone;
        };
        if world.refuses {
            return Opened::Refused;
        }
        world.handles += 1;
        Opened::Held(Handle(Rc::new(Held { pid, serial, world: self.clone() })))
    }

    fn now(&self) -> Instant {
        self.with(|world| world.epoch + world.spent)
    }

    fn is_older(&mut self, pid: Pid, start: u64) -> bool {
        self.with(|world| world.procs.get(&pid).is_some_and(|p| p.start < start))
    }

    fn newest_since(&mut self, _root: ProcId) -> Option<Pid> {
        self.with(|world| world.newest)
    }

    fn remember_elders(&mut self) {}

    fn boot(&self) -> BootId {
        BOOT
    }

    fn inode(&mut self, process: &Handle) -> Option<NonZeroU64> {
        self.with(|world| NonZeroU64::new(process.0.serial).filter(|_| !world.is_old))
    }

    fn has_its_pid(&mut self, process: &Handle) -> bool {
        self.with(|world| world.same(process).is_some())
    }

    fn stat(&mut self, pid: Pid) -> Option<Stat> {
        let mut world = self.0.borrow_mut();
        world.enter(Op::Stat(pid));
        if world.looks_need_one && world.handles >= world.handle_limit {
            world.ran_short = true;
            return None;
        }
        let process = world.procs.get_mut(&pid).filter(|process| !process.hidden)?;
        if process.stopping {
            match &mut process.stops_after {
                Some(0) => process.state = b'T',
                Some(left) => *left -= 1,
                None => {}
            }
        }
        Some(Stat {
            pid,
            parent: process.parent,
            group: process.group,
            session: process.session,
            start: process.start,
            threads: process.threads,
            state: State(process.state),
            is_kernel_thread: process.is_kernel_thread,
        })
    }

    fn name(&mut self, pid: Pid) -> Option<Vec<u8>> {
        self.with(|world| world.procs.contains_key(&pid).then(|| b"fake".to_vec()))
    }

    fn children(&mut self, pid: Pid, out: &mut Vec<Pid>) -> Listing {
        let mut world = self.0.borrow_mut();
        world.enter(Op::Children(pid));
        if world.hides_children {
            return Listing::Unsupported;
        }
        out.extend(world.procs.iter().filter(|(_, p)| p.parent == pid).map(|(pid, _)| *pid));
        out.extend(&world.extra);
        match world.procs.get(&pid) {
            Some(process) if !process.dead => Listing::Whole,
            _ => Listing::Gone,
        }
    }

    fn all(&mut self, out: &mut Vec<Pid>) {
        let mut world = self.0.borrow_mut();
        world.enter(Op::All);
        if world.blind > 0 {
            world.blind -= 1;
            world.ran_short = true;
            return;
        }
        out.extend(world.procs.iter().filter(|(_, p)| !p.hidden).map(|(pid, _)| *pid));
        out.extend(&world.extra);
    }

    fn ran_short(&mut self) -> bool {
        self.with(|world| std::mem::take(&mut world.ran_short))
    }

    fn was_hidden(&mut self) -> bool {
        false
    }

    fn hidden(&mut self, mark: u64, _until: Instant, out: &mut Vec<Pid>) -> bool {
        self.with(|world| {
            let hidden = world.procs.iter().filter(|(_, p)| p.hidden && p.mark == Some(mark));
            out.extend(hidden.map(|(pid, _)| *pid));
        });
        true
    }

    fn mark(&mut self, process: &Handle, _pid: Pid, mark: u64) -> bool {
        self.with(|world| {
            let process = world.same(process).filter(|p| !p.unmarkable);
            process.map(|p| p.mark = Some(mark)).is_some()
        })
    }

    fn is_marked(&mut self, pid: Pid, mark: u64, _thorough: bool) -> bool {
        self.with(|world| world.procs.get(&pid).is_some_and(|p| p.mark == Some(mark)))
    }

    fn carries(&mut self, pid: Pid, evidence: &Evidence) -> bool {
        let variable = self.with(|world| {
            world.read.push(pid);
            world.procs.get(&pid).and_then(|p| p.variable.clone())
        });
        variable.is_some_and(|variable| evidence.variables.contains(&variable))
    }

    fn all_threads_stopped(&mut self, pid: Pid) -> bool {
        // The threads of a fake process stop together with it, also when the first one has ended.
        self.with(|world| world.procs.get(&pid).is_none_or(|p| p.stopping))
    }

    fn signal(&mut self, process: &Handle, signal: Signal) -> Sent {
        let mut world = self.0.borrow_mut();
        world.enter(Op::Signal(process.0.pid, signal));
        if world.same(process).is_none() {
            return Sent::Gone;
        }
        world.deliver(process.0.pid, signal)
    }

    fn signal_group(&mut self, leader: &Handle, signal: Option<Signal>) -> GroupSent {
        let mut world = self.0.borrow_mut();
        // The number means the group of the leader that is held until a younger leader has it.
        let reused = world.procs.get(&leader.0.pid).is_some_and(|p| p.serial != leader.0.serial);
        let group = world.procs.iter().filter(|(_, p)| !reused && p.group == leader.0.pid);
        let members: Vec<Pid> = group.map(|(pid, _)| *pid).collect();
        for pid in &members {
            if let Some(signal) = signal {
                world.deliver(*pid, signal);
            }
        }
        if members.is_empty() { GroupSent::Empty } else { GroupSent::Delivered }
    }

    fn is_dead(&mut self, process: &Handle) -> bool {
        self.with(|world| world.same(process).is_none_or(|p| p.dead))
    }

    fn watch(&mut self, process: &Handle, token: usize) -> bool {
        self.with(|world| {
            world.spent += world.watch_cost;
            world.watched.push((process.0.pid, process.0.serial, token));
        });
        true
    }

    fn ended(&mut self, out: &mut Vec<usize>) {
        let mut world = self.0.borrow_mut();
        let watched = std::mem::take(&mut world.watched);
        let is_alive = |pid: &Pid, serial: &u64| {
            world.procs.get(pid).is_some_and(|p| p.serial == *serial && !p.dead)
        };
        let (alive, ended): (Vec<_>, Vec<_>) =
            watched.into_iter().partition(|(pid, serial, _)| is_alive(pid, serial));
        out.extend(ended.into_iter().map(|(_, _, token)| token));
        world.watched = alive;
    }
}
