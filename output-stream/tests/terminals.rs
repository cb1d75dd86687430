//! A process on a terminal of its own, and prompts that no newline ends.
#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(feature = "pty")]

use lastout_output_stream::{
    Channel, EndReason, Inlet, Outlet, Process, Stdin, Terminal, WaitErrorReason,
};
use lastout_proc_tree::audit::Audit;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

async fn press(process: &mut Process, keys: &str) {
    let stdin: &mut Stdin = process.stdin().unwrap();
    stdin.write(keys.to_owned()).await.unwrap();
}

#[tokio::test]
async fn a_process_has_a_terminal_of_this_size_and_hears_when_that_changes() {
    let script = "tty > /dev/null && stty size; trap 'stty size; exit 5' WINCH; printf 'ready '; \
                  while :; do sleep 0.02; done";
    let mut process = Process::shell(script).terminal(Terminal::new(33, 101)).spawn().unwrap();
    let mut prompts = process.prompts().unwrap();
    assert_eq!(prompts.wait_for(LONG, "ready ").await.unwrap().text(), "33 101\r\nready ");
    let pty = process.pty().unwrap().clone();
    assert_eq!(pty.size().unwrap(), (33, 101));
    pty.resize(44, 132).unwrap();
    assert_eq!(prompts.wait_for(LONG, "\n").await.unwrap().text(), "44 132\r\n");
    assert_eq!(process.wait().await.unwrap().code(), Some(5));
}

#[tokio::test]
async fn keys_become_signals_and_the_end_of_the_input() {
    let script = "trap 'echo interrupted' INT; printf 'one '; cat; printf 'two '; cat; echo over";
    let terminal = Terminal::default().echo(false);
    let mut process = Process::shell(script).terminal(terminal).spawn().unwrap();
    let mut prompts = process.prompts().unwrap();
    prompts.wait_for(LONG, "one ").await.unwrap();
    press(&mut process, "typed\n").await;
    prompts.wait_for(LONG, "typed\r\n").await.unwrap();
    press(&mut process, "\x03").await;
    prompts.wait_for(LONG, "interrupted\r\ntwo ").await.unwrap();
    // Closing the input ends the second, also behind a line that has only begun.
    press(&mut process, "begun").await;
    let exit = process.wait().await.unwrap();
    assert!(exit.success() && matches!(exit.stdout.reason, EndReason::Eof), "{exit:?}");
    assert_eq!(prompts.wait_for(LONG, "over\r\n").await.unwrap().text(), "begunover\r\n");
    let report = process.stdin_report().await.unwrap();
    assert_eq!((report.written, report.end.is_cut_short()), (12, false));
}

#[tokio::test]
async fn of_a_line_that_is_typed_4095_bytes_and_the_lf_arrive() {
    for (typed, arrives) in [(4094, "4095"), (4095, "4096"), (4096, "4096"), (5000, "4096")] {
        let line = format!("{}\n", "x".repeat(typed));
        let count = Process::shell("head -n 1 | wc -c").terminal(Terminal::default().echo(false));
        let output = count.stdin(line).timeout(LONG).output().await.unwrap().check().unwrap();
        assert_eq!(output.stdout.text().trim(), arrives, "{typed} bytes and LF");
    }
}

#[tokio::test]
async fn what_is_typed_comes_out_again_unless_the_echo_is_off() {
    for echo in [true, false] {
        let terminal = Terminal::default().echo(echo);
        let cat = Process::builder("head").args(["-n", "1"]).terminal(terminal).stdin("x\n");
        let output = cat.timeout(LONG).output().await.unwrap().check().unwrap();
        assert_eq!(output.stdout.text(), if echo { "x\r\nx\r\n" } else { "x\r\n" });
    }
    let script = "stty -echo; printf 'Password: '; read p; stty echo; echo; echo \"got $p\"";
    let mut process = Process::shell(script).terminal(Terminal::default()).spawn().unwrap();
    let mut prompts = process.prompts().unwrap();
    prompts.wait_for(LONG, "Password: ").await.unwrap();
    assert!(!process.pty().unwrap().echoes().unwrap());
    press(&mut process, "hunter2\n").await;
    let answer = prompts.wait_for(LONG, "got hunter2\r\n").await.unwrap();
    assert_eq!(answer.text(), "\r\ngot hunter2\r\n");
    assert!(process.pty().unwrap().echoes().unwrap());
    assert!(process.wait().await.unwrap().success());
}

#[tokio::test]
async fn everything_that_was_written_before_the_exit_is_read() {
    for _ in 0..20 {
        let terminal = Terminal::default().echo(false);
        let seq = Process::builder("seq").arg("20000").terminal(terminal).timeout(LONG);
        let output = seq.output().await.unwrap().check().unwrap();
        let expected: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
        assert_eq!(output.stdout.total(), expected.len() as u64);
        assert!(output.stdout.is_complete() && output.stdout.text() == expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_terminal_is_left() {
    let audit = Audit::begin_in([]);
    let script = "setsid sleep 600 & sleep 600 & echo up; exec sleep 600";
    let process = Process::shell(script).terminal(Terminal::default()).spawn().unwrap();
    process.wait_for(LONG, |line| line.bytes == b"up").await.unwrap();
    assert!(process.tree().members().unwrap().len() >= 3);
    drop(process);
    audit.assert_clean(LONG);
    // One that holds the terminal is reported, and ended.
    let script = "trap '' HUP; sleep 600 & echo up";
    let output = Process::shell(script).terminal(Terminal::new(0, 0)).output().await.unwrap();
    assert!(output.exit.writers_left() && output.tree.is_clean(), "{output:?}");
    assert_eq!(output.stdout.text(), "up\r\n");
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn what_a_terminal_cannot_do_is_refused() {
    let on = || Process::shell("true").terminal(Terminal::default());
    for builder in [
        on().stderr_to_stdout(),
        on().stderr(Outlet::Discard),
        on().stdout(Outlet::Discard),
        on().stdin(Inlet::Inherit),
        on().stdin(Inlet::Null),
    ] {
        let error = builder.spawn().unwrap_err().to_string();
        assert!(error.contains("terminal"), "{error}");
    }
}

#[tokio::test]
async fn a_prompt_is_found_in_either_output_across_reads_and_without_a_newline() {
    let script = "printf 'par'; sleep 0.05; printf 'tial> '; read a; printf 'err? ' >&2; read b; \
                  echo \"$a $b\"; exit 3";
    let mut process = Process::shell(script).stdin(Inlet::Piped).spawn().unwrap();
    let mut prompts = process.prompts().unwrap();
    let found = prompts.wait_for(LONG, "partial> ").await.unwrap();
    assert_eq!((found.channel, &*found.text()), (Channel::Out, "partial> "));
    press(&mut process, "1\n").await;
    let question = |_, seen: &[u8]| seen.iter().position(|byte| *byte == b'?').map(|at| at + 1);
    let found = prompts.wait_until(LONG, question).await.unwrap();
    assert_eq!((found.channel, &*found.text()), (Channel::Err, "err?"));
    let early = prompts.wait_for(Duration::from_millis(20), "nothing").await.unwrap_err();
    assert!(matches!(early.reason, WaitErrorReason::Timeout(_)));
    assert_eq!(prompts.wait_for(LONG, " ").await.unwrap().text(), " ", "it was kept");
    press(&mut process, "2\n").await;
    let error = prompts.wait_for(LONG, "nothing").await.unwrap_err();
    assert!(matches!(error.reason, WaitErrorReason::Ended(_)));
    assert_eq!(error.seen.text(), "1 2\n");
    assert_eq!(prompts.wait_for(LONG, "1 2").await.unwrap().text(), "1 2", "it can still match");
    assert_eq!(prompts.wait_for(LONG, "").await.unwrap().text(), "");
    assert_eq!(process.wait().await.unwrap().code(), Some(3));

    let flood =
        Process::shell("head -c 1000000 /dev/zero; printf '> '; sleep 600").spawn().unwrap();
    let mut prompts = flood.prompts().unwrap();
    assert!(prompts.wait_for(Duration::MAX, "> ").await.unwrap().bytes.len() <= 64 * 1024);
    assert!(prompts.dropped() >= 1_000_000 - 64 * 1024);
}
