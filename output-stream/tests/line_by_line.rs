//! Lines are taken in a loop, with both channels, and a process that failed is the last thing it gives.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(all(feature = "process", feature = "tokio"))]

use lastout_output_stream::{
    Channel, ConsumerError, Ending, LineOptions, OutputError, Process, Separator,
};
use lastout_proc_tree::audit::Audit;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_loop_has_every_line_of_both_outputs_and_then_the_failure() {
    let script = "seq 50000; echo e1 >&2; exit 3";
    let mut lines = Process::shell(script).timeout(LONG).lines().unwrap();
    let (mut out, mut err) = (0, Vec::new());
    let failure = loop {
        match lines.try_next().await {
            Ok(Some((Channel::Out, line))) => {
                out += 1;
                assert_eq!(line.text(), out.to_string());
            }
            Ok(Some((Channel::Err, line))) => err.push(line.text().into_owned()),
            Ok(None) => panic!("it failed"),
            Err(error) => break error,
        }
    };
    assert_eq!((out, err), (50_000, vec!["e1".to_string()]));
    assert_eq!(failure.to_string(), "run sh: exit status: 3; stderr: e1");
    assert!(lines.next().await.is_none(), "it is told once");
    let mut good = Process::shell("echo x").lines().unwrap();
    assert!(good.next().await.unwrap().is_ok() && good.next().await.is_none());
}

#[tokio::test]
async fn a_wait_for_the_failure_can_be_dropped_and_made_again() {
    // The outputs end before the process does.
    let mut lines = Process::shell("echo x; exec >&- 2>&-; read l; exit 4")
        .stdin(lastout_output_stream::Inlet::Piped)
        .lines()
        .unwrap();
    let stdin = lines.process().take_stdin().unwrap();
    assert_eq!(lines.try_next().await.unwrap().unwrap().1.text(), "x");
    for _ in 0..3 {
        let waited = tokio::time::timeout(Duration::from_millis(20), lines.next()).await;
        assert!(waited.is_err());
    }
    drop(stdin);
    assert!(matches!(lines.next().await, Some(Err(OutputError::Failed(_)))));
}

#[test]
fn a_for_loop_needs_no_runtime_and_leaving_it_kills_the_tree() {
    // The first runtime of a program makes a pair of sockets, which tokio keeps.
    assert_eq!(Process::shell("true").lines_blocking().unwrap().count(), 0);
    let audit = Audit::begin_in([]);
    let mut seen = Vec::new();
    for line in Process::shell("echo a; echo b; setsid sleep 600 & exec sleep 600")
        .lines_blocking()
        .unwrap()
    {
        let (channel, line) = line.unwrap();
        assert_eq!(channel, Channel::Out);
        seen.push(line.text().into_owned());
        if seen.len() == 2 {
            break;
        }
    }
    assert_eq!(seen, ["a", "b"]);
    let last = Process::shell("echo a; exit 1").lines_blocking().unwrap().last().unwrap();
    assert!(matches!(last, Err(OutputError::Failed(_))));
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn a_callback_may_wait_between_lines_and_gets_them_in_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    let mut process = Process::shell("seq 200")
        .on_line_async(move |_, line| {
            let into = into.clone();
            async move {
                tokio::task::yield_now().await;
                into.lock().unwrap().push(line.text().parse::<u32>().unwrap());
            }
        })
        .spawn()
        .unwrap();
    assert_eq!(process.wait().await.unwrap().on_line, None);
    assert_eq!(*seen.lock().unwrap(), (1..=200).collect::<Vec<_>>());
    let panics = Process::shell("echo").on_line_async(|_, _| async { panic!("of a callback") });
    let exit = panics.output().await.unwrap().exit;
    assert_eq!(exit.on_line, Some(ConsumerError::Panicked("of a callback".into())));
}

#[tokio::test]
async fn what_a_line_is_holds_wherever_lines_are() {
    let options = LineOptions::builder().separator(Separator::Byte(0)).build().unwrap();
    let process = || Process::shell(r"printf 'a\nb\000c\000'").line_options(options);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    process()
        .on_line(move |_, line| into.lock().unwrap().push((line.text().into_owned(), line.ending)))
        .output()
        .await
        .unwrap();
    let expected = [("a\nb".to_string(), Ending::Byte), ("c".into(), Ending::Byte)];
    assert_eq!(*seen.lock().unwrap(), expected);
    let mut lines = process().lines().unwrap();
    assert_eq!(lines.try_next().await.unwrap().unwrap().1.text(), "a\nb");
    let waited = process().spawn().unwrap();
    assert_eq!(
        waited.wait_for(LONG, |line| line.bytes.starts_with(b"c")).await.unwrap().text(),
        "c"
    );
}
