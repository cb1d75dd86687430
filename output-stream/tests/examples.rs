//! The examples do what they say.
#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(feature = "pty")]

use lastout_output_stream::{Inlet, Process, ProcessBuilder};
use lastout_proc_tree::audit::Audit;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Cargo builds the examples of a package with its tests, one folder above theirs.
fn example(name: &str) -> ProcessBuilder {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} was not built: run the tests of the whole package", path.display());
    Process::builder(path).timeout(LONG)
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("lastout-{name}-{}", std::process::id()))
}

#[tokio::test]
async fn pipeline_counts_words() {
    let text = "the cat and the dog and the bird\n".repeat(10_000);
    let output = example("pipeline").stdin(text).output().await.unwrap().check().unwrap();
    let words: Vec<_> = output.stdout.text().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words[..4], ["30000", "the", "20000", "and"]);
    assert_eq!(output.stderr.text().lines().count(), 5, "{}", output.stderr);
}

#[tokio::test]
async fn repl_drives_a_program_by_its_prompt() {
    let output = example("repl").output().await.unwrap().check().unwrap();
    assert_eq!(output.stdout.text(), "1 + 2: = 3\n6 * 7: = 42\nlast: bye\n");
}

#[tokio::test]
async fn agent_reports_each_command_and_leaves_nothing() {
    let audit = Audit::begin_in([]);
    let commands =
        "echo fine\nsetsid sleep 600 & yes | head -c 100000\necho before; sleep 600\nexit 3\n";
    let output = example("agent").arg("1").stdin(commands).output().await.unwrap().check().unwrap();
    let text = output.stdout.text();
    for part in [
        "fine\n",
        "stdout, 100000 bytes, 96000 left out:",
        "before\n",
        ", out of time; ",
        "[exit status: 3; ",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    audit.assert_clean(LONG);
}

#[tokio::test]
async fn devrun_shows_every_line_behind_a_name_and_starts_again_on_a_change() {
    let audit = Audit::begin_in([]);
    let path = temporary("devrun");
    fs::write(&path, "1").unwrap();
    let cat = format!("one=cat {}; echo; exec sleep 600", path.display());
    let mut process = example("devrun")
        .arg("--watch")
        .arg(&path)
        .args([&*cat, "two=echo e >&2; setsid sleep 600 & exec sleep 600"])
        .stdin(Inlet::Null)
        .spawn()
        .unwrap();
    let mut prompts = process.prompts().unwrap();
    let wanted = ["\x1b[36mone\x1b[0m | 1\n", "\x1b[33mtwo\x1b[0m ! e\n"];
    let both = |_, seen: &[u8]| {
        let text = String::from_utf8_lossy(seen);
        wanted.iter().all(|line| text.contains(line)).then_some(seen.len())
    };
    prompts.wait_until(LONG, both).await.unwrap();
    fs::write(&path, "2").unwrap();
    prompts.wait_for(LONG, "stopped\n").await.unwrap();
    prompts.wait_for(LONG, "\x1b[36mone\x1b[0m | 2\n").await.unwrap();
    drop(prompts);
    process.kill(LONG).await.unwrap();
    process.wait().await.unwrap();
    drop(process);
    fs::remove_file(&path).unwrap();
    audit.assert_clean(LONG);

    let output = example("devrun").args(["a=exit 3", "b=echo x"]).output().await.unwrap();
    let text = output.check().unwrap().stdout.text();
    assert!(text.contains("a\x1b[0m exit status: 3") && text.contains("b\x1b[0m | x"), "{text}");
}

/// A word that is no UTF-8: `?` stands for the byte 0xFF.
fn word(text: &str) -> OsString {
    OsString::from_vec(text.bytes().map(|byte| if byte == b'?' { 0xFF } else { byte }).collect())
}

#[tokio::test]
async fn words_that_are_no_utf_8_are_taken_as_they_are() {
    let path = std::env::temp_dir().join(word(&format!("lastout-?-{}", std::process::id())));
    fs::write(&path, "seen\n").unwrap();
    let counted = example("pipeline").arg(&path).output().await.unwrap().check().unwrap();
    assert_eq!(counted.stdout.text().trim(), "1 seen");

    let run = "a?=printf '%s' '?' | od -An -tx1";
    let shown = example("devrun").arg(word(run)).output().await.unwrap().check().unwrap();
    let text = shown.stdout.text();
    assert!(text.contains("a\u{FFFD}\x1b[0m |  ff\n"), "{text}");
    let mut watching = example("devrun")
        .arg("--watch")
        .arg(&path)
        .arg("one=echo up; exec sleep 600")
        .spawn()
        .unwrap();
    let mut prompts = watching.prompts().unwrap();
    prompts.wait_for(LONG, "| up\n").await.unwrap();
    drop(prompts);
    watching.kill(LONG).await.unwrap();
    watching.wait().await.unwrap();
    fs::remove_file(&path).unwrap();

    let program = r#"while printf '\377'; read -r line; do printf '%s' "$line" | od -An -tx1; done; echo; echo end"#;
    let words = ["?", "a?", "--", "sh", "-c", program].map(word);
    let driven = example("repl").args(words).output().await.unwrap().check().unwrap();
    assert_eq!(driven.stdout.text(), "a\u{FFFD}: 61 ff\nlast: end\n");

    let refused = example("agent").arg(word("?")).output().await.unwrap();
    assert_eq!(refused.exit.code(), Some(1));
    assert!(refused.stderr.text().contains("SECONDS is no number"), "{refused:?}");
}
