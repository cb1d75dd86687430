//! lastout-proc-tree beside its peers: from the kill until nobody is left, and who is in a tree.
//!
//! `LASTOUT_BENCH_OTHERS` says how many other processes the discovery is measured among, 10 000 unless
//! it is set.

mod cgroup;
mod init;
mod tree;

use cgroup::Leaf;
use lastout_bench_runner::{Bar, Bench, Case};
use lastout_proc_tree::{Containment, Level, snapshot};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    tree::run_if_asked();
    if let Some(code) = init::of_the_bench() {
        return code;
    }
    let mut bench = Bench::new("proc");
    for members in [8, 100, 1000] {
        let name = format!("kill to gone, {members} processes, best containment");
        let case = Case::lower(&name, "ms").rounds(rounds(members));
        let case = case.floor(move || floor(members));
        let case = case.ours(move || ours(members, Containment::strongest()));
        bench = bench.case(peers(case, members).bar(Bar::floor().max(1.15)));
    }
    for members in [8, 100, 1000] {
        let name = format!("kill to gone, {members} processes, without cgroup");
        let case = Case::lower(&name, "ms").rounds(rounds(members));
        let case = case.floor(move || floor(members));
        let case = case.ours(move || ours(members, Containment::demand(Level::Supervisor)));
        let case = case.peer("ours, evidence only", move || {
            ours(members, Containment::demand(Level::Evidence))
        });
        bench = bench.case(match members {
            8 => case.bar(Bar::absolute().max(1.5)),
            1000 => case.bar(Bar::floor().max(2.0)),
            _ => case,
        });
    }
    bench.case(flat_discovery()).case(discovery()).run()
}

fn rounds(members: usize) -> usize {
    if members >= 1000 { 7 } else { 21 }
}

/// The kernel alone: `cgroup.kill` on the same tree.
fn floor(members: usize) -> f64 {
    let leaf = Leaf::make();
    let (mut child, mut oracle) = tree::plain(members, |command| leaf.contain(command));
    let value = tree::time(&mut oracle, || leaf.kill());
    child.wait().expect("the root is ours");
    value
}

fn ours(members: usize, containment: Containment) -> f64 {
    let (tree, _child, mut oracle) = tree::ours(members, containment);
    tree::time(&mut oracle, || drop(tree.kill_blocking(LONG).expect("nobody survives")))
}

fn peers(case: Case<'_>, members: usize) -> Case<'_> {
    case.peer("process-wrap 10, group", move || {
        use process_wrap::std::{CommandWrap, ProcessGroup};
        let (mut child, mut oracle) = tree::spawned(members, |command| {
            let mut command = CommandWrap::from(command);
            command.wrap(ProcessGroup::leader());
            command.spawn().expect("the tree starts")
        });
        tree::time(&mut oracle, || child.kill().expect("it can be killed"))
    })
    .peer("tokio-process-tools 0.11, kill", move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let _entered = runtime.enter();
        let (mut process, mut oracle) = tree::spawned(members, |command| {
            tokio_process_tools::Process::new(tokio::process::Command::from(command))
                .name(tokio_process_tools::AutoName::program_only())
                .stdout_and_stderr(|stream| stream.discard())
                .spawn()
                .expect("the tree starts")
        });
        tree::time(&mut oracle, || {
            runtime.block_on(async { process.kill().await.expect("it can be killed") });
        })
    })
    .peer("kill_tree 0.2", move || {
        let (mut child, mut oracle) = tree::plain(members, |_| {});
        let config = kill_tree::Config { signal: "SIGKILL".into(), ..Default::default() };
        let value = tree::time(&mut oracle, || {
            kill_tree::blocking::kill_tree_with_config(child.id(), &config)
                .expect("it can be killed");
        });
        child.wait().expect("the root is ours");
        value
    })
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
