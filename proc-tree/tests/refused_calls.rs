//! A caller whose system calls a filter refuses, as in a container, keeps its descriptors and learns the reason.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, Level, Limits, Program, SpawnError, SpawnStep, Tree};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use support::{LONG, audited};

#[test]
fn fixture() {
    match support::called().as_deref() {
        Some("cannot unshare") => {
            refuse(&[libc::SYS_unshare], libc::EPERM);
            keep_streams(|containment| match Tree::spawn(&mut Program::new("true"), containment) {
                Ok((tree, mut child)) => {
                    assert!(child.wait().unwrap().success());
                    tree.kill_blocking(LONG).unwrap();
                }
                Err(error) => panic!("{error:?}"),
            });
        }
        Some("cannot have a table of its own") => {
            refuse(&[libc::SYS_unshare, libc::SYS_close_range], libc::ENOMEM);
            keep_streams(|containment| {
                let refused = Tree::spawn(&mut Program::new("true"), containment).unwrap_err();
                let SpawnError::Command { step, source, .. } = refused else {
                    panic!("{refused:?}");
                };
                assert_eq!(step, SpawnStep::Supervisor);
                assert_eq!(source.raw_os_error(), Some(libc::ENOMEM));
            });
        }
        Some("cannot clone3 and has no room") => {
            refuse(&[libc::SYS_clone3], libc::ENOSYS);
            keep_streams(|containment| {
                let spawned = Tree::spawn(&mut Program::new("true"), containment);
                if let Ok((tree, _child)) = spawned {
                    tree.kill_blocking(LONG).unwrap();
                }
            });
        }
        _ => support::fixture_main(),
    }
}

/// Spawns in both forms of a supervisor, and looks at the streams of this process afterwards.
fn keep_streams(spawn: impl Fn(Containment)) -> ! {
    let streams = || {
        [0, 1, 2].map(|number| {
            let stream = std::fs::metadata(format!("/proc/self/fd/{number}")).unwrap();
            (stream.dev(), stream.ino())
        })
    };
    let before = streams();
    let supervisor = || Containment::demand(Level::Supervisor);
    for containment in [supervisor(), supervisor().supervise_by_copy(), supervisor()] {
        spawn(containment);
        assert_eq!(streams(), before);
    }
    std::process::exit(0);
}

/// Refuses these calls with this error, for this process and its children.
#[expect(unsafe_code, reason = "std cannot filter system calls")]
fn refuse(calls: &[libc::c_long], error: i32) {
    let code = |code: u32| u16::try_from(code).unwrap();
    let load = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
    let equal = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
    let give = code(libc::BPF_RET | libc::BPF_K);
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = vec![step(load, 0, 0, 0)];
    for call in calls {
        steps.push(step(equal, 0, 1, u32::try_from(*call).unwrap()));
        steps.push(step(give, 0, 0, libc::SECCOMP_RET_ERRNO | error.cast_unsigned()));
    }
    steps.push(step(give, 0, 0, libc::SECCOMP_RET_ALLOW));
    let len = u16::try_from(steps.len()).unwrap();
    let program = libc::sock_fprog { len, filter: steps.as_mut_ptr() };
    // SAFETY: the option takes a number.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the program and its steps are live during the call.
    let outcome = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    assert_eq!(outcome, 0, "filter calls: {}", std::io::Error::last_os_error());
}

fn be_caller(name: &str) {
    audited(|| {
        let mut caller = support::caller(name).stdin(Stdio::null()).spawn().unwrap();
        assert!(caller.wait().unwrap().success());
    });
}

#[test]
fn a_supervisor_leaves_the_descriptors_of_a_caller_that_may_not_unshare() {
    be_caller("cannot unshare");
}

#[test]
fn a_supervisor_without_a_table_of_its_own_gives_up() {
    be_caller("cannot have a table of its own");
}

#[test]
fn a_root_that_clone_cannot_make_costs_the_caller_no_descriptor() {
    audited(|| {
        for tasks in 3..=6 {
            let limits = Containment::strongest().limits(Limits::new().tasks(tasks));
            let mut caller = support::caller("cannot clone3 and has no room");
            let Ok((tree, mut child)) = Tree::spawn(caller.stdin(Stdio::null()), limits) else {
                return; // No cgroup limits the tasks here.
            };
            assert!(child.wait().unwrap().success(), "with {tasks} tasks");
            tree.kill_blocking(LONG).unwrap();
        }
    });
}
