//! The example CLI does what it says, on a store in a file.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::{Command, Output};
use support::Folder;

/// Cargo builds the examples of a package with its tests, one folder above theirs.
fn run(store: &Path, words: &[&str]) -> Output {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/jobs");
    #[allow(clippy::disallowed_methods, reason = "the program under test; waited for here")]
    let output = Command::new(&program).arg("--store").arg(store).args(words).output();
    output.unwrap_or_else(|error| panic!("run {}: {error}", program.display()))
}

fn said(store: &Path, words: &[&str]) -> String {
    let output = run(store, words);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The words of the line that begins with `first`.
fn line_of(text: &str, first: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(first));
    let line = line.unwrap_or_else(|| panic!("no line of {first} in:\n{text}"));
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn jobs_are_enqueued_listed_shown_cancelled_and_retried() {
    let folder = Folder::new();
    let store = folder.path().join("jobs.db");
    let enqueued =
        said(&store, &["enqueue", "mail", "{\"to\":7}", "--queue", "post", "--unique", "k"]);
    assert_eq!(enqueued.trim(), "New(JobId(1))");
    let again = said(&store, &["enqueue", "mail", "--queue", "post", "--unique", "k"]);
    assert_eq!(again.trim(), "Duplicate(JobId(1))");
    said(&store, &["enqueue", "later", "--delay", "3600"]);

    let list = said(&store, &["list"]);
    assert_eq!(line_of(&list, "1")[1..4], ["ready", "post", "mail"]);
    assert_eq!(line_of(&list, "2")[1..4], ["scheduled", "default", "later"]);
    assert_eq!(said(&store, &["list", "--state", "ready"]).lines().count(), 2);
    let show = said(&store, &["show", "1"]);
    assert!(show.contains("payload {\"to\":7}"), "{show}");

    assert_eq!(said(&store, &["cancel", "1"]).trim(), "Now(Cancelled)");
    assert_eq!(line_of(&said(&store, &["list", "--state", "cancelled"]), "1")[1], "cancelled");
    assert_eq!(line_of(&said(&store, &["stats"]), "post")[1..], ["cancelled", "1"]);
    assert_eq!(said(&store, &["retry", "1"]).trim(), "Now(Ready)");
    assert_eq!(line_of(&said(&store, &["stats"]), "post")[1..], ["ready", "1"]);

    assert!(!run(&store, &["show", "99"]).status.success());
    assert!(!run(&store, &["list", "--state", "asleep"]).status.success());
}
