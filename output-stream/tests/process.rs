//! A process ends with its tree, its bytes are read to the last, and nothing hangs.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(all(feature = "process", feature = "tokio"))]

use lastout_output_stream::{
    Channel, Config, End, EndReason, Inlet, Keep, Limits, LineOptions, Outlet, Policy, Position,
    Process, Retain, StdinEnd,
};
use lastout_proc_tree::audit::Audit;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Lets the tasks that were stopped drop what they hold, and looks.
async fn assert_clean(audit: &Audit) {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn output_is_complete_and_the_exit_is_known() {
    let audit = Audit::begin_in([]);
    let output = Process::shell("echo out; echo err >&2; exit 3").output().await.unwrap();
    assert_eq!((output.stdout.text().as_str(), output.stderr.text().as_str()), ("out\n", "err\n"));
    assert_eq!(output.exit.status.code(), Some(3));
    assert!(!output.exit.writers_left() && !output.success() && output.tree.is_clean());
    let error = output.check().unwrap_err().to_string();
    assert_eq!(error, "run sh: exit status: 3; stderr: err");
    audit.assert_clean(LONG);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_was_written_before_the_exit_is_read() {
    let audit = Audit::begin_in([]);
    // 60 kB fit into the pipe: the child is gone before anybody reads.
    let one = Process::shell("head -c 60000 /dev/zero").output_within(Keep::all());
    let output = one.await.unwrap();
    assert_eq!((output.stdout.total(), output.stdout.is_complete()), (60_000, true));
    let many = Process::shell("head -c 5000000 /dev/zero").output().await.unwrap();
    assert_eq!(many.stdout.total(), 5_000_000);
    assert_eq!(many.stdout.omitted(), 5_000_000 - 2 * 1024 * 1024);
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn what_is_in_the_pipe_at_the_exit_waits_for_a_slow_reader() {
    let audit = Audit::begin_in([]);
    // The window and the pipe together hold less than was written, and nobody reads until after the exit.
    let config = Config::builder().window(64 * 1024).retain(Retain::Nothing).build().unwrap();
    let prepared = lastout_output_stream::Stream::prepare(config);
    let mut reader = prepared.subscribe(Position::Start, Policy::Block).unwrap();
    let mut process = Process::shell("head -c 130000 /dev/zero").stdout(prepared).spawn().unwrap();
    let exit = process.wait().await.unwrap();
    assert!(exit.success() && !exit.writers_left(), "{exit:?}");
    let mut read = 0;
    while let Some(event) = reader.next().await {
        if let lastout_output_stream::Event::Data { bytes, .. } = event {
            read += bytes.len();
        }
    }
    let stats = reader.stats();
    assert_eq!((read, stats.lost, stats.lag), (130_000, 0, 0));
    drop((process, reader));
    assert_clean(&audit).await;
}

#[tokio::test]
async fn an_output_that_nobody_reads_is_not_complete() {
    let output = Process::shell("echo out").stdout(Outlet::Discard).output().await.unwrap();
    assert!(output.success() && !output.stdout.is_complete() && !output.exit.writers_left());
}

#[tokio::test]
async fn a_child_that_is_gone_before_the_first_poll_is_read() {
    let process = Process::shell("head -c 60000 /dev/zero").spawn().unwrap();
    // The runtime has one thread, and it is here: nothing was polled since the start.
    let deadline = std::time::Instant::now() + LONG;
    while process.id().is_running() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    let output = process.wait_with_output(Keep::all()).await.unwrap();
    assert_eq!((output.stdout.total(), output.stdout.is_complete()), (60_000, true));
    assert!(!output.exit.writers_left());
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipe_hangs_nobody() {
    let audit = Audit::begin_in([]);
    let output = Process::shell("echo before; sleep 600 & exit 0").output().await.unwrap();
    assert_eq!(output.stdout.text(), "before\n");
    assert!(output.exit.writers_left() && output.exit.success());
    assert_eq!(
        output.exit.stdout.to_string(),
        "stdout of sh: drained before the end of the source at byte 7"
    );
    assert!(matches!(output.exit.stdout, End { reason: EndReason::Drained, .. }));
    assert!(output.tree.killed >= 1, "the grandchild was ended: {}", output.tree);
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn a_grandchild_that_writes_without_end_hangs_nobody() {
    let audit = Audit::begin_in([]);
    let output = Process::shell("yes & echo started; exit 0").output().await.unwrap();
    assert!(output.exit.writers_left());
    assert!(output.stdout.total() >= 8);
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn those_who_linger_are_heard_when_asked_for() {
    let script = "(read line; echo late) <\"$0\" & exit 0";
    let fifo = std::env::temp_dir().join(format!("lastout-linger-{}", std::process::id()));
    let made = Process::shell(format!("mkfifo {}", fifo.display())).output().await.unwrap();
    assert!(made.success());
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(script).arg(&fifo);
    let process = Process::builder(command).linger(LONG).spawn().unwrap();
    let writer = tokio::task::spawn_blocking({
        let fifo = fifo.clone();
        move || std::fs::write(fifo, "go\n")
    });
    let output = process.wait_with_output(Keep::all()).await.unwrap();
    writer.await.unwrap().unwrap();
    std::fs::remove_file(fifo).unwrap();
    assert_eq!(output.stdout.text(), "late\n");
    assert!(!output.exit.writers_left());
}

#[tokio::test]
async fn a_time_limit_keeps_what_was_written() {
    let audit = Audit::begin_in([]);
    let script = "echo partial; trap '' TERM; sleep 600 & while :; do sleep 600; done";
    let output = Process::shell(script)
        .timeout(Duration::from_millis(300))
        .terminate_with(lastout_proc_tree::Policy::term(Duration::from_millis(100)))
        .output()
        .await
        .unwrap();
    assert!(output.exit.timed_out && !output.success());
    assert_eq!(output.stdout.text(), "partial\n");
    let message = output.check().unwrap_err().to_string();
    assert!(
        message.starts_with("run sh: ended because its time limit of 300ms was over; ")
            && message.ends_with("stdout: partial"),
        "{message}"
    );
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn a_time_limit_holds_without_anybody_waiting() {
    let process = Process::shell("echo up; sleep 600")
        .timeout(Duration::from_millis(200))
        .terminate_with(lastout_proc_tree::Policy::new())
        .spawn()
        .unwrap();
    let mut lines = process.lines(LineOptions::default()).unwrap();
    let (channel, line) = lines.next().await.unwrap();
    assert_eq!((channel, &*line.text()), (Channel::Out, "up"));
    assert!(lines.next().await.is_none(), "the streams end with the tree");
}

#[tokio::test]
async fn input_is_written_and_closed() {
    let text = "line\n".repeat(200_000);
    let output = Process::shell("wc -c").stdin(text.clone()).output().await.unwrap();
    assert_eq!(output.stdout.text().trim(), "1000000");
    let report = output.stdin.unwrap();
    assert_eq!(report.written, 1_000_000);
    assert!(matches!(report.end, StdinEnd::Eof));

    let mut process = Process::shell("cat").stdin(Inlet::Piped).spawn().unwrap();
    process.stdin().unwrap().write("ping\n").await.unwrap();
    let line = process.wait_for(LONG, |line| line.bytes == b"ping").await.unwrap();
    assert_eq!(line.offset, 0);
    let exit = process.wait().await.unwrap();
    assert!(exit.success(), "waiting closes the input: {exit:?}");
}

#[tokio::test]
async fn a_child_that_closes_its_input_is_no_error() {
    let audit = Audit::begin_in([]);
    let output =
        Process::shell("exec <&-; echo done").stdin(vec![b'x'; 1 << 20]).output().await.unwrap();
    assert!(output.success());
    let report = output.stdin.unwrap();
    assert!(matches!(report.end, StdinEnd::BrokenPipe), "{report:?}");
    assert!(report.written < 1 << 20);

    let mut process = Process::shell("exec <&-; echo closed; exec sleep 600")
        .stdin(Inlet::Piped)
        .spawn()
        .unwrap();
    process.wait_for(LONG, |line| line.bytes == b"closed").await.unwrap();
    let stdin = process.stdin().unwrap();
    let closed = stdin.write("more").await.unwrap_err();
    assert_eq!(closed.unsent, "more", "the very first write says it");
    let polled = tokio::io::AsyncWriteExt::write(stdin, b"more").await.unwrap_err();
    assert_eq!(polled.kind(), std::io::ErrorKind::BrokenPipe);
    drop(process);
    assert_clean(&audit).await;
}

#[tokio::test]
async fn a_drop_ends_the_tree() {
    let audit = Audit::begin_in([]);
    let process = Process::shell("sleep 600 & sleep 600 & echo up; wait").spawn().unwrap();
    process.wait_for(LONG, |line| line.bytes == b"up").await.unwrap();
    assert!(process.tree().members().unwrap().len() >= 3);
    drop(process);
    assert_clean(&audit).await;
}

#[tokio::test]
async fn terminate_reports_and_wait_tells_the_status() {
    let mut process = Process::shell("echo up; exec sleep 600").spawn().unwrap();
    process.wait_for(LONG, |line| line.bytes == b"up").await.unwrap();
    let report = process.terminate(&lastout_proc_tree::Policy::term(LONG)).await.unwrap();
    assert!(report.is_clean() && !report.forced);
    let exit = process.wait().await.unwrap();
    assert!(!exit.success() && !exit.timed_out && !exit.writers_left());
    assert!(process.try_wait().is_some_and(|exit| exit.is_ok()));
    assert!(process.wait().await.is_ok(), "it can be asked again");
}

#[tokio::test]
async fn every_line_is_shown_before_wait_returns_and_a_panic_is_alone() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    let mut process = Process::shell("echo a; echo b >&2; printf c")
        .on_line(move |channel, line| {
            into.lock().unwrap().push((channel, line.text().into_owned()));
        })
        .spawn()
        .unwrap();
    assert!(process.wait().await.unwrap().success());
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_by_key(|(channel, _)| *channel == Channel::Err);
    let expected = [(Channel::Out, "a"), (Channel::Out, "c"), (Channel::Err, "b")];
    assert_eq!(seen, expected.map(|(channel, line)| (channel, line.to_string())));

    let output = Process::shell("seq 100000").on_line(|_, _| panic!("of a hook")).output().await;
    assert_eq!(output.unwrap().stdout.total(), 588_895);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_hook_is_waited_for() {
    let seen = Arc::new(Mutex::new(0));
    let into = seen.clone();
    let mut process = Process::shell("seq 20000")
        .on_line(move |_, line| {
            let mut sum = 0u64;
            for round in 0..2_000 {
                sum = std::hint::black_box(sum.wrapping_mul(31) + line.offset + round);
            }
            *into.lock().unwrap() += 1;
        })
        .spawn()
        .unwrap();
    assert!(process.wait().await.unwrap().success());
    assert_eq!(*seen.lock().unwrap(), 20_000);
}

#[tokio::test]
async fn discarded_and_inherited_outputs_are_ended_streams() {
    let config = Config::builder().retain(Retain::All).build().unwrap();
    let mut process = Process::shell("echo out; echo err >&2")
        .stdout(Outlet::Discard)
        .stderr(config)
        .spawn()
        .unwrap();
    assert!(matches!(process.stdout().end(), Some(End { reason: EndReason::Closed, .. })));
    assert!(process.wait().await.unwrap().success());
    let kept = process.stderr().collect(Keep::all()).unwrap().wait().await;
    assert_eq!(kept.text(), "err\n");
}

#[tokio::test]
async fn what_cannot_start_leaves_nothing() {
    let audit = Audit::begin_in([]);
    let command = std::process::Command::new("/nonexistent/program");
    let error = Process::builder(command).output().await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("start /nonexistent/program: No such file"), "{text}");
    assert!(std::error::Error::source(&error).is_none(), "the reason is said once");
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn limits_hold_for_each_output() {
    let limits = Limits::new(Keep::head_tail_lines(1, 1), Keep::nothing());
    let output = Process::shell("seq 5; seq 9 >&2").output_within(limits).await.unwrap();
    assert_eq!(output.stdout.text(), "1\n[6 bytes omitted]\n5\n");
    assert_eq!(
        (output.stderr.total(), output.stderr.text().as_str()),
        (18, "[18 bytes omitted]\n")
    );
}

#[tokio::test]
async fn an_input_that_nobody_finishes_ends_with_the_process() {
    let audit = Audit::begin_in([]);
    // The descendant holds the input and does not read; more is left than the pipe takes.
    let script = "head -c 1 > /dev/null; exec 3<&0; sleep 600 <&3 & exit 0";
    let output = Process::shell(script).stdin(vec![b'x'; 1 << 20]).output().await.unwrap();
    let report = output.stdin.unwrap();
    assert!(matches!(report.end, StdinEnd::Exited), "{report:?}");
    assert!(report.written > 0 && report.written < 1 << 20, "{report:?}");

    let mut process = Process::shell("exit 0").stdin(Inlet::Piped).spawn().unwrap();
    let held = process.take_stdin();
    let output = process.wait_with_output(Keep::all()).await.unwrap();
    assert!(matches!(output.stdin.unwrap().end, StdinEnd::Exited));
    drop(held);
    assert_clean(&audit).await;
}

#[tokio::test]
async fn the_streams_of_a_command_are_led_as_it_says() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    // What looks like the text of a field is an argument.
    let shell = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script, "\n    stdout: Some(\n        Null,"]);
        command
    };
    let mut command = shell("cat; echo err >&2");
    command.stdin(std::io::pipe().unwrap().0).stdout(writer).stderr(std::process::Stdio::null());
    let output = Process::builder(command).output().await.unwrap();
    assert!(output.success() && output.stdout.total() == 0 && output.stderr.total() == 0);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    assert_eq!(text, "", "the pipe was led to the command, which wrote nothing, and closed");

    let mut command = shell("cat");
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut process = Process::builder(command).spawn().unwrap();
    process.stdin().unwrap().write("through").await.unwrap();
    let output = process.wait_with_output(Keep::all()).await.unwrap();
    assert_eq!(output.stdout.text(), "through");

    let mut program = lastout_output_stream::tree::Program::new("echo");
    program.arg("unseen").stdout(lastout_output_stream::tree::Io::Null);
    let output = Process::builder(program).output().await.unwrap();
    assert_eq!(output.stdout.total(), 0);

    let mut command = shell("echo said");
    command.stdout(std::process::Stdio::null());
    let output = Process::builder(command).stdout(Config::default()).output().await.unwrap();
    assert_eq!(output.stdout.text(), "said\n", "the builder has the last word");
}
