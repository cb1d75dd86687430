//! The table of features in the README is the manifest, line by line.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};

const MANIFEST: &str = include_str!("../Cargo.toml");
const README: &str = include_str!("../README.md");

type Features = BTreeMap<String, BTreeSet<String>>;

/// The features of the manifest; `dep:` is not written in the table.
fn manifest() -> Features {
    let section = MANIFEST.split("[features]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let lines = section.lines().filter(|line| !line.starts_with('#'));
    let text: String = lines.collect::<Vec<_>>().join(" ");
    let mut features = Features::new();
    let mut rest = text.as_str();
    while let Some((name, after)) = rest.split_once('=') {
        let (list, after) = after.split_once(']').unwrap();
        let list = list.trim().trim_start_matches('[').split(',').map(str::trim);
        let words = list.filter(|word| !word.is_empty());
        let words = words.map(|word| word.trim_matches('"').trim_start_matches("dep:").to_owned());
        features.insert(name.trim().to_owned(), words.collect());
        rest = after;
    }
    features
}

fn table() -> Features {
    let section = README.split("## Features").nth(1).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let words = cells[1].split(',').map(|word| word.trim().trim_matches('`').to_owned());
        (cells[0].trim_matches('`').to_owned(), words.collect())
    })
    .collect()
}

#[test]
fn the_table_says_what_the_manifest_does() {
    let (mut manifest, mut table) = (manifest(), table());
    assert_eq!(manifest.remove("default"), Some(BTreeSet::new()));
    let full = manifest.remove("full").unwrap();
    let command = manifest.remove("cli").unwrap();
    assert_eq!(table.remove("cli").unwrap(), command, "the command is not part of `full`");
    assert_eq!(table.remove("full").unwrap(), BTreeSet::from(["all of the above".to_owned()]));
    assert_eq!(full, manifest.keys().cloned().collect(), "`full` is all the others");
    assert_eq!(table, manifest);
}

#[test]
fn what_cuts_across_turns_no_mechanism_on() {
    for name in ["tokio", "tracing", "metrics", "serde", "test-util"] {
        for word in &manifest()[name] {
            assert!(!word.starts_with("lastout") || word.contains("?/"), "{name}: {word}");
        }
    }
}

#[test]
fn the_cleanup_worker_alone_needs_nothing_else() {
    let words = &manifest()["cleanup-worker"];
    let strong: Vec<_> = words.iter().filter(|word| !word.contains("?/")).collect();
    assert_eq!(strong, ["lastout-cleanup-worker"]);
}
