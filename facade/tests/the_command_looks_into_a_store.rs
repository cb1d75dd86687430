//! `lastout jobs` and its like on a SQLite file: what they say as lines and as JSON, and their exit status.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

use lastout::work_runner::sqlite::SqliteRegistry;
use lastout::work_runner::{NewJob, WorkDriver};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

struct Store(PathBuf);

impl Store {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        Self(std::env::temp_dir().join(format!("lastout-command-{id}-{name}.db")))
    }

    fn command(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastout"));
        command.args(words).env("LASTOUT_STORE", &self.0).stdin(Stdio::null()).output().unwrap()
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
    assert_eq!(store.json(&["jobs", "show", "1"])["attempts"], serde_json::json!([]));
    let counts = store.json(&["jobs", "stats"]);
    let jobs = |count: &Value| count["jobs"].as_u64().unwrap();
    assert_eq!(counts.as_array().unwrap().iter().map(jobs).sum::<u64>(), 3);
}

#[test]
fn a_payload_is_stored_and_shown_as_it_was_written() {
    let store = Store::new("verbatim");
    let payload = r#"{"b": 18446744073709551617, "a": 0.1000000000000000055511, "b": 1e400}"#;
    assert_eq!(store.says(&["jobs", "enqueue", "sum", payload]).1, 0);
    let wanted = format!("\"payload\":{payload}");
    for words in [&["jobs", "show", "1", "--json"][..], &["jobs", "list", "--json"]] {
        let (shown, code) = store.says(words);
        assert!(code == 0 && shown.contains(&wanted), "{shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
    assert_eq!(store.says(&["jobs", "enqueue", "sum", "{\"b\":\n1}\n"]).1, 0);
    assert_eq!(store.json(&["jobs", "show", "2"])["payload"]["b"], 1);
    assert_eq!(store.says(&["jobs", "show", "2", "--json"]).0.lines().count(), 1);
}

#[test]
fn bytes_that_are_no_text_are_not_shown_as_json_of_the_job() {
    let store = Store::new("bytes");
    let registry = Arc::new(SqliteRegistry::open(&store.0).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let job = NewJob::raw("mail", b"{\"to\":\"\xff\"}".to_vec());
        WorkDriver::producer(registry).enqueue(job).await.unwrap();
    });
    assert_eq!(store.json(&["jobs", "show", "1"])["payload"], "{\"to\":\"\u{fffd}\"}");
}

#[test]
fn queues_are_paused_and_resumed_once() {
    let store = Store::new("queues");
    assert_eq!(store.says(&["jobs", "enqueue", "a"]).1, 0);
    assert_eq!(store.says(&["queues", "pause", "q", "--by", "me"]), ("done".into(), 0));
    assert_eq!(store.says(&["queues", "pause", "q"]), ("nothing to do".into(), 3));
    assert_eq!(store.says(&["queues", "limit", "q", "4"]).1, 0);
    assert_eq!(
        store.says(&["queues"]).0.lines().last().unwrap(),
        "q\tpaused by me\t0\t0\t4\t0\t0\t-"
    );
    assert_eq!(store.says(&["queues", "list"]).0.lines().count(), 2);
    assert_eq!(store.says(&["jobs", "pause", "q"]), ("nothing to do".into(), 3));
    assert_eq!(store.says(&["queues", "resume", "q"]).1, 0);
    assert_eq!(store.json(&["queues"])[1]["paused_by"], Value::Null);
    assert_eq!(store.json(&["queues"])[0]["ready"], 1);
    let top = store.says(&["jobs", "top", "--times", "2", "--every", "100ms"]);
    assert_eq!((top.0.lines().count(), top.1), (6, 0), "{}", top.0);
    assert_eq!(store.says(&["workers"]), (String::new(), 0));
    assert_eq!(store.json(&["cron"]), serde_json::json!([]));
    assert_eq!(store.says(&["cron", "drop", "none"]).1, 3);
}

#[test]
fn a_periodic_job_is_fired_once_more_and_its_time_stays() {
    let store = Store::new("fire");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let driver = WorkDriver::producer(Arc::new(SqliteRegistry::open(&store.0).unwrap()));
        let job = NewJob::new("report", &7).unwrap();
        driver.put_periodic("nightly", "0 3 * * *", job).await.unwrap();
    });
    let before = store.json(&["cron"]);
    assert_eq!(store.says(&["cron", "fire", "nightly"]), ("done".into(), 0));
    assert_eq!(store.json(&["cron", "fire", "nightly"])["changed"], true);
    assert_eq!(store.json(&["cron"]), before);
    assert_eq!(store.json(&["jobs", "list", "--kind", "report"]).as_array().unwrap().len(), 2);
    assert_eq!(store.says(&["cron", "fire", "none"]), ("nothing to do".into(), 3));
    assert_eq!(store.says(&["cron", "fire"]).1, 2);
}

#[test]
fn a_periodic_job_is_paused_and_resumed_once() {
    let store = Store::new("pauses");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let driver = WorkDriver::producer(Arc::new(SqliteRegistry::open(&store.0).unwrap()));
        let job = NewJob::new("report", &7).unwrap();
        driver.put_periodic("nightly", "0 3 * * *", job).await.unwrap();
    });
    assert_eq!(store.says(&["cron", "pause", "nightly", "--by", "ann"]), ("done".into(), 0));
    assert_eq!(store.says(&["cron", "pause", "nightly"]), ("nothing to do".into(), 3));
    assert_eq!(store.json(&["cron"])[0]["paused_by"], "ann");
    assert_eq!(store.says(&["cron", "resume", "nightly"]), ("done".into(), 0));
    assert_eq!(store.says(&["cron", "resume", "nightly"]), ("nothing to do".into(), 3));
    assert_eq!(store.json(&["cron"])[0]["paused_by"], Value::Null);
    assert_eq!(store.says(&["cron", "pause", "none"]).1, 3);
}

#[test]
fn rates_of_queues_and_keys_are_set_shown_and_lifted() {
    let store = Store::new("rates");
    assert_eq!(store.says(&["jobs", "enqueue", "a"]).1, 0);
    assert_eq!(store.says(&["queues", "rate", "mail", "50/1s", "--burst", "5"]).1, 0);
    assert_eq!(store.says(&["queues", "rate", "ann", "100/1h", "--key"]), ("done".into(), 0));
    let mail = serde_json::json!({ "max": 50, "per_ms": 1000, "burst": 5 });
    assert_eq!(store.json(&["queues"])[1]["rate"], mail);
    let rates = store.says(&["queues", "rates"]).0;
    let rates: Vec<_> = rates.lines().collect();
    assert_eq!(rates, ["queue\tmail\t50 per 1s, 5 at once", "key\tann\t100 per 3600s"]);
    assert_eq!(store.says(&["queues", "rate", "mail", "none"]).1, 0);
    let left = serde_json::json!([
        { "of": "key", "name": "ann", "max": 100, "per_ms": 3_600_000, "burst": 100 }
    ]);
    assert_eq!(store.json(&["queues", "rates"]), left);
    for bad in ["many", "5", "/1s", "5/", "-1/1s", "5/1y", "0x5/1s"] {
        assert_eq!(store.says(&["queues", "rate", "q", bad]).1, 2, "{bad}");
    }
    assert_eq!(store.says(&["queues", "rate", "q", "none", "--burst", "1"]).1, 2);
    // What no store can keep.
    for bad in ["0/1s", "5/0s", "5/400d", "4294967295/1s"] {
        assert_eq!(store.says(&["queues", "rate", "q", bad]).1, 1, "{bad}");
    }
    assert_eq!(store.json(&["queues", "rates"]), left);
}

#[test]
fn the_counts_are_gauges_for_prometheus_whatever_a_queue_is_called() {
    let store = Store::new("gauges");
    assert_eq!(store.says(&["jobs", "enqueue", "a", "--queue", "say \"hi\"\\"]).1, 0);
    assert_eq!(store.says(&["jobs", "enqueue", "a", "--delay", "1d"]).1, 0);
    let (text, code) = store.says(&["jobs", "stats", "--prometheus"]);
    assert_eq!(code, 0);
    let lines: Vec<_> = text.lines().collect();
    let ready = r#"lastout_jobs{queue="say \"hi\"\\",state="ready"} 1"#;
    assert!(lines.contains(&ready), "{text}");
    assert!(lines.contains(&"lastout_workers 0"), "{text}");
    let oldest = r#"lastout_oldest_ready_seconds{queue="say \"hi\"\\"} "#;
    let oldest = lines.iter().find_map(|line| line.strip_prefix(oldest)).unwrap();
    assert!(oldest.parse::<f64>().unwrap() < 60.0, "{text}");
    let kinds = lines.iter().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(kinds, 3, "{text}");
    assert_eq!(store.says(&["jobs", "stats", "--prometheus", "--json"]).1, 2);
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
        &["jobs", "cancel", "1", "--all"],
        &["jobs", "cancel", "--kind", "a", "--all", "--yes"],
        &["jobs", "cancel", "1", "--dry-run"],
        &["jobs", "retry", "--kind", "a", "--yes"],
        &["jobs", "show", "1", "--queue", "q"],
        &["jobs", "prune"],
        &["jobs", "list", "--worker", "xyz"],
        &["jobs"],
        &["queues", "lst"],
        &["queues", "pause"],
        &["cron", "drop"],
        &["workers", "all"],
        &["jobs", "abandon", "1"],
        &["jobs", "enqueue", "a", "{"],
        &["queues", "limit", "q", "many"],
        // What a shell makes of a variable that is not set.
        &["jobs", "enqueue", "", "1"],
        &["jobs", "enqueue", "a", "1", "--queue", ""],
        &["queues", "pause", ""],
        &["jobs", "list", "--kind="],
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
fn an_order_over_a_filter_counts_first_and_needs_a_yes() {
    let store = Store::new("many");
    for n in 0..3 {
        assert_eq!(store.says(&["jobs", "enqueue", "double", &n.to_string()]).1, 0);
    }
    assert_eq!(store.says(&["jobs", "enqueue", "mail"]).1, 0);
    let states =
        |state: &str| store.json(&["jobs", "list", "--state", state]).as_array().unwrap().len();
    // stdin is no terminal: nothing can be asked.
    let output = store.command(&["jobs", "cancel", "--kind", "double"]);
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(words.contains("3 jobs match: say --yes to cancel them"), "{words}");
    assert!(words.starts_with(&format!("lastout: store {}", store.0.display())), "{words}");
    let dry = ["jobs", "cancel", "--kind", "double", "--dry-run"];
    assert_eq!(store.says(&dry), ("3 jobs match".into(), 0));
    assert_eq!(states("ready"), 4);
    let two = ["jobs", "cancel", "--kind", "double", "--limit", "2", "--yes"];
    assert_eq!(store.says(&two), ("done 2, refused 0".into(), 0));
    assert_eq!(states("cancelled"), 2);
    let retried = store.json(&["jobs", "retry", "--state", "cancelled", "--yes"]);
    assert_eq!(retried, serde_json::json!({ "matched": 2, "done": 2, "refused": 0 }));
    assert_eq!(store.says(&["jobs", "delete", "--all", "--yes"]), ("done 0, refused 4".into(), 3));
    assert_eq!(
        store.says(&["jobs", "cancel", "--kind", "none", "--yes"]),
        ("0 jobs match".into(), 3)
    );
}

#[test]
fn a_payload_comes_from_stdin_and_a_wait_ends_with_the_job_or_the_time() {
    let store = Store::new("wait");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastout"));
    command.args(["jobs", "enqueue", "double", "-"]).env("LASTOUT_STORE", &store.0);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"n\": 21}").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(store.json(&["jobs", "show", "1"])["payload"]["n"], 21);
    assert_eq!(store.says(&["jobs", "wait", "1", "--timeout", "100ms"]), ("ready".into(), 3));
    assert_eq!(store.says(&["jobs", "cancel", "1"]).1, 0);
    assert_eq!(store.says(&["jobs", "wait", "1"]), ("cancelled".into(), 1));
    assert_eq!(store.says(&["jobs", "wait", "9"]).1, 4);
}

#[test]
fn a_store_is_made_looked_over_and_pruned() {
    let store = Store::new("upkeep");
    assert_eq!(store.says(&["jobs", "migrate"]).1, 0);
    assert!(store.0.exists());
    let findings = store.json(&["jobs", "doctor"]);
    let says = |word: &str| {
        let rows = findings.as_array().unwrap().iter();
        rows.filter(|row| row["what"].as_str().unwrap().contains(word)).count()
    };
    assert!(says("clock") == 1 && says("trees") == 1 && says("workers: 0") == 1, "{findings}");
    assert_eq!(store.says(&["jobs", "enqueue", "a"]).1, 0);
    assert_eq!(store.says(&["jobs", "cancel", "1"]).1, 0);
    assert_eq!(store.says(&["jobs", "prune", "--older", "1d"]), ("pruned 0".into(), 3));
    assert_eq!(store.says(&["jobs", "prune", "--older", "0"]), ("pruned 1".into(), 0));
    assert_eq!(store.json(&["jobs", "list"]), serde_json::json!([]));
}

#[test]
fn a_job_that_waits_in_a_paused_queue_is_no_fault() {
    let store = Store::new("paused");
    let registry = Arc::new(SqliteRegistry::open(&store.0).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hours_ago = SystemTime::now() - Duration::from_secs(5 * 3_600);
    runtime.block_on(async {
        let job = NewJob::new("mail", &1).unwrap().queue("slow").run_at(hours_ago);
        WorkDriver::producer(registry).enqueue(job).await.unwrap();
    });
    let finding = |text: &str| {
        let findings = store.json(&["jobs", "doctor"]);
        let mut findings = findings.as_array().unwrap().clone();
        findings.retain(|it| it["what"].as_str().unwrap().starts_with(text));
        findings.first().map(|it| it["is_fault"].as_bool().unwrap())
    };
    let (late, paused) = ("the oldest ready job has", "the oldest ready job of a paused queue has");
    assert_eq!((finding(late), finding(paused)), (Some(true), None));
    assert_eq!(store.says(&["queues", "pause", "slow"]).1, 0);
    assert_eq!((finding(late), finding(paused)), (Some(false), Some(false)));
}

#[test]
fn the_console_is_served_until_a_signal_and_is_read_only_unless_it_is_asked() {
    let store = Store::new("console");
    assert_eq!(store.says(&["jobs", "enqueue", "a"]).1, 0);
    assert_eq!(store.says(&["console", "--listen", "0.0.0.0:0"]).1, 1);
    assert_eq!(store.says(&["console", "--listen", "nowhere"]).1, 1);
    assert_eq!(store.says(&["console", "--host", "a b"]).1, 2);
    for (options, may_order) in [(&[][..], false), (&["--allow-orders", "--payloads"], true)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastout"));
        command.args(["console", "--listen", "127.0.0.1:0", "--name", "shop"]).args(options);
        command.env("LASTOUT_STORE", &store.0).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().trim_end_matches('/');
        let page = |path: &str| {
            let mut socket = TcpStream::connect(address).unwrap();
            write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut text = String::new();
            socket.read_to_string(&mut text).unwrap();
            text
        };
        assert!(page("/").contains("shop") && page("/jobs").contains("/jobs/1"));
        assert_eq!(page("/jobs/1").contains("order=cancel"), may_order);
        assert_eq!(page("/jobs/1").contains("<h2>Payload</h2>"), may_order);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn no_password_is_printed() {
    let store = Store::new("password");
    let address = "postgres://me:secret@127.0.0.1:1/none?password=secret";
    for words in
        [&["jobs", "list"][..], &["jobs", "cancel", "--all", "--yes"], &["jobs", "migrate"]]
    {
        let output = store.command(&[words, &["--store", address]].concat());
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"), "{words:?}");
    }
}
