//! A removed directory stays removed, or the caller learns who brings it back.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, StaysDead, StaysDeadError, Tree};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{LONG, audited, read_line};

/// A directory of this test, with something in it.
fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("lastout-{name}-{}", std::process::id()));
    std::fs::create_dir_all(path.join("a/b")).unwrap();
    std::fs::write(path.join("a/b/file"), "text").unwrap();
    path
}

/// A shell that makes the directory again as often as it can.
fn writer(path: &PathBuf) -> Command {
    let mut command = Command::new("sh");
    let script = "cd /; exec 9>&1; while :; do mkdir -p \"$0/again\" 2>/dev/null && true > \"$0/again/file\"; [ -n \"$up\" ] || echo up; up=1; sleep 0.01; done";
    command.args(["-c", script]).arg(path).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

#[test]
fn a_quiet_directory_is_removed_once() {
    audited(|| {
        let path = directory("quiet");
        let removal =
            StaysDead::new(&path).window(Duration::from_millis(50)).remove_blocking().unwrap();
        assert_eq!((removal.times, removal.killed), (1, 0));
        assert!(removal.elapsed >= Duration::from_millis(50));
        assert!(!path.exists());
        // What is not there stays away as well.
        let removal =
            StaysDead::new(&path).window(Duration::from_millis(20)).remove_blocking().unwrap();
        assert_eq!(removal.times, 0);
    });
}

#[test]
fn who_brings_it_back_is_killed_when_it_is_a_member() {
    audited(|| {
        let path = directory("member");
        let (tree, mut child) = Tree::spawn(&mut writer(&path), Containment::strongest()).unwrap();
        read_line(child.stdout.as_mut().unwrap());
        let removal = StaysDead::new(&path).suspect(&tree).within(LONG).remove_blocking().unwrap();
        assert!(removal.times >= 2 && removal.killed >= 1, "{removal:?}");
        assert!(!path.exists());
        assert_eq!(tree.members().unwrap(), []);
    });
}

#[test]
fn a_future_removes_it_too() {
    audited(|| {
        let path = directory("future");
        let (tree, mut child) = Tree::spawn(&mut writer(&path), Containment::strongest()).unwrap();
        read_line(child.stdout.as_mut().unwrap());
        let removal = support::block_on(StaysDead::new(&path).suspect(&tree).within(LONG).remove());
        assert!(removal.unwrap().killed >= 1);
        assert!(!path.exists());
    });
}

#[test]
fn every_window_is_heeded() {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    audited(|| {
        let path = directory("window");
        let removal = StaysDead::new(&path).window(Duration::ZERO).remove_blocking();
        assert_eq!(removal.unwrap().times, 1);
        std::fs::create_dir(&path).unwrap();
        let removal = StaysDead::new(&path).window(Duration::MAX).remove();
        let mut removal = pin!(removal);
        let mut look = || removal.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        support::await_that(|| matches!(look(), Poll::Pending) && !path.exists());
        assert!(look().is_pending(), "it is watched for ever");
    });
}

#[test]
fn a_stranger_who_brings_it_back_is_named_and_not_touched() {
    audited(|| {
        let path = directory("stranger");
        let mut command = Command::new("sh");
        // It ends by itself, with no `mkdir` of its own still on the way.
        let stop = path.with_extension("stop");
        let script = "while [ ! -e \"$1\" ]; do mkdir -p \"$0\" && cd \"$0\"; [ -n \"$up\" ] || echo up; up=1; sleep 0.01; done";
        command.args(["-c", script]).args([&path, &stop]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut stranger = command.spawn().unwrap();
        read_line(stranger.stdout.as_mut().unwrap());
        let error =
            StaysDead::new(&path).within(Duration::from_millis(300)).remove_blocking().unwrap_err();
        let StaysDeadError::Held { culprits, .. } = &error else { panic!("{error}") };
        let pids: Vec<_> = culprits.iter().map(|culprit| culprit.id.pid()).collect();
        assert!(pids.contains(&stranger.id()), "{error}");
        assert_eq!(stranger.try_wait().unwrap(), None);
        std::fs::write(&stop, "").unwrap();
        stranger.wait().unwrap();
        StaysDead::new(&path).window(Duration::ZERO).remove_blocking().unwrap();
        std::fs::remove_file(&stop).unwrap();
    });
}

#[test]
fn roots_are_refused_and_links_are_not_followed() {
    for path in ["/", "//", "..", "../", "/tmp/..", "", ".", "./", "/tmp/.", "/tmp/./", "a/.//"] {
        let error = StaysDead::new(path).remove_blocking().unwrap_err();
        assert!(matches!(error, StaysDeadError::Refused { .. }), "{path}: {error}");
    }
    let target = directory("target");
    let link = target.with_extension("link");
    for end in ["", "/", "//", "/."] {
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let path = format!("{}{end}", link.display());
        let removed = StaysDead::new(path).window(Duration::ZERO).remove_blocking();
        assert!(target.join("a/b/file").exists(), "{end}: {removed:?}");
        match end {
            "/." => {
                assert!(matches!(removed, Err(StaysDeadError::Refused { .. })), "{removed:?}");
                std::fs::remove_file(&link).unwrap();
            }
            _ => assert_eq!(removed.unwrap().times, 1, "{end}"),
        }
        assert!(link.symlink_metadata().is_err(), "{end}");
    }
    // A link among what is removed is removed, and what it leads to stays.
    let holder = directory("holder");
    std::os::unix::fs::symlink(&target, holder.join("link")).unwrap();
    StaysDead::new(&holder).window(Duration::ZERO).remove_blocking().unwrap();
    assert!(target.join("a/b/file").exists() && !holder.exists());
    let with_slash = format!("{}/", target.display());
    StaysDead::new(with_slash).window(Duration::ZERO).remove_blocking().unwrap();
    assert!(!target.exists());
}

/// A caller that may not look into the directory above.
fn be_shut_out() {
    let path = PathBuf::from(std::env::var("LASTOUT_TARGET").unwrap());
    let removed = StaysDead::new(&path).window(Duration::ZERO).remove_blocking();
    match removed {
        Err(StaysDeadError::Remove { source, .. }) => {
            assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn fixture() {
    support::fixture_main();
    if support::called().is_some() {
        be_shut_out();
    }
}

#[test]
fn what_may_not_be_looked_at_is_not_gone() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    audited(|| {
        let path = directory("shut");
        let closed = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(&path, closed).unwrap();
        let mut caller = support::caller("shut-out");
        caller.env("LASTOUT_TARGET", path.join("a"));
        if rustix::process::geteuid().is_root() {
            caller.uid(65534).gid(65534);
        }
        let status = caller.status().unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        StaysDead::new(&path).window(Duration::ZERO).remove_blocking().unwrap();
        assert!(status.success());
    });
}

#[test]
fn a_nest_deeper_than_paths_descriptors_and_stacks_is_removed() {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    audited(|| {
        let path = directory("nest");
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut here = openat(CWD, &path, flags, Mode::empty()).unwrap();
        for _ in 0..5_000 {
            mkdirat(&here, "below", Mode::RWXU).unwrap();
            here = openat(&here, "below", flags, Mode::empty()).unwrap();
        }
        drop(here);
        let removal = StaysDead::new(&path).window(Duration::ZERO).within(LONG).remove_blocking();
        assert_eq!(removal.unwrap().times, 1);
        assert!(!path.exists());
    });
}

#[test]
fn a_directory_of_more_directories_than_are_kept_by_name_is_removed() {
    audited(|| {
        let path = directory("wide");
        for n in 0..10_000 {
            let below = path.join(n.to_string());
            std::fs::create_dir(&below).unwrap();
            std::fs::write(below.join("file"), "").unwrap();
        }
        let removal = StaysDead::new(&path).window(Duration::ZERO).within(LONG).remove_blocking();
        assert_eq!(removal.unwrap().times, 1);
        assert!(!path.exists());
    });
}

#[test]
fn what_is_mounted_at_or_below_the_path_is_not_touched() {
    audited(|| {
        let (path, other) = (directory("mount"), directory("mounted"));
        let at = path.join("a/b");
        let mount = |program: &str, arguments: &[&std::ffi::OsStr]| {
            Command::new(program).args(arguments).stderr(Stdio::null()).status().unwrap().success()
        };
        if mount("mount", &["--bind".as_ref(), other.as_ref(), at.as_ref()]) {
            let error = StaysDead::new(&path).within(Duration::ZERO).remove_blocking();
            let is_there = other.join("a/b/file").exists();
            assert!(mount("umount", &[at.as_ref()]));
            assert!(matches!(error, Err(StaysDeadError::Remove { .. })), "{error:?}");
            assert!(is_there);
        }
        if mount("mount", &["--bind".as_ref(), other.as_ref(), path.as_ref()]) {
            let error = StaysDead::new(&path).within(Duration::ZERO).remove_blocking();
            let is_there = other.join("a/b/file").exists();
            assert!(mount("umount", &[path.as_ref()]));
            assert!(matches!(error, Err(StaysDeadError::Remove { .. })), "{error:?}");
            assert!(is_there, "the mount is at the path itself");
        }
        for path in [path, other] {
            StaysDead::new(path).window(Duration::ZERO).remove_blocking().unwrap();
        }
    });
}
