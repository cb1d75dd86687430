//! The blocking forms need no runtime, start no thread before a time limit, and keep what the async ones promise.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(feature = "process")]

use lastout_output_stream::{
    Channel, Config, ConsumerError, Inlet, Keep, Outlet, OutputError, Process, ProcessBuilder,
    Retry, StdinEnd, Stream, tree,
};
use lastout_proc_tree::audit::Audit;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn sh(line: &str) -> ProcessBuilder {
    Process::shell(line).timeout(LONG)
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_process_is_read_to_its_end_and_whoever_it_leaves_is_gone() {
    let audit = Audit::begin_in([]);
    let script = "echo out; echo err >&2; setsid sleep 600 & exit 3";
    let output = sh(script).output_blocking().unwrap();
    assert_eq!((output.stdout.text(), output.stderr.text()), ("out\n".into(), "err\n".into()));
    assert_eq!(output.exit.code(), Some(3));
    assert!(output.exit.writers_left() && output.tree.is_clean(), "{output:?}");
    let error = output.check().unwrap_err().to_string();
    assert_eq!(error, "run sh: exit status: 3; stderr: err");
    assert_eq!(sh("echo '  text'").read_blocking().unwrap(), "  text");
    audit.assert_clean(LONG);
}

#[test]
fn both_outputs_and_the_input_flow_at_once_whatever_their_size() {
    let audit = Audit::begin_in([]);
    let lines = (0..500_000).map(|n| n.to_string());
    let builder = sh("tee /dev/stderr").stdin(Inlet::lines(lines));
    let output = builder.output_within_blocking(Keep::all()).unwrap().check().unwrap();
    assert_eq!(output.stdout.text().lines().count(), 500_000);
    assert_eq!(output.stderr.text().lines().last(), Some("499999"));
    let report = output.stdin.unwrap();
    assert!(matches!(report.end, StdinEnd::Eof), "{report:?}");
    assert_eq!(report.written, output.stdout.total());
    audit.assert_clean(LONG);
}

#[test]
fn a_time_limit_ends_the_tree_and_keeps_what_was_written() {
    let audit = Audit::begin_in([]);
    let asked = Process::shell("trap 'echo asked; exit 0' TERM; echo early; sleep 600 & wait")
        .timeout(Duration::from_millis(300))
        .output_blocking()
        .unwrap();
    assert!(asked.exit.timed_out && !asked.success(), "{asked:?}");
    assert_eq!(asked.stdout.text(), "early\nasked\n");
    let deaf = Process::shell("trap '' TERM; echo early; setsid sleep 600 & while :; do :; done")
        .timeout(Duration::from_millis(300))
        .grace(Duration::from_millis(100))
        .output_blocking()
        .unwrap();
    assert!(deaf.exit.timed_out && deaf.exit.signal() == Some(9), "{deaf:?}");
    assert_eq!(deaf.stdout.text(), "early\n");
    audit.assert_clean(LONG);
}

#[test]
fn descendants_may_linger_within_the_time_limit_and_no_longer() {
    let audit = Audit::begin_in([]);
    let late = sh("(sleep 0.2; echo late) & echo now").linger(LONG).output_blocking().unwrap();
    assert_eq!(late.check().unwrap().stdout.text(), "now\nlate\n");
    let builder = Process::shell("sleep 600 & echo now").linger(LONG);
    let ended = builder.timeout(Duration::from_millis(200)).output_blocking().unwrap();
    assert!(ended.exit.timed_out && ended.stdout.text() == "now\n", "{ended:?}");
    audit.assert_clean(LONG);
}

#[test]
fn a_pipeline_runs_without_a_byte_through_the_caller() {
    let audit = Audit::begin_in([]);
    let output = sh("seq 100000").pipe(sh("grep 7")).pipe(sh("wc -l")).output_blocking().unwrap();
    assert_eq!(output.check().unwrap().stdout().text().trim(), "40951");
    let failed = sh("echo no >&2; exit 4").pipe(sh("cat")).output_blocking().unwrap();
    assert_eq!(failed.check().unwrap_err().stage, 1);
    let slow = sh("echo early; exec sleep 600").pipe(sh("cat"));
    let slow = slow.timeout(Duration::from_millis(300)).output_blocking().unwrap();
    assert!(slow.stages.iter().all(|stage| stage.exit.timed_out), "{slow:?}");
    assert_eq!(slow.stdout().text(), "early\n");
    let missing = sh("sleep 600").pipe(Process::builder("no-such-program-here"));
    let text = missing.output_blocking().unwrap_err().to_string();
    assert!(text.starts_with("start no-such-program-here: No such file"), "{text}");
    audit.assert_clean(LONG);
}

#[test]
fn every_line_is_shown_in_order_and_a_panic_ends_only_that() {
    let before = threads();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    let output = sh("seq 10000; echo err >&2")
        .on_line(move |channel, line| {
            into.lock().unwrap().push((channel, line.text().into_owned(), threads()));
        })
        .output_blocking()
        .unwrap();
    assert_eq!(output.exit.on_line, None);
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let out: Vec<_> = seen.iter().filter(|line| line.0 == Channel::Out).collect();
    assert!(out.iter().map(|line| line.1.parse::<u32>().unwrap()).eq(1..=10_000));
    assert_eq!(seen.len(), 10_001);
    let panics = sh("seq 5").on_line(|_, _| panic!("of a callback")).output_blocking().unwrap();
    let expected = ConsumerError::Panicked("of a callback".into());
    assert_eq!((panics.exit.on_line.clone(), panics.stdout.total()), (Some(expected), 10));
    // Tests run beside each other: a thread of ours would make it more in every line.
    assert!(seen.iter().any(|line| line.2 <= before), "it started a thread");
}

#[test]
fn a_payload_that_panics_when_it_is_dropped_ends_its_consumer_alone() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the destructor of a payload");
        }
    }
    let audit = Audit::begin_in([]);
    let output = sh("seq 5").on_line(|_, _| std::panic::panic_any(Bomb)).output_blocking().unwrap();
    assert!(matches!(output.exit.on_line, Some(ConsumerError::Panicked(_))), "{output:?}");
    assert_eq!(output.stdout.total(), 10);
    audit.assert_clean(LONG);
}

#[test]
fn a_command_is_tried_again_until_it_succeeds_or_its_attempts_are_used_up() {
    let audit = Audit::begin_in([]);
    let name = format!("lastout-attempts-of-a-blocking-form-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let ms = Duration::from_millis;
    let retry = Retry::attempts(5).backoff(ms(20), ms(40));
    // Two lines stand in the file after the second attempt.
    let third = sh("echo x >> \"$0\"; test $(wc -l < \"$0\") -ge 3").arg(&path);
    let begin = Instant::now();
    let output = third.output_with_retry_blocking(retry).unwrap();
    assert!(output.attempts == 3 && output.success(), "{output:?}");
    assert!(begin.elapsed() >= ms(60), "it waits between two attempts");
    let never = sh("exit 3").output_with_retry_blocking(Retry::attempts(2)).unwrap();
    assert_eq!((never.attempts, never.exit.code()), (2, Some(3)));
    let none = sh("true").output_with_retry_blocking(Retry::attempts(0)).unwrap_err();
    assert!(none.to_string().contains("zero times"), "{none}");
    let once = sh("true").stdin(Inlet::lines(["a"])).output_with_retry_blocking(retry);
    assert!(once.unwrap_err().to_string().contains("one start only"));
    std::fs::remove_file(&path).unwrap();
    audit.assert_clean(LONG);
}

#[test]
fn an_input_without_end_holds_up_no_time_limit() {
    let audit = Audit::begin_in([]);
    let endless = Inlet::lines(std::iter::repeat("x".repeat(4000)));
    let builder = Process::shell("exec cat > /dev/null").stdin(endless);
    let output = builder.timeout(Duration::from_millis(300)).output_blocking().unwrap();
    assert!(output.exit.timed_out, "{output:?}");
    audit.assert_clean(LONG);
}

#[test]
fn copies_and_files_get_every_byte_and_a_full_disk_is_named() {
    let audit = Audit::begin_in([]);
    let name = format!("lastout-copy-of-a-blocking-form-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let to = [Outlet::default(), Outlet::file(&path)];
    let output = sh("seq 50000").stdout(Outlet::tee(to)).output_blocking().unwrap();
    let output = output.check().unwrap();
    assert_eq!(std::fs::read(&path).unwrap().len() as u64, output.stdout.total());
    let full = Outlet::tee([Outlet::default(), Outlet::file("/dev/full")]);
    let output = sh("echo x").stdout(full).output_blocking().unwrap();
    assert_eq!(output.stdout.text(), "x\n");
    let text = output.check().unwrap_err().to_string();
    assert!(text.contains("copy stdout to /dev/full: failed after 0 bytes"), "{text}");
    let counted = sh("wc -l").stdin(Inlet::file(&path)).read_blocking().unwrap();
    assert_eq!(counted.trim(), "50000");
    std::fs::remove_file(&path).unwrap();
    audit.assert_clean(LONG);
}

#[test]
fn input_that_is_not_read_is_no_failure_and_one_that_panics_is() {
    let audit = Audit::begin_in([]);
    let endless = Inlet::lines(std::iter::repeat("y"));
    let output = sh("head -n 1").stdin(endless).output_blocking().unwrap().check().unwrap();
    assert!(matches!(output.stdin.unwrap().end, StdinEnd::BrokenPipe));
    let panics = Inlet::lines((0..3).map(|n| if n < 2 { "a" } else { panic!("of an iterator") }));
    let output = sh("cat").stdin(panics).output_blocking().unwrap();
    assert_eq!(output.stdout.text(), "a\na\n");
    let text = output.check().unwrap_err().to_string();
    assert!(text.contains("its source panicked: of an iterator"), "{text}");
    let piped = sh("cat; echo end").stdin(Inlet::Piped).output_blocking().unwrap();
    assert_eq!(piped.check().unwrap().stdout.text(), "end\n");
    audit.assert_clean(LONG);
}

#[test]
fn the_level_of_the_tree_makes_no_difference() {
    for level in [tree::Level::Evidence, tree::Level::Supervisor] {
        let containment = || tree::Containment::demand(level);
        for _ in 0..20 {
            let output = sh("true").contain(containment()).output_blocking().unwrap();
            assert!(output.success(), "{level}: {output:?}");
        }
        let killed = sh("kill -9 $$").contain(containment()).output_blocking().unwrap();
        assert_eq!(killed.exit.signal(), Some(9), "{level}");
    }
}

#[test]
fn a_single_reader_elsewhere_is_an_error_and_leaves_nobody() {
    let audit = Audit::begin_in([]);
    let config = Config::builder().single_subscriber().build().unwrap();
    let prepared = Stream::prepare(config);
    let lines = prepared.lines(Default::default()).unwrap();
    let error = sh("sleep 600").stdout(prepared).output_blocking().unwrap_err();
    assert!(matches!(error, OutputError::Subscribe(_)), "{error:?}");
    drop(lines);
    audit.assert_clean(LONG);
}

#[cfg(feature = "blocking")]
#[test]
fn a_reader_on_another_thread_slows_the_process_and_loses_nothing() {
    use lastout_output_stream::{Event, Policy, Position, Retain};
    let audit = Audit::begin_in([]);
    let config = Config::builder().retain(Retain::Nothing).window(64 * 1024).build().unwrap();
    let prepared = Stream::prepare(config);
    let mut reader = prepared.subscribe(Position::Start, Policy::Block).unwrap();
    std::thread::scope(|scope| {
        let read = scope.spawn(move || {
            let mut total = 0;
            while let Some(event) = reader.next_blocking() {
                if let Event::Data { bytes, .. } = event {
                    total += bytes.len();
                }
            }
            total
        });
        sh("head -c 20000000 /dev/zero").stdout(prepared).output_blocking().unwrap();
        assert_eq!(read.join().unwrap(), 20_000_000);
    });
    audit.assert_clean(LONG);
}

#[cfg(feature = "tokio")]
#[test]
fn a_task_that_has_used_up_its_turn_can_still_block_for_a_process() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let text = runtime.block_on(async {
        let used_up = tokio::spawn(async {
            while tokio::task::coop::has_budget_remaining() {
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                let turn = std::pin::pin!(tokio::task::coop::consume_budget());
                let _ = Future::poll(turn, &mut cx);
            }
            sh("seq 3").read_blocking()
        });
        used_up.await.unwrap()
    });
    assert_eq!(text.unwrap(), "1\n2\n3");
}

#[test]
fn many_at_once_on_many_threads_do_not_disturb_each_other() {
    let begin = Instant::now();
    let audit = Audit::begin_in([]);
    std::thread::scope(|scope| {
        for n in 0..8 {
            scope.spawn(move || {
                for _ in 0..5 {
                    let text = sh(&format!("cat; echo {n}")).stdin("x").read_blocking();
                    assert_eq!(text.unwrap(), format!("x{n}"));
                }
            });
        }
    });
    audit.assert_clean(LONG);
    assert!(begin.elapsed() < LONG);
}
