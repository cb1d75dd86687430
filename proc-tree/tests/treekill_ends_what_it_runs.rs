//! The example `treekill` as a user calls it: exit statuses, limits, usage, and nothing left.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, Limits, Tree};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;
use std::time::SystemTime;
use support::audited;

/// The program. Cargo builds examples when it builds all tests, but not with this one alone: then it is built
/// here, unless it is younger than every source of the package.
fn program() -> PathBuf {
    static BUILT: Once = Once::new();
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let program = profile.join("examples/treekill");
    BUILT.call_once(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let newest = newest(&package.join("src")).max(newest(&package.join("examples")));
        let built = program.metadata().and_then(|file| file.modified());
        if built.is_ok_and(|built| built > newest) {
            return;
        }
        let name = profile.file_name().unwrap().to_str().unwrap();
        let name = if name == "debug" { "dev" } else { name };
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", "treekill", "--profile", name]);
        build.arg("--target-dir").arg(profile.parent().unwrap()).current_dir(package);
        assert!(build.status().unwrap().success(), "the example does not build");
    });
    program
}

/// When a file of a folder was changed last.
fn newest(folder: &Path) -> SystemTime {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let times = entries.map(|path| match path.is_dir() {
        true => newest(&path),
        false => path.metadata().unwrap().modified().unwrap(),
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn treekill(words: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = Command::new(program()).args(words).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_exit_status_is_that_of_the_command_or_that_of_timeout() {
    audited(|| {
        let cases: [(&[&str], i32); 9] = [
            (&["--", "sh", "-c", "exit 7"], 7),
            (&["--usage", "--", "sh", "-c", "sleep 600 & exit 0"], 0),
            (&["--", "sh", "-c", "kill -HUP $$"], 129),
            (&["--timeout", "0.1", "--", "sleep", "600"], 124),
            (&["--timeout=0.1s", "--grace=0", "--", "sh", "-c", "trap '' TERM; sleep 600"], 137),
            (&["--", "/nowhere/at/all"], 127),
            (&["--", "/etc/passwd"], 126),
            (&["--timeout", "ever", "--", "true"], 125),
            (&["--memory", "0", "--", "true"], 125),
        ];
        for (words, expected) in cases {
            let (code, said) = treekill(words);
            assert_eq!(code, expected, "{words:?}: {said}");
        }
    });
}

#[test]
fn a_word_that_is_no_text_reaches_the_command_and_is_refused_as_an_option() {
    audited(|| {
        let word = OsStr::from_bytes(b"\xff");
        let run = |words: &[&OsStr]| Command::new(program()).args(words).output().unwrap();
        let shell = ["--usage", "--", "sh", "-c", "printf %s \"$0\""].map(OsStr::new);
        let Output { status, stdout, stderr } = run(&[&shell[..], &[word]].concat());
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!((status.code(), &stdout[..]), (Some(0), word.as_bytes()), "{said}");
        let Output { status, stderr, .. } = run(&[OsStr::new("--timeout"), word]);
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(125), "{said}");
        assert!(said.contains("is no text"), "{said}");
    });
}

#[test]
fn what_is_no_option_is_named_as_that_with_and_without_a_value() {
    for words in [&["--memroy"][..], &["--memroy", "1G", "--", "true"], &["--memroy=1G", "true"]] {
        let (code, said) = treekill(words);
        assert_eq!(code, 125, "{words:?}: {said}");
        assert!(said.contains("treekill: --memroy is no option"), "{words:?}: {said}");
    }
}

#[test]
fn the_usage_of_the_whole_tree_is_printed_as_time_does() {
    audited(|| {
        let burn = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; exit 3";
        let (code, said) = treekill(&["--usage", "--", "sh", "-c", burn]);
        assert_eq!(code, 3, "{said}");
        let value = |what: &str| {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(what));
            line.unwrap_or_else(|| panic!("no {what} in {said}"))
                .trim_start_matches(": ")
                .to_owned()
        };
        let user: f64 = value("User time (seconds)").split(' ').next().unwrap().parse().unwrap();
        assert!(user > 0.0, "{said}");
        assert_eq!(value("Exit status"), "3");
        assert_eq!(value("Ended because"), "it exited");
    });
}

#[test]
fn a_limit_of_memory_ends_a_command_that_needs_more() {
    let containment = Containment::strongest().limits(Limits::new().memory(32 << 20));
    if Tree::spawn(&mut Command::new("true"), containment).is_err() {
        return; // No controller can be reached here.
    }
    audited(|| {
        let words = ["--memory", "32M", "--usage", "--", "sh", "-c", "tail /dev/zero"];
        let (code, said) = treekill(&words);
        assert_ne!(code, 0, "{said}");
        let (code, said) = treekill(&["--memory=32M", "--usage", "--", "tail", "/dev/zero"]);
        assert_eq!(code, 137, "{said}");
        assert!(said.contains("memory killer"), "{said}");
    });
}

#[test]
fn a_running_process_is_ended_with_its_helpers() {
    audited(|| {
        let script = "sleep 600 & echo ready; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        assert_eq!(support::read_line(child.stdout.as_mut().unwrap()), "ready");
        let (code, said) = treekill(&[&child.id().to_string()]);
        assert_eq!(code, 0, "{said}");
        assert!(!child.wait().unwrap().success());
        let (code, said) = treekill(&["0"]);
        assert_eq!(code, 125, "{said}");
    });
}
