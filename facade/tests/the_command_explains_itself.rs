//! The help, the manual and the completions of `lastout`: what they name is what there is.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn lastout(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lastout")).args(words).stdin(Stdio::null()).output().unwrap()
}

fn says(words: &[&str]) -> String {
    let output = lastout(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a program says to this input; `None` where it is not installed.
fn through(program: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program:?}: {output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{program:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_way_to_ask_for_help_answers_on_stdout() {
    let all = says(&["help"]);
    assert_eq!(says(&["--help"]), all);
    assert_eq!(says(&["-h"]), all);
    assert_eq!(says(&["jobs", "list", "--help"]), says(&["help", "jobs", "list"]));
    assert!(says(&["jobs", "--help"]).contains("lastout jobs enqueue KIND"));
    assert!(says(&["run", "--help"]).contains("--keep-output FILE"));
    assert_eq!(says(&["run", "--timeout", "5s", "--help", "sleep"]), says(&["run", "--help"]));
    assert_eq!(says(&["jobs", "list", "--limit", "3", "-h"]), says(&["help", "jobs", "list"]));
    assert_eq!(says(&["queues", "--help"]), says(&["help", "queues"]));
    assert_eq!(says(&["--version"]), says(&["version"]));
    for words in [&["help", "nothing"][..], &["nothing"], &["jobs", "lst"], &[], &["man", "page"]] {
        let output = lastout(words);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{words:?}");
    }
}

#[test]
fn bash_completes_commands_options_and_the_values_of_options() {
    let script = says(&["completions", "bash"]);
    for (words, wanted) in [
        ("bro", "browsers"),
        ("jobs enq", "enqueue"),
        ("jobs list --sta", "--state"),
        ("jobs list --state de", "dead"),
        ("queues --js", "--json"),
        ("run --keep", "--keep-output"),
        ("completions z", "zsh"),
        ("browsers capture --wait i", "idle"),
        ("jobs list --queue a", ""),
    ] {
        let at = words.split(' ').count();
        let input = format!(
            "{script}\nCOMP_WORDS=(lastout {words}); COMP_CWORD={at}; _lastout; echo \"${{COMPREPLY[*]}}\""
        );
        let said = through(&["bash", "--norc", "-s"], &input).unwrap();
        assert_eq!(said.trim(), wanted, "{words}");
    }
}

#[test]
fn zsh_and_fish_take_their_scripts_where_they_are_installed() {
    let script = says(&["completions", "zsh"]);
    assert!(script.starts_with("#compdef lastout\n"));
    // What `_describe` would offer is said instead.
    let input = format!(
        "compdef() {{ }}\n_describe() {{ print -r -- $offers }}\n{script}\n\
         words=(lastout jobs li); CURRENT=3; _lastout\n\
         words=(lastout jobs list --st); CURRENT=4; _lastout\n"
    );
    if let Some(said) = through(&["zsh", "-f", "-s"], &input) {
        assert!(said.contains("list:lists jobs, the newest first"), "{said}");
        assert!(said.contains("--state:only jobs in this state"), "{said}");
    }
    let script = says(&["completions", "fish"]);
    for (words, wanted) in
        [("bro", "browsers"), ("jobs enq", "enqueue"), ("jobs list --state de", "dead")]
    {
        let input = format!("{script}\ncomplete -C 'lastout {words}'\n");
        if let Some(said) = through(&["fish", "--no-config"], &input) {
            assert!(said.lines().any(|line| line.starts_with(wanted)), "{words}: {said}");
        }
    }
    assert_eq!(lastout(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn the_manual_names_every_command_and_troff_takes_it() {
    let page = says(&["man"]);
    for line in says(&["help"]).lines().filter(|line| line.starts_with("  ")) {
        let name = line.trim_start().split("  ").next().unwrap();
        if name.starts_with(|c: char| c.is_ascii_lowercase()) {
            let word = name.split(' ').next().unwrap();
            assert!(page.contains(&format!(".SS \"lastout {word}")), "{name}");
        }
    }
    if let Some(text) = through(&["groff", "-man", "-Tascii", "-ww"], &page) {
        // Bold letters are printed twice, one over the other.
        let mut plain = String::new();
        for c in text.chars() {
            match c {
                '\u{8}' => drop(plain.pop()),
                c => plain.push(c),
            }
        }
        assert!(plain.contains("--keep-output FILE"), "{plain}");
    }
}
