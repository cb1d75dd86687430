//! The time limit of a process is one for its whole tree, and says what it did.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(all(feature = "process", feature = "tokio"))]

use lastout_output_stream::{ExitError, Process};
use lastout_proc_tree::audit::Audit;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn descendants_are_asked_as_soon_as_the_root_is_gone() {
    let audit = Audit::begin_in([]);
    // The shell ends at once, and its child would wait out the whole grace untold.
    let script = "sleep 600 & sleep 600; :";
    let begin = Instant::now();
    let output = Process::shell(script).timeout(SHORT).grace(LONG * 10).output().await.unwrap();
    assert!(begin.elapsed() < LONG * 5, "it did not wait for the grace");
    assert!(output.exit.timed_out);
    assert_eq!(output.exit.signal(), Some(15));
    assert_eq!(output.exit.code(), None);
    assert_eq!(output.exit.time_limit, Some(SHORT));
    let message = output.check().unwrap_err().to_string();
    assert_eq!(message, "run sh: ended because its time limit of 200ms was over");
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn elapsed_ends_with_the_root_and_begins_before_the_fork() {
    let script = "trap 'exit 7' TERM; (trap '' TERM; exec sleep 600) & wait";
    let outer = Instant::now();
    let mut process = Process::shell(script).timeout(SHORT).grace(LONG / 30).spawn().unwrap();
    let exit = process.wait().await.unwrap();
    let whole = outer.elapsed();
    assert_eq!(exit.code(), Some(7), "it was asked first");
    assert!(exit.timed_out && exit.elapsed >= SHORT);
    // The deaf child had its grace of 2 s after that; the root did not need it.
    assert!(exit.elapsed + LONG / 60 < whole, "{:?} of {whole:?}", exit.elapsed);

    let before = Instant::now();
    let mut quick = Process::shell("true").spawn().unwrap();
    let spawned = before.elapsed();
    let exit = quick.wait().await.unwrap();
    assert!(exit.elapsed * 2 >= spawned, "{:?}, started in {spawned:?}", exit.elapsed);
}

#[tokio::test]
async fn a_time_limit_holds_for_those_who_linger() {
    let audit = Audit::begin_in([]);
    for linger in [LONG * 5, Duration::MAX] {
        let begin = Instant::now();
        let builder = Process::shell("sleep 600 & echo x").linger(linger).timeout(SHORT);
        let output = builder.output().await.unwrap();
        assert!(begin.elapsed() < LONG);
        assert!(output.exit.timed_out && output.exit.code() == Some(0));
        assert_eq!(output.stdout.text(), "x\n");
        assert!(!output.exit.writers_left(), "they were ended, and the pipe with them");
    }
    audit.assert_clean(LONG);
}

#[test]
fn a_process_outlives_its_runtime_and_can_still_be_killed() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // What tokio keeps for signals is kept for ever: it is there before the audit begins.
    drop(runtime.worker_threads(1).enable_all().build().unwrap());
    let audit = Audit::begin_in([]);
    let runtime = runtime.build().unwrap();
    let spawn = || Process::shell("sleep 600 & echo up; wait").spawn().unwrap();
    let (killed, mut asked) = runtime.block_on(async {
        let both = (spawn(), spawn());
        for process in [&both.0, &both.1] {
            process.wait_for(LONG, |line| line.bytes == b"up").await.unwrap();
        }
        both
    });
    runtime.shutdown_background();
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(async {
        assert!(killed.kill(LONG).await.unwrap().is_clean());
        let politely = lastout_output_stream::tree::EndPolicy::new()
            .ask_all(lastout_output_stream::tree::Signal::TERM, LONG);
        assert!(asked.terminate(&politely).await.unwrap().is_clean());
        assert!(matches!(asked.wait().await, Err(ExitError::Aborted)));
    });
    drop((killed, asked, other));
    audit.assert_clean(LONG);
}

#[test]
fn a_runtime_without_a_timer_starts_no_process() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let audit = Audit::begin_in([]);
    let spawned = std::panic::catch_unwind(|| {
        runtime.block_on(async { Process::shell("sleep 600").spawn().map(drop) })
    });
    assert!(spawned.is_err(), "it says so at once, and not in a task");
    audit.assert_clean(LONG);
}
