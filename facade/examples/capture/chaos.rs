//! Injects the faults: `kill -9` of browsers and of the worker.

use crate::hub::Hub;
use crate::plan::Fault;
use crate::summary::Sort;
use lastout::proc_tree::{ProcId, snapshot};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;

/// The faults that are still to come.
#[derive(Debug)]
pub(crate) struct Chaos {
    plan: VecDeque<(u32, Fault)>,
}

impl Chaos {
    pub(crate) fn new(plan: Vec<(u32, Fault)>) -> Self {
        Self { plan: plan.into() }
    }

    /// Injects what is due when so many jobs have ended. What finds no victim stays due: a worker that
    /// is just being started, a browser that is just being launched.
    pub(crate) fn strike(&mut self, ended: u32, hub: &Hub) {
        while let Some((after, fault)) = self.plan.front().copied()
            && after <= ended
        {
            let Some(worker) = hub.worker() else {
                return;
            };
            match fault {
                Fault::Worker => {
                    hub.killed();
                    hub.note(Sort::Fault, format!("kill -9 of worker {}", worker.pid()));
                    kill(worker);
                }
                Fault::Chrome(choice) => {
                    let browsers = browsers(worker);
                    if browsers.is_empty() {
                        return;
                    }
                    let victim = browsers[(choice % browsers.len() as u64) as usize];
                    hub.note(Sort::Fault, format!("kill -9 of Chrome {}", victim.pid()));
                    kill(victim);
                }
            }
            self.plan.pop_front();
        }
    }

    /// How many faults are still to come.
    pub(crate) fn left(&self) -> usize {
        self.plan.len()
    }
}

/// The main processes of the browsers below the worker: those that no other browser process started.
pub(crate) fn browsers(worker: ProcId) -> Vec<ProcId> {
    let Ok(tree) = snapshot(worker.pid()) else {
        return Vec::new();
    };
    let is_main = |pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains("--user-data-dir") && !line.contains("--type=")
    };
    let processes = tree.descendants().iter();
    processes.filter(|process| is_main(process.pid)).map(|process| process.id).collect()
}

/// Ends a process at once, if it is still the one that was meant.
fn kill(victim: ProcId) {
    let pid = i32::try_from(victim.pid()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|_| victim.is_running()) {
        // Gone in between is as good as killed.
        let _ = kill_process(pid, Signal::KILL);
    }
}
