//! Who is in a tree, found among many other processes.
//!
//! `LASTOUT_BENCH_OTHERS` says how many others there are, 10 000 unless it is set.

use crate::tree;
use lastout_bench_runner::{Bar, Case};
use lastout_proc_tree::snapshot;
use std::process::Command;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

pub fn cases() -> [Case<'static>; 2] {
    [flat_discovery(), discovery()]
}

/// How many other processes there are in the cases about discovery.
fn others() -> usize {
    let wish = std::env::var("LASTOUT_BENCH_OTHERS").ok();
    wish.and_then(|wish| wish.parse().ok()).unwrap_or(10_000)
}

/// Microseconds for finding the eight members of a tree among so many others.
fn discover_among(others: usize, discover: impl Fn(u32) -> usize) -> f64 {
    let crowd = tree::plain(others, |_| {});
    let (mut child, mut oracle) = tree::plain(8, |_| {});
    let pid = child.id();
    assert_eq!(discover(pid), 8);
    const TIMES: u32 = 5;
    let begin = Instant::now();
    for _ in 0..TIMES {
        std::hint::black_box(discover(pid));
    }
    let value = tree::millis(begin.elapsed()) * 1e3 / f64::from(TIMES);
    end(&mut child, &mut oracle);
    let (mut child, mut oracle) = crowd;
    end(&mut child, &mut oracle);
    value
}

fn end(child: &mut std::process::Child, oracle: &mut tree::Oracle) {
    lastout_proc_tree::kill_descendant_tree(child.id(), LONG).expect("nobody survives");
    child.wait().expect("the root is ours");
    oracle.await_end();
}

fn by_snapshot(pid: u32) -> usize {
    snapshot(pid).expect("it is there").processes().len()
}

fn flat_discovery() -> Case<'static> {
    Case::lower("discovery of 8 processes among many, against among 100", "µs")
        .rounds(5)
        .floor(|| discover_among(100, by_snapshot))
        .ours(|| discover_among(others(), by_snapshot))
        .bar(Bar::floor().max(1.3))
}

fn discovery() -> Case<'static> {
    Case::lower("discovery of 8 processes among many", "µs")
        .rounds(3)
        .ours(|| discover_among(others(), by_snapshot))
        .peer("sysinfo 0.40, minimal", || discover_among(others(), by_sysinfo))
        .peer("pgrep -P, recursive", || discover_among(others(), by_pgrep))
        .bar(Bar::peer("sysinfo 0.40, minimal").max(0.001))
}

fn by_sysinfo(root: u32) -> usize {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};
    let mut system = System::new().expect("the system can be read");
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, ProcessRefreshKind::nothing());
    let mut members = vec![sysinfo::Pid::from_u32(root)];
    let mut place = 0;
    while let Some(parent) = members.get(place).copied() {
        let children = system.processes().iter().filter(|(_, p)| p.parent() == Some(parent));
        let children: Vec<_> = children.map(|(pid, _)| *pid).collect();
        members.extend(children);
        place += 1;
    }
    members.len()
}

fn by_pgrep(root: u32) -> usize {
    let output =
        Command::new("pgrep").args(["-P", &root.to_string()]).output().expect("pgrep runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    1 + text.lines().filter_map(|line| line.parse().ok()).map(by_pgrep).sum::<usize>()
}
