//! What goes wrong around a kill does not make it incomplete, and does not make it reach others.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test with real processes"
)]

mod support;

use lastout_proc_tree::{
    AdoptError, Containment, Evidence, KillError, KillTreeError, Level, Policy, ProcId, Refused,
    Signal, SurvivorReason, Tree, TreeCommand, kill_descendant_tree,
};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Fixture, LONG, audited, levels, read_line};

#[test]
fn fixture() {
    support::fixture_main();
    match support::called().as_deref() {
        Some("unprivileged") => be_unprivileged(),
        Some("short-of-rights") => be_short_of_rights(),
        Some(other) => panic!("no caller {other}"),
        None => {}
    }
}

fn kill_by_hand(child: &mut std::process::Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_system_the_caller_and_its_ancestors_are_refused() {
    let parent = std::os::unix::process::parent_id();
    for (pid, why) in [
        (0, Refused::System),
        (1, Refused::System),
        (u32::MAX, Refused::System),
        (std::process::id(), Refused::Caller),
        (parent, Refused::Caller),
        (2, Refused::Kernel),
    ] {
        match kill_descendant_tree(pid, LONG) {
            Err(KillTreeError::Adopt(AdoptError::Refused { pid: refused, why: given })) => {
                assert_eq!((refused, given), (pid, why));
                let says_system = given.to_string().contains("pid 0, pid 1 or no pid");
                assert_eq!(says_system, why == Refused::System, "{pid}: {given}");
            }
            // In a container pid 2 may be anybody, or the parent may be pid 1.
            Err(KillTreeError::Adopt(_)) if pid == 2 || parent <= 1 => {}
            other => panic!("{pid}: {other:?}"),
        }
    }
}

#[test]
fn the_number_of_a_thread_is_refused() {
    audited(|| {
        // The members of the fixture have threads of the test harness.
        let mut fixture = Fixture::balanced(1);
        let mut child = fixture.command().spawn().unwrap();
        let member = fixture.ready()[0];
        let threads = std::fs::read_dir(format!("/proc/{}/task", member.pid())).unwrap();
        let threads = threads.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let thread = threads.map(|tid| tid.parse().unwrap()).find(|tid| *tid != member.pid());
        let thread: u32 = thread.expect("the harness runs tests on a thread of its own");
        match kill_descendant_tree(thread, LONG) {
            Err(KillTreeError::Adopt(AdoptError::Refused { pid, why: Refused::Thread })) => {
                assert_eq!(pid, thread);
            }
            other => panic!("{other:?}"),
        }
        assert!(member.is_running());
        kill_by_hand(&mut child);
    });
}

#[test]
fn an_adopted_tree_is_killed_and_its_owner_gets_the_status() {
    audited(|| {
        let mut fixture = Fixture::balanced(15);
        let mut child = fixture.command().spawn().unwrap();
        let members = fixture.ready();
        let report = kill_descendant_tree(child.id(), LONG).unwrap();
        assert_eq!(report.killed, 15, "{report}");
        assert!(members.iter().all(|member| !member.is_running()));
        // The status is that of the kill, and was not taken by it.
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    });
}

#[test]
fn orphans_that_are_born_after_the_adoption_are_found() {
    audited(|| {
        let mut command = Command::new("sh");
        // The daemon clears its environment and leaves its session: only the mark stays on it.
        let daemon = "env -i setsid sh -c 'echo $$; exec sleep 600' &";
        command.args(["-c", &format!("read go; ({daemon}); exit 0")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let tree = Tree::adopt(child.id()).unwrap();
        drop(child.stdin.take());
        let pid = read_line(child.stdout.as_mut().unwrap()).parse().unwrap();
        let daemon = ProcId::of(pid).unwrap();
        child.wait().unwrap();
        assert_eq!(tree.members().unwrap(), [daemon]);
        assert_eq!(tree.kill_blocking(LONG).unwrap().killed, 1);
        assert!(!daemon.is_running());
    });
}

#[test]
fn an_adoption_by_evidence_finds_orphans_and_spares_others() {
    audited(|| {
        let value = format!("{}", std::process::id());
        let mut inside = Command::new("sh");
        inside.args(["-c", "setsid sleep 600 & echo $!; exit 0"]);
        inside.env("LASTOUT_TEST_COOKIE", &value).stdout(Stdio::piped());
        let mut inside = inside.spawn().unwrap();
        read_line(inside.stdout.as_mut().unwrap());
        inside.wait().unwrap();
        let mut outside = Command::new("sleep");
        let mut outside =
            outside.arg("600").env("LASTOUT_TEST_COOKIE", format!("{value}0")).spawn().unwrap();

        let tree =
            Tree::adopt_with(Evidence::new().variable("LASTOUT_TEST_COOKIE", &value)).unwrap();
        assert_eq!(tree.kill_blocking(LONG).unwrap().killed, 1);
        assert_eq!(outside.try_wait().unwrap(), None, "a longer value is another value");
        kill_by_hand(&mut outside);
    });
}

#[test]
fn an_adoption_by_group_and_session_finds_who_is_in_them() {
    audited(|| {
        let mut command = Command::new("setsid");
        command.args(["-w", "sh", "-c", "sleep 600 & echo $$; wait"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let leader = read_line(child.stdout.as_mut().unwrap()).parse().unwrap();
        for evidence in [Evidence::new().group(leader), Evidence::new().session(leader)] {
            let tree = Tree::adopt_with(evidence).unwrap();
            assert_eq!(tree.members().unwrap().len(), 2);
            tree.disarm();
        }
        let tree = Tree::adopt_with(Evidence::new().session(leader)).unwrap();
        assert_eq!(tree.kill_blocking(LONG).unwrap().killed, 2);
        child.wait().unwrap();
    });
}

#[test]
fn an_identity_of_the_past_reaches_nobody() {
    audited(|| {
        let mut innocent = Command::new("sleep").arg("600").spawn().unwrap();
        let id = ProcId::of(innocent.id()).unwrap();
        let text = id.to_string();
        let (pid, rest) = text.split_once('@').unwrap();
        let (_, boot) = rest.split_once('.').unwrap();
        let before: ProcId = format!("{pid}@{}.{boot}", id.start() - 1).parse().unwrap();
        let evidence = Evidence::new().process(before).group(id.pid()).session(id.pid());
        let tree = Tree::adopt_with(evidence).unwrap();
        assert_eq!(tree.members().unwrap(), []);
        assert_eq!(tree.signal(Signal::TERM).unwrap(), 0);
        assert_eq!(tree.kill_blocking(LONG).unwrap().killed, 0);
        drop(tree);
        assert_eq!(innocent.try_wait().unwrap(), None);
        kill_by_hand(&mut innocent);
    });
}

#[test]
fn stopped_members_are_killed() {
    audited(|| {
        for level in levels() {
            let mut fixture = Fixture::escape();
            let (tree, _child) =
                Tree::spawn(fixture.command(), Containment::demand(level)).unwrap();
            let members = fixture.ready_in(&tree);
            for member in &members {
                let pid = rustix::process::Pid::from_raw(member.pid() as i32).unwrap();
                assert!(member.is_running());
                rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
            }
            assert!(tree.kill_blocking(LONG).unwrap().is_clean(), "{level}");
            assert!(members.iter().all(|member| !member.is_running()), "{level}");
        }
    });
}

#[test]
fn a_successor_that_is_born_by_the_request_to_end_is_killed() {
    audited(|| {
        for level in levels() {
            let mut command = Command::new("sh");
            let successor = "setsid sh -c 'trap \"\" TERM; echo born; exec sleep 600'";
            let script = format!(
                "trap '{} & exit 0' TERM; echo up; while :; do sleep 0.01; done",
                successor.replace('\'', "'\\''")
            );
            command.args(["-c", &script]).stdout(Stdio::piped());
            let (tree, mut child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
            let mut stdout = child.stdout.take().unwrap();
            read_line(&mut stdout);
            let policy = Policy::new().ask_root(Signal::TERM, Duration::from_millis(500));
            let report = tree.terminate_blocking(&policy).unwrap();
            assert!(report.forced, "{level}: {report}");
            assert_eq!(read_line(&mut stdout), "born");
            // The end of the pipe means that nobody holds it any more.
            assert_eq!(read_line(&mut stdout), "", "{level}");
        }
    });
}

#[test]
fn a_tree_inside_a_tree_goes_with_the_outer_one() {
    audited(|| {
        for level in levels() {
            let mut inner = Fixture::ghost();
            let mut outer = Command::new("sh");
            let command = inner.command();
            // The shell is the outer root; the fixture below it would be a tree of its own.
            outer.args(["-c", "\"$@\" & wait", "sh"]).arg(command.get_program());
            outer
                .args(command.get_args())
                .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
            let (reader, writer) = std::io::pipe().unwrap();
            outer.stdout(writer);
            inner.listen(reader);
            let (tree, _child) = Tree::spawn(&mut outer, Containment::demand(level)).unwrap();
            drop(outer);
            let members = inner.ready_in(&tree);
            let nested = match level {
                Level::PidNamespace => None,
                _ => Some(Tree::adopt(members[0].pid()).unwrap()),
            };
            assert!(tree.kill_blocking(LONG).unwrap().is_clean(), "{level}");
            assert!(members.iter().all(|member| !member.is_running()), "{level}");
            drop(nested);
        }
    });
}

#[test]
fn descriptors_are_put_in_place_even_when_their_numbers_cross() {
    audited(|| {
        use std::io::{Read, Write};
        for level in levels() {
            let (mut from_child, to_us) = std::io::pipe().unwrap();
            let (to_child_end, mut to_child) = std::io::pipe().unwrap();
            let mut command = Command::new("sh");
            command.args(["-c", "cat <&3 >&4"]).stdin(Stdio::null());
            let containment =
                Containment::demand(level).descriptor(3, to_child_end).descriptor(4, to_us);
            let (tree, mut child) = Tree::spawn(&mut command, containment).unwrap();
            to_child.write_all(b"through").unwrap();
            drop(to_child);
            let mut text = String::new();
            // It ends because no copy of the writing end is left on our side.
            from_child.read_to_string(&mut text).unwrap();
            assert_eq!(text, "through", "{level}");
            assert!(child.wait().unwrap().success());
            tree.kill_blocking(LONG).unwrap();
        }
        let (reader, _writer) = std::io::pipe().unwrap();
        let containment = Containment::strongest().descriptor(2, reader);
        let error = Tree::spawn(&mut Command::new("true"), containment).unwrap_err();
        assert!(error.to_string().contains("number 2"), "{error}");
    });
}

#[test]
fn a_spawn_of_ones_own_can_be_contained() {
    audited(|| {
        for level in [Level::Cgroup, Level::Evidence] {
            if !levels().contains(&level) {
                continue;
            }
            let mut fixture = Fixture::ghost();
            let command = fixture.command();
            let contained = command.contain(Containment::demand(level)).unwrap();
            let mut child = command.spawn().unwrap();
            let tree = contained.adopt(child.id()).unwrap();
            let members = fixture.ready_in(&tree);
            tree.kill_blocking(LONG).unwrap();
            assert!(members.iter().all(|member| !member.is_running()), "{level}");
            child.wait().unwrap();
        }
        let demanded = Containment::demand(Level::Supervisor);
        assert!(Command::new("true").contain(demanded).is_err());
    });
}

/// An id that no member of these tests has otherwise: that of `nobody`.
const NOBODY: u32 = 65534;

/// Kills the tree in which one member belongs to root.
fn be_unprivileged() {
    let pid: u32 = std::env::var("LASTOUT_TARGET").unwrap().parse().unwrap();
    let tree = Tree::adopt(pid).unwrap();
    let error = tree.kill_blocking(LONG).unwrap_err();
    let KillError::Survivors(report) = &error else { panic!("{error:?}") };
    assert_eq!(report.killed, 2, "{error}");
    assert_eq!(report.left_behind().len(), 1, "{error}");
    assert_eq!(report.left_behind()[0].reason, SurvivorReason::Permission);
    tree.disarm();
}

#[test]
fn a_member_of_another_user_is_named_and_everybody_else_is_killed() {
    if !rustix::process::geteuid().is_root() {
        return; // Only root can make members of two users.
    }
    audited(|| {
        // The root of the tree starts a member as root, and then becomes nobody, with a child.
        let script = "sleep 600 & echo $!; exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'sleep 600 & echo $!; wait'";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let foreign = ProcId::of(read_line(&mut stdout).parse().unwrap()).unwrap();
        let own = ProcId::of(read_line(&mut stdout).parse().unwrap()).unwrap();

        let mut caller = support::caller("unprivileged");
        caller.env("LASTOUT_TARGET", child.id().to_string()).uid(NOBODY).gid(NOBODY);
        let status = caller.status().unwrap();
        assert!(status.success());
        assert!(!own.is_running() && foreign.is_running());
        child.wait().unwrap();
        let tree = Tree::adopt_with(Evidence::new().process(foreign)).unwrap();
        tree.kill_blocking(LONG).unwrap();
    });
}

/// An unprivileged caller, one of whose members becomes root by a program that makes it so.
fn be_short_of_rights() {
    let program = std::env::var("LASTOUT_TARGET").unwrap();
    for level in levels() {
        let mut command = Command::new("sh");
        let script = "\"$0\" --reuid 0 --regid 0 --clear-groups sleep 600 >&- & echo; echo foreign $!; sleep 600 >&- & echo; wait";
        command.args(["-c", script, &program]).stdout(Stdio::piped());
        let (tree, mut child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
        let stdout = child.stdout.as_mut().unwrap();
        let mut lines = std::iter::repeat_with(|| read_line(stdout));
        let line = lines.find(|line| line.starts_with("foreign ")).unwrap();
        assert_eq!(lines.next().unwrap(), "");
        println!("\n{line}");
        let foreign: u32 = line.strip_prefix("foreign ").unwrap().parse().unwrap();
        let until = std::time::Instant::now() + LONG;
        // The exec has to be over: until then it belongs to the caller.
        let name = || std::fs::read_to_string(format!("/proc/{foreign}/comm")).unwrap();
        while name().trim() != "sleep" {
            assert!(std::time::Instant::now() < until);
            std::thread::yield_now();
        }
        assert_eq!(tree.members().unwrap().len(), 3, "{level}");
        let error = tree.kill_blocking(LONG).unwrap_err();
        let KillError::Survivors(report) = &error else { panic!("{level}: {error:?}") };
        let left: Vec<_> =
            report.left_behind().iter().map(|one| (one.id.pid(), one.reason)).collect();
        assert_eq!(left, [(foreign, SurvivorReason::Permission)], "{level}: {error}");
        assert_eq!(report.killed, 2, "{level}: {error}");
        tree.disarm();
    }
}

#[test]
fn a_member_that_may_not_be_signalled_is_listed_and_named_alike_at_every_level() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        return; // Only root can make members of two users.
    }
    audited(|| {
        let folder = std::env::temp_dir().join(format!("lastout-foreign-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = folder.join("setpriv");
        std::fs::copy("/usr/bin/setpriv", &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
        let mut caller = support::caller("short-of-rights");
        caller.env("LASTOUT_TARGET", &program).uid(NOBODY).gid(NOBODY);
        let output = caller.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        for pid in text.lines().filter_map(|line| line.strip_prefix("foreign ")) {
            // It is left behind on purpose, and ended here, by root.
            if let Some(left) = ProcId::of(pid.parse().unwrap()) {
                let tree = Tree::adopt_with(Evidence::new().process(left)).unwrap();
                tree.kill_blocking(LONG).unwrap();
            }
        }
        std::fs::remove_file(&program).unwrap();
        std::fs::remove_dir(&folder).unwrap();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    });
}
