//! Where `/proc` hides processes from the caller, a tree says so, and still ends the members that it can find.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, Gap, KillError, Level, Tree};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use support::{LONG, audited, levels, read_line};

#[test]
fn fixture() {
    support::fixture_main();
    match support::called().as_deref() {
        Some("hidden") => kill_what_is_hidden(),
        Some(other) => panic!("no caller {other}"),
        None => {}
    }
}

/// An unprivileged caller whose `/proc` hides what it may not trace. The program that the tree ends up as
/// may be executed and not read, which makes it such a process, as `ssh-agent` makes itself.
fn kill_what_is_hidden() {
    let program = std::env::var("LASTOUT_TARGET").unwrap();
    assert!(!Path::new("/proc/1/stat").exists(), "the process of another user is hidden");
    // The members of a PID namespace tell pids of their own.
    for level in levels().into_iter().filter(|level| *level != Level::PidNamespace) {
        let mut command = Command::new("sh");
        let daemon = "env -i PATH=/usr/bin:/bin setsid sh -c 'echo $$; exec $0 600 >&-' \"$0\" &";
        command.args(["-c", &format!("({daemon}); read end")]).arg(&program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let (tree, mut child) = Tree::spawn(&mut command, Containment::demand(level)).unwrap();
        let daemon: i32 = read_line(child.stdout.as_mut().unwrap()).parse().unwrap();
        let until = Instant::now() + LONG;
        while Path::new(&format!("/proc/{daemon}/stat")).exists() {
            assert!(Instant::now() < until, "the daemon stays visible");
            std::thread::yield_now();
        }
        let daemon = rustix::process::Pid::from_raw(daemon).unwrap();
        let exists = || rustix::process::test_kill_process(daemon).is_ok();
        assert!(exists());
        assert_eq!(tree.guarantee().gaps().collect::<Vec<_>>(), [Gap::Hidden], "{level}");
        assert!(!tree.guarantee().is_complete());
        match tree.kill_blocking(LONG) {
            Err(KillError::Unconfirmed(report)) if level == Level::Evidence => {
                assert!(report.killed >= 2, "{report}");
            }
            Ok(_) if level != Level::Evidence => {}
            other => panic!("{level}: {other:?}"),
        }
        while exists() {
            assert!(Instant::now() < until, "{level}: the daemon runs");
            std::thread::yield_now();
        }
    }
}

/// Runs a caller as a user without privileges, below a `/proc` that hides what that user may not trace, with the
/// copy of a program at hand.
fn call(caller: &str, program: &str, mode: u32, command: &str) {
    if !rustix::process::geteuid().is_root() {
        return; // Without privileges nothing can be mounted.
    }
    audited(|| {
        let name = format!("lastout-{caller}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let copy = folder.join("program");
        std::fs::copy(program, &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(mode)).unwrap();
        let caller = support::caller(caller);
        let mut shell = Command::new("sh");
        let script = format!(
            "mount -t proc -o hidepid=2 proc /proc && \
             exec setpriv --reuid 65534 --regid 65534 --clear-groups {command} \"$@\""
        );
        shell.args(["-c", &script, "sh"]).arg(caller.get_program()).args(caller.get_args());
        shell.envs(caller.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("LASTOUT_TARGET", &copy);
        let status = support::inside(&["--mount"], &shell).status();
        std::fs::remove_file(&copy).unwrap();
        std::fs::remove_dir(&folder).unwrap();
        assert!(status.unwrap().success());
    });
}

#[test]
fn a_daemon_that_proc_hides_is_killed_and_its_end_is_confirmed_by_the_kernel_alone() {
    call("hidden", "/bin/sleep", 0o711, "");
}

#[test]
fn privileges_in_a_user_namespace_show_no_daemon_whose_program_belongs_to_a_user_outside_of_it() {
    let mut unshare = Command::new("unshare");
    if unshare.args(["--user", "true"]).status().is_ok_and(|status| status.success()) {
        call("hidden", "/bin/sleep", 0o711, "unshare --user --map-root-user");
    }
}
