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
    for level in levels() {
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

#[test]
fn a_daemon_that_proc_hides_is_killed_and_its_end_is_confirmed_by_the_kernel_alone() {
    if !rustix::process::geteuid().is_root() {
        return; // Without privileges nothing can be mounted.
    }
    audited(|| {
        let folder = std::env::temp_dir().join(format!("lastout-hidden-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = folder.join("sleep");
        std::fs::copy("/bin/sleep", &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o711)).unwrap();
        let caller = support::caller("hidden");
        let mut shell = Command::new("sh");
        let script = "mount -t proc -o hidepid=2 proc /proc && \
             exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
        shell.args(["-c", script, "sh"]).arg(caller.get_program()).args(caller.get_args());
        shell.envs(caller.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("LASTOUT_TARGET", &program);
        let status = support::inside(&["--mount"], &shell).status();
        std::fs::remove_file(&program).unwrap();
        std::fs::remove_dir(&folder).unwrap();
        assert!(status.unwrap().success());
    });
}
