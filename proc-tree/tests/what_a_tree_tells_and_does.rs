//! Usage, the cause of the root's end, freezing, signals to one member, and adoption by pidfd: at every
//! level that this machine has.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{
    AdoptError, Cause, Containment, FreezeError, Level, Limits, Pid, Signal, SignalError, Source,
    Tree, WaitError,
};
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Fixture, LONG, audited, block_on, levels};

#[test]
fn fixture() {
    support::fixture_main();
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

/// Burns processor time in a helper that ends, is waited for, and says so.
const BURN: &str =
    "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; echo burnt; sleep 600";

#[test]
fn the_processor_time_of_members_that_ended_is_in_the_usage_and_in_the_report() {
    for level in levels() {
        audited(|| {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut command = shell(BURN);
            command.stdout(writer);
            let (tree, _child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
            drop(command);
            wait_for_line(reader);
            let live = tree.usage().unwrap();
            let burnt = Duration::from_millis(20);
            assert!(live.cpu().unwrap() >= burnt, "{level}: {live}");
            assert!(
                live.peak_memory.unwrap().value > 0 && live.tasks.unwrap().value >= 1,
                "{level}"
            );
            let source = if level == Level::Cgroup { Source::V2 } else { Source::Processes };
            assert_eq!(live.user.unwrap().source, source, "{level}");
            let report = tree.kill_blocking(LONG).unwrap();
            // The first process of a namespace ends without waiting for the others.
            if level != Level::PidNamespace {
                assert!(report.usage.cpu().unwrap() >= burnt, "{level}: {}", report.usage);
            }
        });
    }
}

#[test]
fn bytes_that_the_root_writes_past_the_cache_are_in_the_usage() {
    const WRITTEN: u64 = 4 << 20;
    let file = std::env::temp_dir().join(format!("lastout-direct-{}", std::process::id()));
    let direct =
        format!("dd if=/dev/zero of={} bs=1M count=4 oflag=direct status=none", file.display());
    if !shell(&direct).status().unwrap().success() {
        return; // The file system of temporary files has a cache alone.
    }
    audited(|| {
        for level in levels().into_iter().filter(|level| *level != Level::PidNamespace) {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut command = shell(&format!("{direct}; echo burnt; sleep 600"));
            command.stdout(writer);
            let containment = Containment::demand(level).measured();
            let (tree, _child) = Tree::spawn(&mut command, containment).unwrap();
            drop(command);
            wait_for_line(reader);
            let live = tree.usage().unwrap();
            assert!(live.written.unwrap().value >= WRITTEN, "{level}: {live}");
            let report = tree.kill_blocking(LONG).unwrap();
            assert!(report.usage.written.unwrap().value >= WRITTEN, "{level}: {}", report.usage);
        }
    });
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn what_nothing_has_counted_is_missing_from_the_report_and_not_0() {
    audited(|| {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let tree = Tree::adopt(child.id()).unwrap();
        assert!(tree.usage().unwrap().cpu().is_some(), "a living member can be asked");
        let report = tree.kill_blocking(LONG).unwrap();
        assert_eq!(report.usage.cpu(), None, "nobody asked it, and another one waits for it");
        assert_eq!(report.usage.to_string(), "nothing is known");
        child.wait().unwrap();
    });
}

fn wait_for_line(reader: PipeReader) {
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    assert_eq!(line, "burnt\n");
}

#[test]
fn one_wait_tells_the_end_of_the_root_and_of_the_tree() {
    for level in levels() {
        audited(|| {
            // The root ends at once; its helper lives until its stdin does.
            let (reader, writer) = std::io::pipe().unwrap();
            let mut command = shell("exec 3<&0; cat <&3 & exit 7");
            command.stdin(reader).stdout(Stdio::null());
            let (tree, _child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
            drop(command);
            let early = tree.wait_blocking(Duration::from_millis(1));
            // The end of the first process of a namespace is the end of all.
            drop(writer);
            let end = match early {
                Ok(end) => end,
                Err(_) => block_on(tree.wait(LONG)).unwrap(),
            };
            let root = end.root.unwrap();
            assert_eq!((root.status.code(), root.cause), (Some(7), Cause::Exit), "{level}");
            assert_eq!(tree.root_end(), Some(root));
            assert!(end.usage.cpu().is_some(), "{level}");
        });
    }
}

#[test]
fn the_cause_of_the_end_is_the_tree_only_if_the_tree_did_it() {
    for level in levels() {
        audited(|| {
            let spawn =
                |script: &str| Tree::spawn(&mut shell(script), Containment::demand(level)).unwrap();
            let (tree, _child) = spawn("sleep 600");
            tree.kill_blocking(LONG).unwrap();
            assert_eq!(tree.root_end().unwrap().cause, Cause::Tree, "{level}");

            let (tree, _child) = spawn("exec sleep 600");
            assert_eq!(tree.root_end(), None);
            tree.signal_member(tree.root().unwrap(), Signal::USR1).unwrap();
            let end = tree.wait_blocking(LONG).unwrap().root.unwrap();
            assert_eq!(end.cause, Cause::Tree, "{level}: {end:?}");

            // The first process of a namespace is told, and no signal of its own can end it.
            let (tree, _child) = spawn("kill -KILL $$");
            let end = tree.wait_blocking(LONG).unwrap().root.unwrap();
            assert_eq!(end.cause, Cause::Signal, "{level}: {end:?}");
        });
    }
}

#[test]
fn the_cause_of_the_end_is_the_memory_killer_if_it_came() {
    let limits = Limits::new().memory(32 << 20);
    for level in levels() {
        audited(|| {
            let mut command = Command::new("tail");
            command.stdin(std::fs::File::open("/dev/zero").unwrap()).stdout(Stdio::null());
            let containment = Containment::demand(level).limits(limits);
            let Ok((tree, _child)) = Tree::spawn(&mut command, containment) else {
                return; // No controller can be reached here.
            };
            let end = tree.wait_blocking(LONG).unwrap().root.unwrap();
            assert_eq!(end.cause, Cause::MemoryKiller, "{level}: {end:?}");
        });
    }
}

/// How many bytes there are in a pipe now, without waiting.
fn drain(reader: &mut PipeReader) -> usize {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut count = 0;
    let now = Timespec::default();
    loop {
        let mut fds = [PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)];
        if poll(&mut fds, Some(&now)).unwrap() == 0 {
            return count;
        }
        let length = reader.read(&mut [0; 65_536]).unwrap();
        assert_ne!(length, 0, "the tree ended");
        count += length;
    }
}

#[test]
fn nothing_of_a_frozen_tree_runs_until_it_is_thawed() {
    for level in levels() {
        audited(|| {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let script = "(while :; do echo; done) & setsid sh -c 'while :; do echo; done' & wait";
            let mut command = shell(script);
            command.stdout(writer);
            let (tree, _child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
            drop(command);
            reader.read_exact(&mut [0]).unwrap();
            for freeze in 0..2 {
                match freeze {
                    0 => tree.freeze_blocking(LONG).unwrap(),
                    _ => block_on(tree.freeze(LONG)).unwrap(),
                }
                drain(&mut reader);
                assert!(!readable_within(&reader, Duration::from_millis(100)), "{level}: one runs");
                tree.thaw().unwrap();
                assert!(readable_within(&reader, LONG), "{level}: nothing runs");
            }
            tree.freeze_blocking(LONG).unwrap();
            let report = tree.kill_blocking(LONG).unwrap();
            assert!(report.is_clean(), "{level}");
        });
    }
}

fn readable_within(reader: &PipeReader, time: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let time = Timespec::try_from(time).unwrap();
    let mut fds = [PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&time)).unwrap() > 0
}

#[test]
fn a_frozen_tree_follows_a_request_to_end_and_a_freeze_that_fails_leaves_it_running() {
    for level in levels() {
        audited(|| {
            let (tree, _child) =
                Tree::spawn(&mut shell("sleep 600"), Containment::demand(level)).unwrap();
            tree.freeze_blocking(LONG).unwrap();
            // The root of a namespace has no default for SIGTERM; there the kill follows.
            let begin = Instant::now();
            tree.shutdown_blocking(Duration::from_secs(2)).unwrap();
            assert!(begin.elapsed() < LONG, "{level}");

            let (mut reader, writer) = std::io::pipe().unwrap();
            let mut command = shell("while :; do echo; done");
            command.stdout(writer);
            let (tree, _child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
            drop(command);
            match tree.freeze_blocking(Instant::now()) {
                Err(FreezeError::Deadline { .. }) => {}
                Ok(()) => tree.thaw().unwrap(),
                Err(error) => panic!("{level}: {error}"),
            }
            drain(&mut reader);
            assert!(readable_within(&reader, LONG), "{level}: nothing runs");
            tree.kill_blocking(LONG).unwrap();
        });
    }
}

#[test]
fn a_signal_to_one_member_reaches_that_member_alone_and_nobody_else_at_all() {
    for level in levels() {
        audited(|| {
            let mut fixture = Fixture::escape();
            let (tree, _child) =
                Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
            let members = fixture.ready_in(&tree);
            let root = tree.root().unwrap();
            let chosen = *members.iter().find(|member| **member != root).unwrap();
            tree.signal_member(chosen, Signal::USR1).unwrap();
            support::await_gone(&[chosen]);
            assert!(members.iter().filter(|member| **member != chosen).all(|m| m.is_running()));
            let again = tree.signal_member(chosen, Signal::USR1).unwrap_err();
            assert!(matches!(again, SignalError::Gone(id) if id == chosen), "{level}: {again}");

            let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
            let id = lastout_proc_tree::ProcId::of(stranger.id()).unwrap();
            let refused = tree.signal_member(id, Signal::USR1).unwrap_err();
            assert!(matches!(refused, SignalError::NoMember(_)), "{level}: {refused}");
            assert_eq!(stranger.try_wait().unwrap(), None);
            stranger.kill().unwrap();
            stranger.wait().unwrap();
            tree.kill_blocking(LONG).unwrap();
        });
    }
}

fn pidfd_of(pid: Pid) -> std::os::fd::OwnedFd {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
}

#[test]
fn a_pidfd_adopts_its_process_and_nothing_else() {
    audited(|| {
        let mut child = Command::new("sh").args(["-c", "sleep 600 & wait"]).spawn().unwrap();
        let pidfd = pidfd_of(child.id());
        let tree = Tree::adopt_pidfd(&pidfd).unwrap();
        assert_eq!(tree.root().unwrap().pid(), child.id());
        tree.kill_blocking(LONG).unwrap();
        child.wait().unwrap();
        let gone = Tree::adopt_pidfd(&pidfd).unwrap_err();
        assert!(matches!(gone, AdoptError::Ended), "{gone}");
        let (reader, _writer) = std::io::pipe().unwrap();
        let other = Tree::adopt_pidfd(&reader).unwrap_err();
        assert!(matches!(other, AdoptError::Io(_)), "{other}");
        let own = Tree::adopt_pidfd(pidfd_of(std::process::id())).unwrap_err();
        assert!(matches!(own, AdoptError::Refused { .. }), "{own}");
    });
}

/// Where the caller itself is in cgroup v2.
fn own_cgroup() -> std::path::PathBuf {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(std::path::PathBuf::from);
    let root = roots.into_iter().find(|root| root.join("cgroup.procs").exists()).unwrap();
    root.join(own)
}

#[test]
fn the_leaf_is_made_below_the_cgroup_that_the_caller_chose() {
    if !levels().contains(&Level::Cgroup) {
        return; // Without write access to a cgroup there is nothing to test.
    }
    audited(|| {
        let parent = own_cgroup().join(format!("chosen-{}", std::process::id()));
        std::fs::create_dir(&parent).unwrap();
        let containment = Containment::demand(Level::Cgroup).below(&parent);
        let (tree, _child) = Tree::spawn(&mut shell("sleep 600"), containment).unwrap();
        let root = tree.root().unwrap().pid();
        let cgroups = std::fs::read_to_string(format!("/proc/{root}/cgroup")).unwrap();
        let name = parent.file_name().unwrap().to_str().unwrap();
        assert!(cgroups.contains(&format!("{name}/lastout-")), "{cgroups}");
        assert!(tree.kill_blocking(LONG).unwrap().is_clean());
        drop(tree);
        std::fs::remove_dir(&parent).unwrap();

        for bad in ["", "/", "/proc", "/nowhere/at/all", "/sys/fs/cgroup/pids"] {
            if std::path::Path::new(bad).join("cgroup.controllers").exists() {
                continue; // A machine of cgroup v2 alone.
            }
            let containment = Containment::demand(Level::Cgroup).below(bad);
            let refused = Tree::spawn(&mut shell("exit 0"), containment);
            assert!(refused.is_err(), "{bad:?}");
        }
    });
}

#[test]
fn a_call_without_time_looks_once_and_never_tells_of_nobody() {
    audited(|| {
        for level in levels() {
            let mut fixture = Fixture::ghost();
            let (tree, _child) =
                Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
            fixture.ready_in(&tree);
            match tree.wait_empty_blocking(Duration::ZERO) {
                Err(WaitError::Deadline { alive }) => assert!(alive > 0, "{level}"),
                other => panic!("{level}: {other:?}"),
            }
            match tree.freeze_blocking(Duration::ZERO) {
                Err(FreezeError::Deadline { running }) => assert!(running > 0, "{level}"),
                other => other.unwrap(),
            }
            tree.kill_blocking(LONG).unwrap();
            for _ in 0..20 {
                tree.wait_empty_blocking(Duration::ZERO)
                    .unwrap_or_else(|error| panic!("{level}: {error:?}"));
                tree.freeze_blocking(Duration::ZERO)
                    .unwrap_or_else(|error| panic!("{level}: {error:?}"));
            }
        }
    });
}

#[test]
fn a_pidfd_of_the_root_is_readable_once_the_root_has_ended() {
    let is_readable = |pidfd: &std::os::fd::OwnedFd, within: Duration| {
        let within = rustix::event::Timespec::try_from(within).unwrap();
        let mut fds = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&within)).unwrap() == 1
    };
    for level in levels() {
        for dies in [false, true] {
            audited(|| {
                let mut containment = Containment::demand(level);
                if dies {
                    containment = containment.die_with_parent();
                }
                let mut command = shell("exec sleep 600");
                let (tree, mut child) = Tree::spawn(&mut command, containment).unwrap();
                let (pidfd, second) = (child.pidfd().unwrap(), child.pidfd().unwrap());
                assert!(!is_readable(&pidfd, Duration::ZERO), "{level} {dies}");
                assert_eq!(child.try_wait().unwrap(), None, "{level} {dies}");
                let _ = tree.kill_blocking(LONG).unwrap();
                assert!(is_readable(&pidfd, LONG) && is_readable(&second, LONG), "{level} {dies}");
                assert!(!child.wait().unwrap().success(), "{level} {dies}");
            });
        }
    }
}
