//! A caller that ignores its children, or has no descriptors, tasks or privileges left, starts trees or learns why not.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{
    AdoptError, Containment, Io, Level, Limits, ProcId, Program, SpawnError, SpawnStep, Tree,
    TreeCommand,
};
use std::process::{Command, Stdio};
use support::{LONG, audited, levels, ways};

#[test]
fn fixture() {
    support::fixture_main();
    match support::called().as_deref() {
        Some("ignores SIGCHLD") => ignore_children(),
        Some("has one descriptor left") => run_out_of_descriptors(),
        Some("has no room for a root") => run_out_of_tasks(),
        Some("has no privileges") => demand_a_namespace(),
        _ => {}
    }
}

#[test]
fn a_caller_that_ignores_sigchld_learns_how_its_programs_end() {
    be_caller("ignores SIGCHLD");
}

#[test]
fn a_spawn_without_descriptors_fails_or_works_and_never_panics() {
    be_caller("has one descriptor left");
}

/// The kernel may name a pidfd for a process that it then does not make: a caller that closes that number
/// closes what is not its own, which ends a build with assertions.
#[test]
fn a_root_that_cannot_be_made_costs_the_caller_no_descriptor() {
    audited(|| {
        let limited = |tasks| Containment::strongest().limits(Limits::new().tasks(tasks));
        if Tree::spawn(&mut Program::new("true"), limited(9)).is_err() {
            return; // No cgroup limits the tasks here.
        }
        let mut refused = 0;
        for tasks in 3..=6 {
            let mut caller = support::caller("has no room for a root");
            let (tree, mut child) =
                Tree::spawn(caller.stdin(Stdio::null()), limited(tasks)).unwrap();
            let code = child.wait().unwrap().code();
            refused += i32::from(code == Some(REFUSED));
            assert!(matches!(code, Some(0 | REFUSED)), "with {tasks} tasks: {code:?}");
            tree.kill_blocking(LONG).unwrap();
        }
        assert!(refused > 0, "there was always room");
    });
}

/// The exit code of a caller that got no room for a root.
const REFUSED: i32 = 7;

fn run_out_of_tasks() {
    let mut code = 0;
    let own = || Containment::demand(Level::Evidence).die_with_parent();
    for containment in [own(), own().supervise_by_copy(), own(), own().supervise_by_copy()] {
        match Tree::spawn(&mut Program::new("true"), containment) {
            Ok((tree, _child)) => drop(tree.kill_blocking(LONG)),
            Err(SpawnError::Command { step: SpawnStep::Process, source, .. })
                if source.raw_os_error() == Some(libc::EAGAIN) =>
            {
                code = REFUSED;
            }
            Err(error) => drop(error),
        }
    }
    std::process::exit(code);
}

fn be_caller(name: &str) {
    audited(|| {
        let mut caller = support::caller(name).stdin(Stdio::null()).spawn().unwrap();
        assert!(caller.wait().unwrap().success());
    });
}

fn ignore_children() {
    let mut trapped = Command::new("sh");
    // Only a program that starts like that ignores it from its first moment on.
    if std::env::var_os("LASTOUT_IGNORED").is_none() {
        trapped
            .args(["-c", "trap '' CHLD; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap());
        trapped.args(std::env::args().skip(1)).env("LASTOUT_IGNORED", "1");
        let status = trapped.status().unwrap();
        assert!(status.success());
        return;
    }
    let keeps_status = keeps_status();
    let exits = |status: std::io::Result<std::process::ExitStatus>| match status {
        Ok(status) => assert_eq!(status.code(), Some(3), "{status:?}"),
        Err(error) if keeps_status => panic!("{error}"),
        // Before Linux 6.15 nobody keeps it.
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECHILD)),
    };
    for (way, containment) in ways() {
        let mut program = Program::new("sh");
        program.args(["-c", "exit 3"]);
        let (tree, mut child) = Tree::spawn(&mut program, containment).unwrap_or_else(|error| {
            panic!("{way}: {error}: {:?}", std::error::Error::source(&error))
        });
        exits(child.wait());
        tree.kill_blocking(LONG).unwrap_or_else(|error| panic!("{way}: {error}"));
    }
    for level in levels().into_iter().flat_map(|level| [level; 20]) {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        let (tree, mut child) = Tree::spawn(&mut command, Containment::demand(level))
            .unwrap_or_else(|error| {
                panic!("{level}: {error}: {:?}", std::error::Error::source(&error))
            });
        exits(child.wait());
        tree.kill_blocking(LONG).unwrap_or_else(|error| panic!("{level}: {error}"));
    }
    adopt_what_is_gone();
    // A caller in the test run itself does not share this.
    std::process::exit(0);
}

/// The caller's own spawn is gone when its pid is adopted, and its daemon is not.
fn adopt_what_is_gone() {
    for level in levels().into_iter().filter(|l| matches!(l, Level::Cgroup | Level::Evidence)) {
        let mut command = Command::new("sh");
        command
            .args(["-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!; exit 3"])
            .stdout(Stdio::piped());
        let contained = command.contain(Containment::demand(level)).unwrap();
        let mut child = command.spawn().unwrap();
        let daemon = support::read_line(child.stdout.as_mut().unwrap()).parse().unwrap();
        let daemon = ProcId::of(daemon).unwrap();
        // Whether its status is there or not: the process is gone.
        let _ = child.wait();
        let tree = contained.adopt(child.id()).unwrap_or_else(|error| panic!("{level}: {error}"));
        assert_eq!(tree.root().unwrap().pid(), child.id());
        assert_eq!(tree.kill_blocking(LONG).unwrap().killed, 1, "{level}");
        assert!(!daemon.is_running(), "{level}");
        // Whoever has the number of somebody else, or of nobody, is not what was started.
        let contained = command.contain(Containment::demand(level)).unwrap();
        assert!(matches!(contained.adopt(child.id()), Err(AdoptError::Gone(_))), "{level}");
    }
}

/// The kernel keeps the status of a process that it has waited for itself.
fn keeps_status() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).filter_map(|word| word.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

fn run_out_of_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let highest = 64;
    let before = getrlimit(Resource::Nofile);
    for (way, _) in ways() {
        for left in 0..12 {
            setrlimit(Resource::Nofile, Rlimit { current: Some(highest), ..before }).unwrap();
            let mut taken = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                taken.push(file);
            }
            taken.truncate(taken.len() - left);
            let containment = ways_without_descriptors(&way);
            let spawned = Tree::spawn(&mut Program::new("true"), containment);
            let containment = ways_without_descriptors(&way);
            let forked = Tree::spawn(&mut Command::new("true"), containment);
            drop(taken);
            setrlimit(Resource::Nofile, before).unwrap();
            for spawned in [spawned, forked].into_iter().flatten() {
                let (tree, mut child) = spawned;
                child.wait().unwrap();
                tree.kill_blocking(LONG).unwrap_or_else(|error| panic!("{way}, {left}: {error}"));
            }
        }
    }
    std::process::exit(0);
}

/// The same way, without a look at what the machine has.
fn ways_without_descriptors(way: &str) -> Containment {
    let all = [Level::PidNamespace, Level::Cgroup, Level::Supervisor, Level::Evidence];
    let level = all.into_iter().find(|level| way.starts_with(&level.to_string())).unwrap();
    let containment = Containment::demand(level);
    match way {
        way if way.ends_with("copy") => containment.supervise_by_copy(),
        way if way.ends_with("caller") => containment.die_with_parent(),
        _ => containment,
    }
}

#[test]
fn a_caller_without_privileges_is_told_that_a_namespace_is_unavailable() {
    if !rustix::process::geteuid().is_root() {
        return demand_a_namespace_here();
    }
    audited(|| {
        let caller = support::caller("has no privileges");
        let mut program = Program::new(caller.get_program());
        program.args(caller.get_args()).stdin(Io::Null).user(65_534).group(65_534);
        program.envs(caller.get_envs().filter_map(|(name, value)| Some((name, value?))));
        match Tree::spawn(&mut program, Containment::demand(Level::Evidence)) {
            Ok((_tree, mut child)) => assert!(child.wait().unwrap().success()),
            // The test binary is in a folder of root's.
            Err(SpawnError::Command { source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(libc::EACCES));
            }
            Err(other) => panic!("{other:?}"),
        }
    });
}

fn demand_a_namespace() {
    demand_a_namespace_here();
    std::process::exit(0);
}

fn demand_a_namespace_here() {
    let demand = || Containment::demand(Level::PidNamespace);
    for error in [
        Tree::spawn(&mut Program::new("true"), demand()).map(drop).unwrap_err(),
        Tree::spawn(&mut Command::new("true"), demand()).map(drop).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            matches!(error, SpawnError::Unavailable { level: Level::PidNamespace, .. }),
            "{text}"
        );
        assert!(text.contains("namespace"), "{text}");
    }
}
