//! What one layer does not reach, another one finds: an end is said only when all agree.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test with real processes"
)]

mod support;

use lastout_proc_tree::{Containment, Level, ProcId, Tree};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{LONG, audited, cgroup_of, levels, read_line};

#[test]
fn fixture() {
    support::fixture_main();
    match support::called().as_deref() {
        Some("leaderless") => be_leaderless(),
        Some(other) => panic!("no caller {other}"),
        None => {}
    }
}

fn spawn(level: Level, script: &str, word: &Path) -> (Tree, lastout_proc_tree::Child) {
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(word).stdin(Stdio::piped()).stdout(Stdio::piped());
    Tree::spawn(&mut command, Containment::demand(level)).unwrap()
}

fn told(child: &mut lastout_proc_tree::Child) -> ProcId {
    ProcId::of(read_line(child.stdout.as_mut().unwrap()).parse().unwrap()).unwrap()
}

#[test]
fn a_member_that_moves_into_the_cgroup_above_is_listed_killed_and_waited_for() {
    if !levels().contains(&Level::Cgroup) {
        return; // Without write access to a cgroup there is nothing to test.
    }
    audited(|| {
        let own = cgroup_of(std::process::id());
        // Once the root itself, once a member that keeps nothing but the mark.
        let root = "echo $$ > $0/cgroup.procs; echo $$; exec sleep 600";
        let daemon = "sh -c 'echo $$ > $0/cgroup.procs; exec env -i PATH=/usr/bin:/bin \
             setsid sh -c \"echo \\$\\$; exec sleep 600\"' $0 & read end";
        for script in [root, daemon] {
            let (tree, mut child) = spawn(Level::Cgroup, script, &own);
            let escaped = told(&mut child);
            assert_eq!(cgroup_of(escaped.pid()), own);
            assert!(tree.members().unwrap().contains(&escaped), "{script}");
            assert!(tree.wait_empty_blocking(Duration::from_millis(20)).is_err());
            let report = tree.kill_blocking(LONG).unwrap();
            assert!(!escaped.is_running(), "{script}: {report}");
        }
    });
}

/// A copy of this process whose first thread ends while another one goes on; this process ends.
#[expect(unsafe_code, reason = "std can neither fork nor end the first thread alone")]
fn be_leaderless() {
    // SAFETY: the copy has one thread, which starts another one and makes no use of what others had.
    let copy = unsafe { libc::fork() };
    if copy != 0 {
        std::process::exit(0);
    }
    let (tell, told) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = told.recv();
        // The state of a process is that of its first thread.
        while !std::fs::read_to_string("/proc/self/stat").unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        println!("\nmember {}", std::process::id());
        loop {
            std::thread::park();
        }
    });
    drop(tell);
    // SAFETY: ends the calling thread alone, and nothing of it is used afterwards.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

#[test]
fn a_process_whose_first_thread_has_ended_is_killed_at_every_level() {
    audited(|| {
        for level in levels() {
            let mut command = support::caller("leaderless");
            command.stdout(Stdio::piped());
            let (tree, mut child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
            let mut stdout = child.stdout.take().unwrap();
            let mut lines = std::iter::repeat_with(|| read_line(&mut stdout));
            let line = lines.find(|line| line.starts_with("member ")).unwrap();
            child.wait().unwrap();
            let begin = Instant::now();
            let members = tree.members().unwrap();
            assert_eq!(members.len(), 1, "{level}: {line}");
            let report =
                tree.kill_blocking(LONG).unwrap_or_else(|error| panic!("{level}: {error}"));
            assert!(members.iter().all(|member| !member.is_running()), "{level}: {report}");
            // It was reached, and did not fall to the layer that comes when the time is nearly over.
            assert!(begin.elapsed() < LONG / 4, "{level}: {report}");
        }
    });
}

#[test]
fn a_cgroup_that_a_member_made_threaded_is_emptied_and_removed() {
    if !levels().contains(&Level::Cgroup) {
        return; // Without write access to a cgroup there is nothing to test.
    }
    audited(|| {
        // Once below the leaf, once the leaf itself.
        for below in ["/below", ""] {
            let script = "echo $$; read end; exec sleep 600";
            let (tree, mut child) = spawn(Level::Cgroup, script, Path::new("unused"));
            let member = told(&mut child);
            let leaf = cgroup_of(member.pid());
            let cgroup = PathBuf::from(format!("{}{below}", leaf.display()));
            std::fs::create_dir_all(&cgroup).unwrap();
            if below.is_empty() {
                // Only an empty one can be made threaded: the member leaves it for that.
                let above = leaf.parent().unwrap().join("cgroup.procs");
                std::fs::write(above, member.pid().to_string()).unwrap();
            }
            std::fs::write(cgroup.join("cgroup.type"), "threaded").unwrap();
            std::fs::write(cgroup.join("cgroup.threads"), member.pid().to_string()).unwrap();
            assert_eq!(tree.members().unwrap(), [member], "{below}");
            assert_eq!(tree.signal(lastout_proc_tree::Signal::USR1).unwrap(), 1, "{below}");
            let report = tree.kill_blocking(LONG).unwrap();
            assert!(!member.is_running(), "{below}: {report}");
            drop(tree);
            assert!(!leaf.exists(), "{below}");
        }
    });
}

#[test]
fn cgroups_nested_far_below_the_leaf_are_emptied_and_removed() {
    if !levels().contains(&Level::Cgroup) {
        return; // Without write access to a cgroup there is nothing to test.
    }
    audited(|| {
        let script = "echo $$; read end; exec sleep 600";
        let (tree, mut child) = spawn(Level::Cgroup, script, Path::new("unused"));
        let member = told(&mut child);
        let leaf = cgroup_of(member.pid());
        let deep: PathBuf =
            std::iter::once(leaf.clone()).chain((0..60).map(|_| "n".into())).collect();
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("cgroup.procs"), member.pid().to_string()).unwrap();
        assert_eq!(tree.members().unwrap(), [member]);
        tree.kill_blocking(LONG).unwrap();
        drop(tree);
        assert!(!member.is_running() && !leaf.exists());
    });
}

#[test]
fn a_supervisor_that_a_member_stops_does_not_save_the_tree() {
    if !levels().contains(&Level::Supervisor) {
        return;
    }
    audited(|| {
        let script = "setsid sleep 600 & kill -STOP $PPID; echo $$; read end";
        for by_drop in [false, true] {
            let (tree, mut child) = spawn(Level::Supervisor, script, Path::new("unused"));
            let root = told(&mut child);
            let members = tree.members().unwrap();
            assert_eq!(members.len(), 2);
            if by_drop {
                drop(tree);
            } else {
                let report = tree.kill_blocking(LONG).unwrap();
                assert_eq!(report.killed, 2, "{report}");
            }
            assert!(!root.is_running() && members.iter().all(|member| !member.is_running()));
        }
    });
}

#[test]
fn a_supervisor_that_is_killed_does_not_save_the_tree() {
    if !levels().contains(&Level::Supervisor) {
        return;
    }
    audited(|| {
        let script = "setsid sleep 600 & echo $$; read end";
        let (tree, mut child) = spawn(Level::Supervisor, script, Path::new("unused"));
        let root = told(&mut child);
        let members = tree.members().unwrap();
        assert_eq!(members.len(), 2);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", root.pid())).unwrap();
        let supervisor = stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap();
        let supervisor = rustix::process::Pid::from_raw(supervisor.parse().unwrap()).unwrap();
        rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
        let report = tree.kill_blocking(LONG).unwrap();
        assert!(members.iter().all(|member| !member.is_running()), "{report}");
    });
}
