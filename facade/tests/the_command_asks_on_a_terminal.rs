//! `lastout jobs` on a terminal: an order over a filter is asked about, and only a yes carries it out.

#![cfg(all(feature = "cli", feature = "test-util", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

use lastout::proc_tree::terminal;
use lastout::work_runner::sqlite::SqliteRegistry;
use lastout::work_runner::{NewJob, State, WorkDriver};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// Reads what the terminal shows, up to this text.
fn shown(terminal: &mut File, up_to: &str) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(up_to.as_bytes()) {
        terminal.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn an_order_over_a_filter_is_carried_out_after_a_yes_and_only_then() {
    let store = format!("lastout-command-{}-asks.db", std::process::id());
    let store = std::env::temp_dir().join(store);
    let driver = WorkDriver::producer(Arc::new(SqliteRegistry::open(&store).unwrap()));
    let mut jobs = Vec::new();
    for n in 0..3 {
        jobs.push(driver.enqueue(NewJob::new("mail", &n).unwrap()).await.unwrap().id());
    }
    // The fourth is the key that ends the input.
    for (key, is_yes) in
        [("n\n", false), ("\n", false), ("yesterday\n", false), ("\x04", false), ("Y\n", true)]
    {
        let (outer, inner) = terminal::open().unwrap();
        let mut outer = File::from(outer);
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastout"));
        command.args(["jobs", "cancel", "--kind", "mail"]).env("LASTOUT_STORE", &store);
        command.stdin(inner.try_clone().unwrap()).stderr(inner).stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        let question = shown(&mut outer, "[y/N] ");
        let place = format!("lastout: store {}\r\n", store.display());
        assert_eq!(question, place + "3 jobs match. cancel 3 of them? [y/N] ");
        outer.write_all(key.as_bytes()).unwrap();
        let Output { status, stdout, .. } = child.wait_with_output().unwrap();
        let said = (String::from_utf8(stdout).unwrap(), status.code());
        let (words, code, state) = match is_yes {
            true => ("done 3, refused 0\n", 0, State::Cancelled),
            false => ("nothing was done\n", 3, State::Ready),
        };
        assert_eq!(said, (words.to_owned(), Some(code)), "{key:?}");
        for job in &jobs {
            assert_eq!(driver.get(*job).await.unwrap().unwrap().state, state, "{key:?}");
        }
    }
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", store.display()));
    }
}
