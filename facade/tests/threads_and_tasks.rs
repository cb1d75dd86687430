//! Services that are one closure or one future: asked to end, waited for, watched.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use lastout::supervisor::{Cause, Ending, Thread};
use lastout::{Restart, Supervisor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[test]
fn a_thread_is_asked_and_waited_for() {
    let turns = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&turns);
    let thread = Thread::spawn("meter", move |stopping| {
        while !stopping.is_asked() {
            std::thread::yield_now();
        }
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let supervisor = Supervisor::builder().member("meter", thread.unwrap()).build().unwrap();
    let report = supervisor.shutdown_blocking();
    assert_eq!(turns.load(Ordering::Relaxed), 1, "it had ended when the report came");
    assert_eq!(report.members[0].drained.ended[0].to_string(), "1 threads");
}

#[test]
fn a_thread_that_fails_is_started_again_and_given_up() {
    type Body = fn() -> Result<(), lastout::supervisor::Failure>;
    let bodies: [(Body, &str); 2] = [
        (|| Err("no such device".into()), "no such device"),
        (|| panic!("broken"), "it panicked: broken"),
    ];
    for (body, failure) in bodies {
        let policy = Restart::on_failure()
            .backoff(Duration::from_millis(1), Duration::from_millis(1))
            .limit(2, Duration::from_secs(60));
        let start = move || async move { Ok(Thread::spawn("it", move |_| body())?) };
        let supervisor = Supervisor::builder().service("it", policy, start).build().unwrap();
        let report = supervisor.run_blocking();
        assert_eq!(report.cause, Cause::Failed("it".into()));
        assert_eq!(report.members[0].failures, [failure; 3]);
        assert_eq!(report.members[0].restarts, 2);
    }
}

#[test]
fn a_thread_that_does_not_return_is_left_behind_by_name() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let thread = Thread::spawn("deaf", move |_| {
        let _ = held.recv();
        Ok(())
    });
    let supervisor = Supervisor::builder()
        .deadline(Duration::from_millis(10))
        .grace(Duration::from_millis(10))
        .member("deaf", thread.unwrap())
        .build()
        .unwrap();
    let report = supervisor.shutdown_blocking();
    assert_eq!(report.members[0].ending, Ending::Stuck);
    assert_eq!(report.left_behind().count(), 1);
    drop(release);
}

#[test]
fn a_name_with_a_nul_byte_is_refused() {
    assert!(Thread::spawn("a\0b", |_| Ok(())).is_err());
}

#[cfg(feature = "tokio")]
mod tasks {
    use super::*;
    use lastout::supervisor::Task;

    #[tokio::test]
    async fn a_task_that_does_not_listen_is_aborted_after_its_deadline() {
        let dropped = Arc::new(());
        let held = Arc::clone(&dropped);
        let task = Task::spawn(|_| async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        });
        let supervisor = Supervisor::builder()
            .deadline(Duration::from_millis(10))
            .grace(Duration::from_secs(30))
            .member("deaf", task)
            .build()
            .unwrap();
        let handle = supervisor.handle();
        let forced = async {
            while !handle.is_stopping() {
                tokio::task::yield_now().await;
            }
            handle.force();
        };
        let (report, ()) = tokio::join!(supervisor.shutdown(), forced);
        assert_eq!(report.members[0].ending, Ending::Forced);
        assert_eq!(report.members[0].drained.forced[0].to_string(), "1 tasks");
        assert_eq!(Arc::strong_count(&dropped), 1, "what the task held was dropped");
        assert!(report.is_clean());
    }

    #[tokio::test]
    async fn a_task_ends_in_the_blocking_form_too() {
        let task = Task::spawn(|stopping| async move {
            stopping.asked().await;
            Ok(())
        });
        let supervisor = Supervisor::builder().member("task", task).build().unwrap();
        let report = tokio::task::spawn_blocking(|| supervisor.shutdown_blocking()).await;
        assert_eq!(report.unwrap().members[0].ending, Ending::Drained);
    }
}
