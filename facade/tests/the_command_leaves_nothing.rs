//! `lastout run`, as a person uses it: its exit status, its words, and what is left of the command.

#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use support::wait_until;

fn lastout(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastout"));
    command.args(words).stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    lastout(&[&["run"], words].concat()).output().unwrap()
}

fn code(words: &[&str]) -> i32 {
    run(words).status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether a process is there, and is no zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Starts `lastout run` with a command that leaves its group and says the number of what stays.
fn start(options: &[&str], script: &str) -> (Child, String) {
    let words = [&["run"], options, &["sh", "-c", script]].concat();
    let mut child = lastout(&words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = line.trim().to_owned();
    // Until then it is a copy of the shell, whose trap takes the signal.
    wait_until(|| runs_its_program(&pid), |runs| *runs);
    (child, pid)
}

/// Whether what stays has executed its program, or has ended already.
fn runs_its_program(pid: &str) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    name.map_or(true, |name| name == "sleep\n")
}

const STAYS: &str = "setsid sleep 600 & echo $!; wait";
const IGNORES: &str = "trap : TERM; setsid sleep 600 & echo $!; while :; do sleep 1; done";

#[test]
fn it_ends_with_the_status_of_the_command_as_a_shell_says_it() {
    assert_eq!(code(&["true"]), 0);
    assert_eq!(code(&["sh", "-c", "exit 7"]), 7);
    assert_eq!(code(&["--", "sh", "-c", "kill -USR1 $$"]), 138);
    assert_eq!(code(&["/nowhere/at/all"]), 127);
    assert_eq!(code(&["/dev/null"]), 126);
    assert_eq!(code(&[]), 125);
    assert_eq!(code(&["--memory", "much", "true"]), 125);
    assert_eq!(code(&["--timeout", "-1", "true"]), 125);
}

#[test]
fn the_options_of_the_command_are_its_own() {
    let output = run(&["echo", "--timeout", "--", "-x"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--timeout -- -x\n");
    assert_eq!(stderr(&output), "");
}

#[test]
fn what_the_command_leaves_is_ended_with_it() {
    let (mut child, pid) = start(&[], "setsid sleep 600 & echo $!");
    assert!(child.wait().unwrap().success());
    assert!(!lives(&pid), "{pid}");
}

#[test]
fn a_time_that_is_over_is_124_and_137_when_it_had_to_be_killed() {
    let (mut child, pid) = start(&["--timeout", "300ms", "--grace", "20s"], STAYS);
    assert_eq!(child.wait().unwrap().code(), Some(124));
    assert!(!lives(&pid));
    let (mut child, pid) = start(&["--timeout", "300ms", "--grace", "50ms"], IGNORES);
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert!(!lives(&pid));
    // Without time, it depends on the kernel whether it obeyed before it was killed.
    assert!([124, 137].contains(&code(&["--timeout", "0", "--grace", "0", "sleep", "600"])));
}

#[test]
fn a_signal_is_passed_on_and_a_second_one_kills() {
    let (mut child, pid) = start(&["--grace", "1d"], STAYS);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!lives(&pid));
    let (mut child, pid) = start(&["--grace", "1d"], IGNORES);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    // The helper does not ignore it: when it is gone, the first signal was passed on.
    wait_until(|| lives(&pid), |lives| !lives);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn a_terminal_that_closes_ends_nothing_that_was_started_with_nohup() {
    let command = format!("trap '' HUP; exec {} run \"$@\"", env!("CARGO_BIN_EXE_lastout"));
    let script = "kill -HUP $$; echo alive; exec sleep 600";
    let mut child = Command::new("sh")
        .args(["-c", &command, "sh", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "alive\n", "the program is deaf to it as well");
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn a_sigkill_of_it_leaves_nothing() {
    for script in [STAYS, IGNORES] {
        let (mut child, pid) = start(&[], script);
        assert!(lives(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until(|| lives(&pid), |lives| !lives);
    }
}

#[test]
fn the_report_is_one_line_of_json_on_stderr() {
    let output = run(&["--json", "sh", "-c", "echo out; exit 3"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(report["code"], 3);
    assert_eq!(report["ended_by"], "itself");
    assert_eq!(report["left_behind"], serde_json::json!([]));
    assert!(report["usage"]["user_s"].is_number(), "{report}");
    let text = stderr(&run(&["--usage", "true"]));
    assert!(text.starts_with("lastout: ") && text.contains("held by"), "{text}");
}

#[test]
fn kept_output_is_complete_and_overwrites_no_file() {
    let path: PathBuf = std::env::temp_dir().join(format!("lastout-kept-{}", std::process::id()));
    let kept = path.to_str().unwrap();
    let output = run(&["--keep-output", kept, "sh", "-c", "echo a; echo b >&2; echo c"]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\nc\n");
    assert_eq!(code(&["--keep-output", kept, "echo", "d"]), 125);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\nc\n");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_machine_without_descriptors_is_no_fault_of_the_program() {
    let words = ["-c", "ulimit -n 8; exec \"$0\" run true", env!("CARGO_BIN_EXE_lastout")];
    let output = Command::new("sh").args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
}

#[test]
fn a_reader_of_stderr_that_has_gone_changes_no_status() {
    let code = |words: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        lastout(words).stdout(Stdio::null()).stderr(writer).status().unwrap().code()
    };
    assert_eq!(code(&["run", "--usage", "sh", "-c", "sleep 600 & exit 3"]), Some(3));
    assert_eq!(code(&["run", "--json", "--timeout", "10ms", "sleep", "600"]), Some(124));
    assert_eq!(code(&["run", "--bogus"]), Some(125));
    assert_eq!(code(&["jobs", "list", "--bogus"]), Some(2));
    assert_eq!(code(&["jobs", "list", "--store", "/nowhere/jobs.db"]), Some(1));
}

#[test]
fn a_reader_of_stderr_that_does_not_read_holds_up_no_end() {
    let words = ["run", "--timeout", "300ms", "sh", "-c", "echo $$; exec yes >&2"];
    let mut child = lastout(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    wait_until(|| lives(pid.trim()), |lives| !lives);
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(124));
}

#[test]
fn ps_shows_a_process_and_what_descends_from_it() {
    let (mut child, pid) = start(&[], STAYS);
    let own = child.id().to_string();
    let output = lastout(&["ps", &own, "--json"]).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found[0]["pid"], child.id());
    let table = || {
        let output = lastout(&["ps", &pid]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Until it has executed its program, it has the name of what starts it.
    let is_row =
        |line: &String| line.starts_with(&format!("{pid}\t")) && line.ends_with("\tsleep\n");
    wait_until(table, is_row);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(|| lives(&pid), |lives| !lives);
    assert_eq!(lastout(&["ps", &pid]).output().unwrap().status.code(), Some(1));
    assert_eq!(lastout(&["ps"]).output().unwrap().status.code(), Some(2));
    assert_eq!(lastout(&["pss"]).output().unwrap().status.code(), Some(2));
    assert_eq!(lastout(&["help"]).output().unwrap().status.code(), Some(0));
}
