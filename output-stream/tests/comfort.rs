//! Text, retries, cancellation, limits and messages: what people expect of a process.
#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(all(feature = "process", feature = "tokio"))]

use lastout_output_stream::{
    Config, Exit, Inlet, Keep, Outlet, OutputError, Process, Retry, Stream, tree,
};
use lastout_proc_tree::audit::Audit;
use std::error::Error;
use std::future::{pending, poll_fn, ready};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn text_is_read_without_its_last_newlines_and_only_if_it_is_whole() {
    let read = |line: &str| Process::shell(line).timeout(LONG).read();
    assert_eq!(read("printf ' a\\n b \\r\\n\\n'").await.unwrap(), " a\n b ");
    assert_eq!(read("true").await.unwrap(), "");
    assert_eq!(
        read("echo x; sleep 600 &").await.unwrap(),
        "x",
        "a holder of the pipe is no matter"
    );
    let text = |error: OutputError| format!("{error}: {}", error.source().unwrap());
    let error = text(read("printf 'ab\\377c'").await.unwrap_err());
    assert_eq!(error, "read the output of sh as text: it is not UTF-8 at byte 2");
    let error = text(read("head -c 16777217 /dev/zero").await.unwrap_err());
    assert_eq!(error, "read the output of sh as text: it is not whole: 1 byte omitted");
    let elsewhere = Process::shell("echo x").stdout(Outlet::Discard).read().await.unwrap_err();
    assert!(text(elsewhere).ends_with("not read to its end: closed by request at byte 0"));
    assert!(matches!(read("exit 1").await.unwrap_err(), OutputError::Failed(_)));
    let output = Process::shell("printf 'a\\377'; seq 9 >&2").output_within(Keep::head(2)).await;
    let output = output.unwrap();
    assert_eq!(output.stdout.text(), "a\u{fffd}");
    let error = output.stderr.utf8().unwrap_err().to_string();
    assert_eq!(error, "it is not whole: 16 bytes omitted");
}

#[tokio::test]
async fn a_command_is_tried_again_until_it_succeeds_or_was_tried_often_enough() {
    let path = std::env::temp_dir().join(format!("lastout-retry-{}", std::process::id()));
    let counts = Process::shell("echo x >> $0; [ $(wc -l < $0) -ge 3 ]").arg(&path);
    let retry = Retry::attempts(5).backoff(Duration::from_millis(1), Duration::from_millis(2));
    let output = counts.clone().output_with_retry(retry).await.unwrap().check().unwrap();
    assert_eq!(output.attempts, 3);
    let path_again = std::fs::remove_file(&path);
    path_again.unwrap();
    let failed = counts.output_with_retry(Retry::attempts(2)).await.unwrap().check().unwrap_err();
    assert_eq!(failed.to_string(), "run sh: exit status: 1; attempt 2");
    std::fs::remove_file(&path).unwrap();

    let refused = [
        (Process::shell("true"), 0, "it is to be attempted zero times"),
        (
            Process::shell("true").stdin(Inlet::lines(["a"])),
            2,
            "the reader of its input can be had",
        ),
        (Process::shell("true").on_line(|_, _| ()), 2, "the callback for its lines can be had"),
        (Process::shell("true").cancel_on(pending::<()>()), 2, "what cancels it can be had"),
        (
            Process::shell("true").stdout(Stream::prepare(Config::default())),
            2,
            "the stream of an output can be had",
        ),
        (Process::builder(tokio::process::Command::new("true")), 2, "a command can be had"),
    ];
    for (builder, attempts, why) in refused {
        let error = builder.output_with_retry(Retry::attempts(attempts)).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let once = Process::shell("true").stdin(Inlet::lines(["a"]));
    once.output_with_retry(Retry::attempts(1)).await.unwrap().check().unwrap();
}

#[tokio::test]
async fn a_process_that_is_cancelled_keeps_what_was_read_and_leaves_nobody() {
    let audit = Audit::begin_in([]);
    let (cancel, cancelled) = tokio::sync::oneshot::channel::<()>();
    let mut cancel = Some(cancel);
    let output = Process::shell("echo before; setsid sleep 600 & exec sleep 600")
        .cancel_on(cancelled)
        .on_line(move |_, _| cancel.take().unwrap().send(()).unwrap())
        .output()
        .await
        .unwrap();
    assert_eq!(output.stdout.text(), "before\n");
    assert!(output.exit.cancelled && !output.exit.timed_out && !output.success());
    let message = output.check().unwrap_err().to_string();
    assert_eq!(message, "run sh: ended because it was cancelled; stdout: before");

    // While descendants linger, at once, and by a panic.
    let lingers = Process::shell("sleep 600 & exit 0").linger(LONG).cancel_on(ready(1));
    let panics = || poll_fn(|_| -> std::task::Poll<()> { panic!("of a token") });
    for builder in [lingers, Process::shell("exec sleep 600").cancel_on(panics())] {
        let begin = Instant::now();
        assert!(builder.output().await.unwrap().exit.cancelled);
        assert!(begin.elapsed() < LONG / 2);
    }
    // One that ends first, and one whose token is dropped badly.
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("of a destructor");
        }
    }
    let bad = Bad;
    let never = async move {
        pending::<()>().await;
        drop(bad);
    };
    let output = Process::shell("echo x").cancel_on(never).output().await.unwrap();
    assert_eq!(output.check().unwrap().stdout.text(), "x\n");
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn a_tree_is_asked_by_the_signal_that_was_chosen() {
    let script = "trap 'echo hup; exit 7' HUP; trap '' TERM; echo up; while :; do sleep 0.01; done";
    let (cancel, cancelled) = tokio::sync::oneshot::channel::<()>();
    let mut cancel = Some(cancel);
    let output = Process::shell(script)
        .graceful(tree::Signal::HUP, LONG)
        .cancel_on(cancelled)
        .on_line(move |_, _| drop(cancel.take()))
        .output()
        .await
        .unwrap();
    assert_eq!(output.stdout.text(), "up\nhup\n");
    assert_eq!((output.exit.code(), output.exit.cause), (Some(7), Some(tree::Cause::Exit)));
    // The grace that is set afterwards keeps the signal.
    let output = Process::shell("trap 'exit 8' USR1; while :; do sleep 0.01; done")
        .graceful(tree::Signal::USR1, Duration::ZERO)
        .grace(LONG)
        .timeout(Duration::from_millis(200))
        .output()
        .await
        .unwrap();
    assert!(output.exit.timed_out);
    // It may have been asked before it had set its trap.
    assert!(output.exit.code() == Some(8) || output.exit.signal() == Some(10), "{output:?}");
}

#[tokio::test]
async fn what_a_tree_used_is_told_and_what_it_may_take_is_limited_or_refused() {
    let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let output = Process::shell(busy).measured().output().await.unwrap().check().unwrap();
    let usage = output.usage.unwrap();
    let cpu = usage.user.unwrap().value + usage.system.unwrap().value;
    assert!(cpu > Duration::from_millis(10), "{usage}");
    assert!(Process::shell("true").output().await.unwrap().usage.is_none());

    let few = || Process::shell("sleep 600 & echo started || echo refused");
    match few().tree_limits(tree::Limits::new().tasks(1)).output().await {
        Ok(output) => assert!(!output.stdout.text().contains("started"), "{output:?}"),
        Err(OutputError::Spawn(tree::SpawnError::Limit(_))) => {}
        Err(error) => panic!("{error}"),
    }
    let memory = tree::Limits::new().memory(16 << 20);
    let eats =
        Process::shell("exec tail /dev/zero").tree_limits(memory).timeout(LONG).output().await;
    match eats {
        Ok(output) => {
            assert_eq!(output.exit.cause, Some(tree::Cause::MemoryKiller), "{output:?}");
            let message = output.check().unwrap_err().to_string();
            assert!(message.contains("the kernel's memory killer ended it"), "{message}");
        }
        Err(OutputError::Spawn(tree::SpawnError::Limit(_))) => {}
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn errors_show_the_command_on_request_and_never_its_secrets() {
    let fails = || Process::builder("ls").arg("/nonexistent dir").secret("--token=hunter2");
    let shown = "run ls '/nonexistent dir' ***: exit status: ";
    let failed = fails().show_command().output().await.unwrap().check().unwrap_err();
    assert!(failed.to_string().starts_with(shown), "{failed}");
    assert!(!format!("{:?}", fails()).contains("hunter2"));
    let plain = fails().output().await.unwrap().check().unwrap_err().to_string();
    assert!(plain.starts_with("run ls: exit status: "), "{plain}");
    let missing = Process::builder("no-such-program-here").arg("-x").show_command();
    let text = missing.output().await.unwrap_err().to_string();
    assert!(text.starts_with("start no-such-program-here -x: No such file"), "{text}");
}

#[tokio::test]
async fn waiting_can_leave_the_input_open() {
    let mut process =
        Process::shell("read line; echo got $line").stdin(Inlet::Piped).spawn().unwrap();
    let mut stdin = process.take_stdin().unwrap();
    let (exit, ()) = tokio::join!(process.wait_for_exit(), async {
        stdin.write("something\n").await.unwrap();
    });
    assert!(exit.as_ref().is_ok_and(Exit::success));
    assert_eq!(process.wait_for(LONG, |_| true).await.unwrap().text(), "got something");
    // Its own end, too.
    let mut process =
        Process::shell("read line; echo got $line").stdin(Inlet::Piped).spawn().unwrap();
    process.stdin().unwrap().write("a").await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(50), process.wait_for_exit()).await;
    assert!(waited.is_err(), "it reads on");
    process.stdin().unwrap().write("b\n").await.unwrap();
    assert!(process.wait_for_exit().await.unwrap().success());
    assert_eq!(process.wait_for(LONG, |_| true).await.unwrap().text(), "got ab");
}

/// This test runs itself again, as a program whose standard error is looked at.
#[tokio::test]
async fn a_command_is_shown_at_its_start_without_its_secrets() {
    const CALLED: &str = "LASTOUT_SHOWS";
    if std::env::var_os(CALLED).is_some() {
        let echo = Process::builder("echo").arg("two words").secret("hunter2").echo();
        echo.output().await.unwrap().check().unwrap();
        return;
    }
    let name = "a_command_is_shown_at_its_start_without_its_secrets";
    let again = Process::builder(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CALLED, "1")
        .timeout(LONG);
    let output = again.output().await.unwrap().check().unwrap();
    let text = output.stderr.text();
    assert!(text.contains("$ echo 'two words' ***\n") && !text.contains("hunter2"), "{text}");
}
