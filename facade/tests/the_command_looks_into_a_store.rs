//! `lastout jobs` and its like on a SQLite file: what they say as lines and as JSON, and their exit status.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

struct Store(PathBuf);

impl Store {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        Self(std::env::temp_dir().join(format!("lastout-command-{id}-{name}.db")))
    }

    fn command(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastout"));
        command.args(words).env("LASTOUT_STORE", &self.0).output().unwrap()
    }

    /// What it says, and its exit status.
    fn says(&self, words: &[&str]) -> (String, i32) {
        let output = self.command(words);
        let text = String::from_utf8(output.stdout).unwrap();
        (text.trim_end().to_owned(), output.status.code().unwrap())
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_slice(&self.command(&[words, &["--json"]].concat()).stdout).unwrap()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
        }
    }
}

#[test]
fn jobs_are_added_listed_shown_and_ordered() {
    let store = Store::new("orders");
    assert_eq!(store.says(&["jobs", "enqueue", "double", "21"]), ("1".into(), 0));
    let more = ["jobs", "enqueue", "mail", r#"{"to":"a"}"#, "--queue", "slow", "--delay", "1d"];
    assert_eq!(store.says(&more).1, 0);
    assert_eq!(store.says(&["jobs", "enqueue", "mail", "--unique", "k"]).1, 0);
    let again = store.command(&["jobs", "enqueue", "mail", "--unique", "k", "--json"]);
    assert_eq!(again.status.code(), Some(3));
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&again["id"], &again["is_new"]), (&3.into(), &false.into()));

    let (list, code) = store.says(&["jobs", "list"]);
    let ids: Vec<_> = list.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!((ids, code), (vec!["3", "2", "1"], 0));
    assert_eq!(store.json(&["jobs", "list", "--limit", "1"]).as_array().unwrap().len(), 1);
    assert_eq!(store.json(&["jobs", "list", "--queue", "slow"])[0]["payload"]["to"], "a");
    assert_eq!(store.json(&["jobs", "list", "--limit", "0"]), serde_json::json!([]));

    assert_eq!(store.json(&["jobs", "show", "1"])["payload"], 21);
    assert!(store.says(&["jobs", "show", "1"]).0.contains("kind\tdouble"));
    assert_eq!(store.says(&["jobs", "show", "99"]).1, 4);

    assert_eq!(store.says(&["jobs", "cancel", "1"]).1, 0);
    assert_eq!(store.json(&["jobs", "show", "1"])["state"], "cancelled");
    assert_eq!(store.says(&["jobs", "cancel", "1"]).1, 3);
    assert_eq!(store.says(&["jobs", "cancel", "2", "99"]).1, 4);
    assert_eq!(store.says(&["jobs", "retry", "1"]).1, 0);
    assert_eq!(store.json(&["jobs", "show", "1"])["state"], "ready");
    let counts = store.json(&["jobs", "stats"]);
    let jobs = |count: &Value| count["jobs"].as_u64().unwrap();
    assert_eq!(counts.as_array().unwrap().iter().map(jobs).sum::<u64>(), 3);
}

#[test]
fn queues_are_paused_and_resumed_once() {
    let store = Store::new("queues");
    assert_eq!(store.says(&["jobs", "enqueue", "a"]).1, 0);
    assert_eq!(store.says(&["queues", "pause", "q", "--by", "me"]), ("done".into(), 0));
    assert_eq!(store.says(&["queues", "pause", "q"]), ("nothing to do".into(), 3));
    assert_eq!(store.says(&["queues", "limit", "q", "4"]).1, 0);
    assert_eq!(store.says(&["queues"]), ("q\t4\tme".into(), 0));
    assert_eq!(store.says(&["queues", "resume", "q"]).1, 0);
    assert_eq!(store.json(&["queues"])[0]["paused_by"], Value::Null);
    assert_eq!(store.says(&["workers"]), (String::new(), 0));
    assert_eq!(store.json(&["cron"]), serde_json::json!([]));
    assert_eq!(store.says(&["cron", "drop", "none"]).1, 3);
}

#[test]
fn what_is_not_understood_is_2_and_a_look_makes_no_store() {
    let store = Store::new("none");
    for words in [
        &["jobs"][..],
        &["jobs", "list", "--state", "sleepy"],
        &["jobs", "list", "--colour", "red"],
        &["jobs", "list", "--limit", "-1"],
        &["jobs", "list", "--queue", "a", "--queue", "b"],
        &["jobs", "cancel"],
        &["jobs", "cancel", "all"],
        &["jobs", "abandon", "1"],
        &["jobs", "enqueue", "a", "{"],
        &["queues", "limit", "q", "many"],
    ] {
        assert_eq!(store.says(words).1, 2, "{words:?}");
    }
    for words in [&["jobs", "list"][..], &["queues"], &["workers"], &["cron"]] {
        assert_eq!(store.says(words).1, 1, "{words:?}");
    }
    assert!(!store.0.exists());
    let output = Command::new(env!("CARGO_BIN_EXE_lastout"))
        .args(["jobs", "list"])
        .env_remove("LASTOUT_STORE")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn no_password_is_printed() {
    let store = Store::new("password");
    let address = "postgres://me:secret@127.0.0.1:1/none";
    let output = store.command(&["jobs", "list", "--store", address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"));
}
