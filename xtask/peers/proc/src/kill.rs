//! From the kill until nobody is left: small and large trees, fork bombs, and drops that have a bound.

use crate::cgroup::Leaf;
use crate::tree;
use lastout_bench_runner::{Bar, Case};
use lastout_proc_tree::{Containment, Level, Limits};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// What a drop may take, and a tenth more.
const DROP_MS: f64 = 275.0;

/// The levels that say that no member gets out.
const COMPLETE: [Level; 3] = [Level::Cgroup, Level::Supervisor, Level::PidNamespace];

pub fn cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for members in [8, 100, 1_000] {
        cases.push(by_cgroup(members));
        cases.push(without_cgroup(members));
    }
    for level in COMPLETE.into_iter().chain([Level::Evidence]) {
        cases.push(bomb(level));
        cases.push(drop_of_many(level));
    }
    cases
}

fn by_cgroup(members: usize) -> Case<'static> {
    let name = format!("kill to gone, {members} processes, cgroup");
    let case = Case::lower(&name, "ms").rounds(rounds(members));
    let case = case.floor(move || floor(members));
    let case = case.ours(move || ours(members, Level::Cgroup));
    let most = if members >= 1_000 { 1.0 } else { 1.15 };
    peers(case, members).bar(Bar::floor().max(most))
}

fn without_cgroup(members: usize) -> Case<'static> {
    let name = format!("kill to gone, {members} processes, supervisor");
    let case = Case::lower(&name, "ms").rounds(rounds(members));
    let case = case.floor(move || floor(members));
    let case = case.ours(move || ours(members, Level::Supervisor));
    let case = case.peer("ours, evidence", move || ours(members, Level::Evidence));
    let case = case.peer("ours, pid namespace", move || ours(members, Level::PidNamespace));
    match members {
        8 => case.bar(Bar::absolute().max(1.5)),
        1_000 => case.bar(Bar::floor().max(1.3)),
        _ => case,
    }
}

/// A fork bomb that has reached its limit and forks on, without a pause.
fn bomb(level: Level) -> Case<'static> {
    const MEMBERS: usize = 400;
    let name = format!("fork bomb of {MEMBERS} at its limit, {level}");
    let case = Case::lower(&name, "ms").rounds(5).ours(move || {
        let limits = Limits::new().tasks(MEMBERS as u32);
        let containment = Containment::demand(level).limits(limits);
        let (tree, _child, mut oracle) = tree::started("--bomb", MEMBERS, containment);
        tree::time(&mut oracle, || drop(tree.kill_blocking(LONG).expect("nobody survives")))
    });
    case.bar(Bar::absolute().max(1_000.0))
}

/// A drop that has less time than such a tree needs on a slow machine.
fn drop_of_many(level: Level) -> Case<'static> {
    const MEMBERS: usize = 3_000;
    let name = format!("drop of a tree of {MEMBERS} processes, {level}");
    let case = Case::lower(&name, "ms").rounds(5);
    let case = case.ours(move || {
        let (tree, child, oracle) = tree::ours(MEMBERS, Containment::demand(level));
        let begin = Instant::now();
        drop(tree);
        let value = tree::millis(begin.elapsed());
        drop(child);
        oracle.end_the_rest();
        value
    });
    case.bar(Bar::absolute().max(DROP_MS))
}

fn rounds(members: usize) -> usize {
    if members >= 1_000 { 7 } else { 21 }
}

/// The kernel alone: `cgroup.kill` on the same tree.
fn floor(members: usize) -> f64 {
    let leaf = Leaf::make();
    let (mut child, mut oracle) = tree::plain(members, |command| leaf.contain(command));
    let value = tree::time(&mut oracle, || leaf.kill());
    child.wait().expect("the root is ours");
    value
}

fn ours(members: usize, level: Level) -> f64 {
    let (tree, _child, mut oracle) = tree::ours(members, Containment::demand(level));
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
