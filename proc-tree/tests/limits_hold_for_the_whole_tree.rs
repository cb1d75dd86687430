//! Limits are set before the root runs, hold for every member, and are refused where they cannot be set.
//!
//! On a hybrid machine they are enforced by leaves of cgroup v1, which go with the tree.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test with real processes"
)]

mod support;

use lastout_proc_tree::{
    Containment, Hierarchy, Level, LimitError, Limits, ProcId, Program, Resource, SpawnError, Tree,
};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{LONG, audited, levels};

#[test]
fn fixture() {
    let limits = Containment::strongest().limits(Limits::new().tasks(50));
    match support::called().as_deref() {
        Some("leaver") => {
            // The tree goes with the supervisor, and the leaf in v1 stays.
            let spawned = Tree::spawn(&mut shell("sleep 600"), limits.die_with_parent()).unwrap();
            println!("\nroot {}", spawned.0.root().unwrap().pid());
            std::io::Write::flush(&mut std::io::stdout()).unwrap();
            loop {
                std::thread::park();
            }
        }
        Some("sweeper") => drop(Tree::spawn(&mut shell("exit 0"), limits).unwrap()),
        _ => support::fixture_main(),
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

/// Whether this machine can limit that resource at all: the kernel lists the file in one hierarchy.
fn can_limit(limits: Limits) -> bool {
    let containment = Containment::strongest().limits(limits);
    Tree::spawn(&mut shell("exit 0"), containment).is_ok()
}

/// The leaves of this process that exist in any hierarchy.
fn leaves_of(owner: u32) -> Vec<PathBuf> {
    // The PID namespace comes first, then the owner.
    let owner = owner.to_string();
    let is_ours = |name: &str| {
        name.strip_prefix("lastout-").and_then(|name| name.split('-').nth(1)) == Some(&owner)
    };
    let mut found = Vec::new();
    let mut folders = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())) {
            if is_ours(&entry.file_name().to_string_lossy()) {
                found.push(entry.path());
            } else if depth < 4 {
                folders.push((entry.path(), depth + 1));
            }
        }
    }
    found
}

/// Waits until nothing is left: a drop that runs out of time on a busy machine gives the rest to the worker.
fn assert_no_leaves(owner: u32) {
    let until = std::time::Instant::now() + LONG;
    while !leaves_of(owner).is_empty() {
        assert!(std::time::Instant::now() < until, "{:?}", leaves_of(owner));
        std::thread::yield_now();
    }
}

#[test]
fn a_tree_has_no_more_tasks_than_its_limit_at_any_level() {
    if !can_limit(Limits::new().tasks(8)) {
        return; // No controller can be reached here.
    }
    for level in levels() {
        audited(|| {
            // Each `sleep` is a task; the shell is one, too.
            let script = "i=0; while [ $i -lt 20 ]; do sleep 600 & i=$((i+1)); done; sleep 600";
            let mut command = shell(script);
            command.stderr(Stdio::null());
            let containment = Containment::demand(level).limits(Limits::new().tasks(8)).measured();
            let (tree, _child) = Tree::spawn(&mut command, containment).unwrap();
            assert_eq!(tree.limits()[0].resource, Resource::Tasks);
            assert_eq!(tree.limits()[0].value, 8);
            let until = std::time::Instant::now() + LONG;
            while tree.usage().unwrap().peak_tasks.unwrap().value < 8 {
                assert!(std::time::Instant::now() < until, "{:?}", tree.usage());
                std::thread::yield_now();
            }
            let report = tree.kill_blocking(LONG).unwrap();
            assert_eq!(report.usage.peak_tasks.unwrap().value, 8, "{level}");
            drop(tree);
            assert_no_leaves(std::process::id());
        });
    }
}

#[test]
fn a_limit_of_one_task_lets_the_root_run_and_start_nothing() {
    if !can_limit(Limits::new().tasks(1)) {
        return; // No controller can be reached here.
    }
    audited(|| {
        let mut command = shell("/bin/true; echo $?");
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let containment = Containment::strongest().limits(Limits::new().tasks(1));
        let (tree, mut child) = Tree::spawn(&mut command, containment).unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_ne!(said.trim(), "0");
        tree.kill_blocking(LONG).unwrap();
    });
}

#[test]
fn a_tree_that_needs_more_memory_than_its_limit_loses_a_member_to_the_kernel() {
    let limits = Limits::new().memory(32 << 20);
    if !can_limit(limits) {
        return; // No controller can be reached here.
    }
    audited(|| {
        // `tail` keeps the last line of its input in memory, and this one has no end.
        let mut command = Command::new("tail");
        command.stdin(std::fs::File::open("/dev/zero").unwrap()).stdout(Stdio::null());
        let containment = Containment::strongest().limits(limits).measured();
        let (tree, mut child) = Tree::spawn(&mut command, containment).unwrap();
        let status = child.wait_until(LONG).unwrap().expect("the memory killer comes");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        let peak = tree.usage().unwrap().peak_memory.unwrap();
        assert!(peak.value <= 32 << 20 && peak.value > 16 << 20, "{peak:?}");
        tree.kill_blocking(LONG).unwrap();
    });
}

#[test]
fn a_tree_gets_no_more_of_a_processor_than_its_share() {
    let limits = Limits::new().milli_cpus(100);
    if !can_limit(limits) {
        return; // No controller can be reached here.
    }
    audited(|| {
        let mut command = shell("while :; do :; done");
        let containment = Containment::strongest().limits(limits).measured();
        let begin = std::time::Instant::now();
        let (tree, _child) = Tree::spawn(&mut command, containment).unwrap();
        let used = || tree.usage().unwrap().cpu().unwrap();
        while used() < Duration::from_millis(50) {
            assert!(begin.elapsed() < LONG);
            std::thread::yield_now();
        }
        // Four whole periods of 100 ms have to begin before that; an unlimited loop needs none.
        assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
        tree.kill_blocking(LONG).unwrap();
    });
}

#[test]
fn every_number_is_refused_or_it_works() {
    audited(|| {
        for (limits, resource) in [
            (Limits::new().memory(0), Resource::Memory),
            (Limits::new().tasks(0), Resource::Tasks),
            (Limits::new().milli_cpus(0), Resource::Cpu),
            (Limits::new().tasks(5).tasks(0), Resource::Tasks),
        ] {
            let error = Tree::spawn(&mut shell("exit 0"), Containment::strongest().limits(limits));
            match error.unwrap_err() {
                SpawnError::Limit(LimitError::Zero(of)) => assert_eq!(of, resource),
                other => panic!("{other:?}"),
            }
        }
        if !can_limit(Limits::new().tasks(8).memory(1 << 30).milli_cpus(500)) {
            return; // No controller can be reached here.
        }
        for limits in [
            Limits::new().memory(u64::MAX),
            Limits::new().memory(1 << 63),
            Limits::new().tasks(u32::MAX),
            Limits::new().milli_cpus(u32::MAX),
            Limits::new().milli_cpus(1),
            Limits::new().milli_cpus(9),
            Limits::new().memory(0).memory(1 << 30),
        ] {
            let containment = Containment::strongest().limits(limits);
            let (tree, mut child) = Tree::spawn(&mut shell("exit 7"), containment).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(7), "{limits:?}");
            tree.kill_blocking(LONG).unwrap();
        }
        // The kernel refuses a root that may have no page at all, or ends it: never its caller, whose memory
        // the root shares until its exec.
        for level in levels() {
            for bytes in [1, 4_096, 65_536, 200_000, 400_000] {
                let containment = Containment::demand(level).limits(Limits::new().memory(bytes));
                if let Ok((tree, _child)) = Tree::spawn(&mut shell("exit 0"), containment) {
                    assert!(tree.wait_empty_blocking(LONG).is_ok(), "{level}, {bytes}");
                }
                let containment = Containment::demand(level).limits(Limits::new().memory(bytes));
                let mut program = Program::new("sh");
                program.args(["-c", "exit 0"]);
                if let Ok((tree, _child)) = Tree::spawn(&mut program, containment) {
                    assert!(tree.wait_empty_blocking(LONG).is_ok(), "{level}, {bytes}");
                }
            }
        }
        assert_no_leaves(std::process::id());
    });
}

#[test]
fn a_limit_that_nothing_can_enforce_is_a_typed_error_and_nothing_runs() {
    let folder = std::env::temp_dir();
    audited(|| {
        // Outside of the cgroup file system there is no leaf, and no limit of this level.
        let containment = Containment::demand(Level::Cgroup).below(&folder);
        let error = Tree::spawn(&mut shell("exit 0"), containment).unwrap_err();
        assert!(matches!(error, SpawnError::Unavailable { level: Level::Cgroup, .. }), "{error:?}");
    });
}

#[test]
fn the_leaves_of_a_caller_that_was_killed_are_removed_by_the_next_one() {
    if !can_limit(Limits::new().tasks(50)) {
        return; // No controller can be reached here.
    }
    audited(|| {
        let mut caller = support::caller("leaver").stdout(Stdio::piped()).spawn().unwrap();
        let stdout = caller.stdout.as_mut().unwrap();
        let root = loop {
            let line = support::read_line(stdout);
            if let Some(root) = line.strip_prefix("root ") {
                break ProcId::of(root.parse().unwrap()).unwrap();
            }
        };
        assert_ne!(leaves_of(caller.id()), Vec::<PathBuf>::new());
        caller.kill().unwrap();
        caller.wait().unwrap();
        support::await_gone(&[root]);
        let sweeper = support::caller("sweeper").stdout(Stdio::null()).status().unwrap();
        assert!(sweeper.success());
        assert_eq!(leaves_of(caller.id()), Vec::<PathBuf>::new());
    });
}

#[test]
fn the_guarantee_of_a_limit_names_the_hierarchy_that_enforces_it() {
    if !levels().contains(&Level::Cgroup) || !can_limit(Limits::new().tasks(50)) {
        return; // Without write access to cgroups there is nothing to test.
    }
    audited(|| {
        let containment = Containment::demand(Level::Cgroup).limits(Limits::new().tasks(50));
        let (tree, _child) = Tree::spawn(&mut shell("sleep 600"), containment).unwrap();
        let root = tree.root().unwrap().pid();
        let cgroups = std::fs::read_to_string(format!("/proc/{root}/cgroup")).unwrap();
        let limit = &tree.limits()[0];
        let is_in = |start: &str| {
            let line =
                cgroups.lines().find(|line| line.split_once(':').unwrap().1.starts_with(start));
            line.is_some_and(|line| line.contains("/lastout-"))
        };
        assert!(is_in(":/"), "{cgroups}");
        assert_eq!(limit.by == Hierarchy::V1, is_in("pids:"), "{cgroups}");
        assert!(!limit.by.blind_spots().is_empty());
        tree.kill_blocking(LONG).unwrap();
    });
}
