//! The controllers of cgroups: the leaves in which a tree is limited and measured.
//!
//! A controller belongs to the v2 hierarchy or to one of its own in v1, never to both. Where v2 has it,
//! the leaf of the tree has its files. Where v1 has it, a leaf of the same name is made there, which the
//! root joins in the same step; it is removed with the tree, or by the sweep.

use super::mounts::own_v1;
use super::{cgroup, owner};
use crate::accounting::parse;
use crate::identity::Maker;
use crate::limits::{Hierarchy, LimitError, LimitGuarantee, Limits, Resource};
use crate::usage::{Reading, Source, Usage};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the kernel takes at most for `pids.max`. No machine has more pids.
const MOST_TASKS: u64 = 4 << 20;

/// The period in which a share of the processor is counted, and the one for shares of less than a
/// hundredth: the kernel takes no quota below 1 ms. In microseconds.
const PERIODS: [u64; 2] = [100_000, 1_000_000];

/// A controller, by its name in v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Memory,
    Pids,
    Cpu,
    Cpuacct,
    Blkio,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Blkio => "blkio",
        }
    }

    fn of(resource: Resource) -> Self {
        match resource {
            Resource::Memory => Self::Memory,
            Resource::Tasks => Self::Pids,
            Resource::Cpu => Self::Cpu,
        }
    }
}

/// The leaves of one tree that limit and measure it. Dropping them removes those of v1.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    /// The leaf of the tree, which its own means removes.
    v2: Option<PathBuf>,
    v1: Vec<OldLeaf>,
    /// The usage of the tree was asked for at its spawn.
    measured: bool,
    pub(crate) limits: Vec<LimitGuarantee>,
}

#[derive(Debug)]
struct OldLeaf {
    maker: Maker,
    controller: Controller,
    path: PathBuf,
    /// The file to which a process writes `0` to join.
    door: File,
}

/// How long a leaf may be busy with members that are dead, and the pause between two tries. The kernel
/// lets go of a member only after it has told that it ended.
const DYING: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_micros(500);

impl Drop for OldLeaf {
    /// A leaf that is not empty stays: somebody let its members live.
    fn drop(&mut self) {
        if !self.maker.is_here() {
            return;
        }
        let until = Instant::now() + DYING;
        while cgroup::remove_now(&self.path).is_err_and(|error| is_busy(&error))
            && !cgroup::has_members(&self.path)
            && Instant::now() < until
        {
            std::thread::park_timeout(PAUSE);
        }
    }
}

fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

impl Controls {
    /// Limits a tree whose leaf is `v2`, if it has one, and makes what is needed to measure it.
    pub(crate) fn arrange(
        v2: Option<&Path>,
        limits: &Limits,
        measure: bool,
    ) -> Result<Self, LimitError> {
        let v2 = v2.map(Path::to_owned);
        let mut controls = Self { v2, measured: measure, ..Self::default() };
        for (resource, value) in limits.given() {
            if value == 0 {
                return Err(LimitError::Zero(resource));
            }
            let by = controls.limit(resource, value)?;
            controls.limits.push(LimitGuarantee { resource, value, by });
        }
        if measure {
            controls.prepare_to_measure();
        }
        Ok(controls)
    }

    fn limit(&mut self, resource: Resource, value: u64) -> Result<Hierarchy, LimitError> {
        let refused = |source| LimitError::Refused { resource, value, source };
        let why_not_v2 = match self.in_v2(resource) {
            Ok(leaf) => {
                set_v2(leaf, resource, value).map_err(refused)?;
                return Ok(Hierarchy::V2);
            }
            Err(why) => why,
        };
        match self.in_v1(Controller::of(resource)) {
            Ok(leaf) => {
                set_v1(leaf, resource, value).map_err(refused)?;
                Ok(Hierarchy::V1)
            }
            Err(v1) => Err(LimitError::Unavailable { resource, v2: why_not_v2, v1 }),
        }
    }

    /// The leaf of the tree, when it has the files of the controller.
    fn in_v2(&self, resource: Resource) -> Result<&Path, String> {
        let Some(leaf) = &self.v2 else {
            return Err("the tree has no leaf".into());
        };
        let file = leaf.join(match resource {
            Resource::Memory => "memory.max",
            Resource::Tasks => "pids.max",
            Resource::Cpu => "cpu.max",
        });
        match file.exists() {
            true => Ok(leaf),
            false => {
                let parent = leaf.parent().unwrap_or(leaf).join("cgroup.subtree_control");
                let name = Controller::of(resource).name();
                Err(format!("{} does not enable {name}", parent.display()))
            }
        }
    }

    /// The leaf in the hierarchy of that controller, made now unless it is there.
    fn in_v1(&mut self, controller: Controller) -> Result<&Path, String> {
        let there = self.v1.iter().position(|leaf| leaf.controller == controller);
        let place = match there {
            Some(place) => place,
            None => {
                let leaf = self.make_in_v1(controller)?;
                self.v1.push(leaf);
                self.v1.len() - 1
            }
        };
        Ok(&self.v1[place].path)
    }

    fn make_in_v1(&self, controller: Controller) -> Result<OldLeaf, String> {
        let parent = own_v1(controller.name())?;
        let name = match self.v2.as_deref().and_then(Path::file_name) {
            Some(name) => name.to_owned(),
            None => owner::new_name()?.into(),
        };
        let path = parent.join(name);
        // Two controllers may share a hierarchy, and then they share the leaf.
        if let Some(shared) = self.v1.iter().find(|leaf| leaf.path == path) {
            let door = shared.door.try_clone();
            let door = door.map_err(|error| format!("open {}: {error}", path.display()))?;
            return Ok(OldLeaf { maker: Maker::here(), controller, path, door });
        }
        owner::sweep_once(&parent);
        std::fs::create_dir(&path).map_err(|error| format!("make {}: {error}", path.display()))?;
        let procs = path.join("cgroup.procs");
        match cgroup::open_to_write(&procs) {
            Ok(door) => Ok(OldLeaf { maker: Maker::here(), controller, path, door }),
            Err(error) => {
                let _ = std::fs::remove_dir(&path);
                Err(format!("write {}: {error}", procs.display()))
            }
        }
    }

    /// Makes the leaves that count what the leaf of the tree does not. One that cannot be made is left
    /// out: [`Reading::source`] says where a number comes from.
    fn prepare_to_measure(&mut self) {
        let has = |file| self.v2.as_ref().is_some_and(|leaf| leaf.join(file).exists());
        let missing = [
            (Controller::Memory, has("memory.peak")),
            (Controller::Pids, has("pids.peak")),
            (Controller::Cpuacct, has("cpu.stat")),
            (Controller::Blkio, has("io.stat")),
        ];
        for (controller, _) in missing.into_iter().filter(|(_, there)| !there) {
            let _ = self.in_v1(controller);
        }
    }

    /// The files that the root has to write `0` to before its exec.
    pub(crate) fn doors(&self) -> Vec<RawFd> {
        self.v1.iter().map(|leaf| leaf.door.as_raw_fd()).collect()
    }

    /// How many members the kernel's memory killer has ended; `None` when nothing counts that.
    pub(crate) fn memory_kills(&self) -> Option<u64> {
        let read = |path: PathBuf| parse::keyed(&std::fs::read_to_string(path).ok()?, "oom_kill");
        let v2 = self.v2.as_ref().and_then(|leaf| read(leaf.join("memory.events")));
        v2.or_else(|| read(self.old(Controller::Memory)?.join("memory.oom_control")))
    }

    /// What the leaves have counted. What they do not count is missing.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = self.v2.as_deref().map(usage_in_v2).unwrap_or_default();
        usage.fill(self.usage_in_v1());
        usage
    }

    /// What costs a kill next to nothing: all of a tree that is measured or limited, and the processor time
    /// of any other.
    pub(crate) fn usage_at_the_end(&self) -> Usage {
        match (&self.v2, self.measured || !self.limits.is_empty()) {
            (_, true) => self.usage(),
            (Some(leaf), false) => cpu_in_v2(leaf),
            (None, false) => Usage::default(),
        }
    }

    fn usage_in_v1(&self) -> Usage {
        let text = |controller, file| self.read_old(controller, file);
        let number = |controller, file| text(controller, file)?.trim().parse().ok();
        let nanos = |file| number(Controller::Cpuacct, file).map(Duration::from_nanos);
        let io = text(Controller::Blkio, "blkio.throttle.io_service_bytes_recursive");
        let (read, written) = io.map(|text| parse::blkio(&text)).unzip();
        let by = |value| Reading::new(value, Source::V1);
        Usage {
            user: nanos("cpuacct.usage_user").map(Reading::of(Source::V1)),
            system: nanos("cpuacct.usage_sys").map(Reading::of(Source::V1)),
            peak_memory: number(Controller::Memory, "memory.max_usage_in_bytes").map(by),
            read: read.map(by),
            written: written.map(by),
            tasks: number(Controller::Pids, "pids.current").map(by),
            peak_tasks: number(Controller::Pids, "pids.peak").map(by),
        }
    }

    fn read_old(&self, controller: Controller, file: &str) -> Option<String> {
        std::fs::read_to_string(self.old(controller)?.join(file)).ok()
    }

    fn old(&self, controller: Controller) -> Option<&Path> {
        let leaf = self.v1.iter().find(|leaf| leaf.controller == controller)?;
        Some(&leaf.path)
    }
}

/// The kernel counts processor time in every leaf, whatever is enabled for it.
fn cpu_in_v2(leaf: &Path) -> Usage {
    let text = std::fs::read_to_string(leaf.join("cpu.stat")).ok();
    let micros = |key| parse::keyed(text.as_deref()?, key).map(Duration::from_micros);
    Usage {
        user: micros("user_usec").map(Reading::of(Source::V2)),
        system: micros("system_usec").map(Reading::of(Source::V2)),
        ..Usage::default()
    }
}

fn usage_in_v2(leaf: &Path) -> Usage {
    let text = |file| std::fs::read_to_string(leaf.join(file)).ok();
    let number = |file| text(file)?.trim().parse().ok();
    let (read, written) = text("io.stat").map(|text| parse::io_stat(&text)).unzip();
    let by = |value| Reading::new(value, Source::V2);
    Usage {
        peak_memory: number("memory.peak").map(by),
        read: read.map(by),
        written: written.map(by),
        tasks: number("pids.current").map(by),
        peak_tasks: number("pids.peak").map(by),
        ..cpu_in_v2(leaf)
    }
}

fn set_v2(leaf: &Path, resource: Resource, value: u64) -> io::Result<()> {
    match resource {
        Resource::Memory => set(&leaf.join("memory.max"), &value.to_string()),
        Resource::Tasks => set(&leaf.join("pids.max"), &value.min(MOST_TASKS).to_string()),
        Resource::Cpu => {
            let (quota, period) = share(value);
            set(&leaf.join("cpu.max"), &format!("{quota} {period}"))
        }
    }
}

fn set_v1(leaf: &Path, resource: Resource, value: u64) -> io::Result<()> {
    match resource {
        Resource::Memory => set(&leaf.join("memory.limit_in_bytes"), &value.to_string()),
        Resource::Tasks => set(&leaf.join("pids.max"), &value.min(MOST_TASKS).to_string()),
        Resource::Cpu => {
            let (quota, period) = share(value);
            set(&leaf.join("cpu.cfs_period_us"), &period.to_string())?;
            set(&leaf.join("cpu.cfs_quota_us"), &quota.to_string())
        }
    }
}

/// Quota and period, in microseconds, for so many thousandths of a processor.
fn share(thousandths: u64) -> (u64, u64) {
    let period = PERIODS[usize::from(thousandths < 10)];
    (thousandths.saturating_mul(period / 1_000), period)
}

fn set(file: &Path, value: &str) -> io::Result<()> {
    use std::io::Write as _;
    cgroup::open_to_write(file)?.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_processor_has_a_quota_that_the_kernel_takes() {
        assert_eq!(share(1), (1_000, 1_000_000));
        assert_eq!(share(9), (9_000, 1_000_000));
        assert_eq!(share(10), (1_000, 100_000));
        assert_eq!(share(1_500), (150_000, 100_000));
        let (quota, _) = share(u64::from(u32::MAX));
        assert!(quota < 1 << 44, "the largest that the kernel takes");
    }
}
