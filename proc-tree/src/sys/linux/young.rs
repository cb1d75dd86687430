//! Which pids the processes have that are younger than a root that has just started.

use super::boottime;
use super::procfs::{ProcFs, decimal};
use super::sight::pid_max;
use crate::id::Pid;
use rustix::fs::OFlags;
use std::time::Duration;

/// How old a root is at most for which pids tell who is younger: [`FEW`] pids do not come round in that time.
const YOUNG: Duration = Duration::from_millis(50);

/// With fewer pids than this they are told by nothing.
const FEW: Pid = 1 << 15;

impl ProcFs {
    /// The newest pid that the kernel has given out in the namespace of this process, if the tick `start` was less
    /// than [`YOUNG`] ago.
    pub(crate) fn newest_since(&mut self, start: u64) -> Option<Pid> {
        if !is_young(start)? || pid_max() < FEW {
            return None;
        }
        let file = self.open_below("loadavg", OFlags::RDONLY).ok()?;
        // Containers mount a file of their own there, whose number is one of the host.
        if rustix::fs::fstatfs(&file).ok()?.f_type != rustix::fs::PROC_SUPER_MAGIC {
            return None;
        }
        let mut text = [0; 128];
        let length = rustix::io::read(&file, &mut text[..]).ok()?;
        // Asked again: this thread may not have run for a while before the read.
        let is_young = is_young(start)?;
        let newest = text.get(..length)?.trim_ascii_end().rsplit(|byte| *byte == b' ').next();
        newest.filter(|_| is_young).and_then(decimal)
    }
}

/// Whether the tick `start` is known and was less than [`YOUNG`] ago.
fn is_young(start: u64) -> Option<bool> {
    let tick = Duration::from_secs(1) / rustix::param::clock_ticks_per_second().try_into().ok()?;
    let start = tick.checked_mul(start.try_into().ok()?)?;
    Some(!start.is_zero() && boottime()?.checked_sub(start)? < YOUNG)
}

#[cfg(test)]
mod tests {
    use super::super::now;
    use super::*;

    #[test]
    fn the_newest_pid_is_told_for_a_root_that_has_just_started_alone() {
        let mut proc = ProcFs::open().unwrap();
        let system = rustix::fs::statfs("/proc/loadavg").unwrap().f_type;
        let can_tell = system == rustix::fs::PROC_SUPER_MAGIC && pid_max() >= FEW;
        // A thread may not run for longer than a root is young.
        let told = (0..1000).any(|_| proc.newest_since(now()).is_some());
        assert_eq!(told, can_tell);
        let old = now() - rustix::param::clock_ticks_per_second();
        assert_eq!((proc.newest_since(old), proc.newest_since(0)), (None, None));
    }
}
