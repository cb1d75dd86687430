//! Rules about one source file: module docs, length, words that do not belong, sleeps, models.

use super::{Finding, source::File};
use crate::models;
use crate::workspace::Package;
use anyhow::Result;
use std::collections::BTreeSet;

/// Lines of a source file before it holds more than one idea.
const SOURCE_LINES: usize = 400;
/// Lines of a test file before it guards more than one guarantee.
const TEST_LINES: usize = 600;
/// Names that say nothing about what a file defines.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "types", "imp", "misc"];

/// The attribute by which a test is left out.
const IGNORED: &str = "ignore";

/// Words that may not stand in code, each with what to do instead.
fn banned() -> Vec<(String, &'static str)> {
    // Put together here, so that this file does not break its own rule.
    let word = |head: &str, tail: &str| format!("{head}{tail}");
    vec![
        (word("todo", "!("), "finish it, or leave it out and say so in the README"),
        (word("unimple", "mented!("), "finish it, or leave it out and say so in the README"),
        (
            word("cfg(lo", "om)"),
            "use cfg(lastout_loom): tokio hides its net and process under the bare one",
        ),
        (word("cfg(not(lo", "om))"), "use cfg(not(lastout_loom))"),
    ]
}

/// Checks one file.
pub fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line: usize, what: &str| findings.push(format!("{}:{line}: {what}", file.path));
    let first = file.text.lines().next().unwrap_or_default();
    let is_crate_doc = first.starts_with("#![doc = include_str!");
    if !first.starts_with("//!") && !is_crate_doc {
        find(
            1,
            "a module starts with `//!`: what it owns, which invariant it keeps, who may touch it",
        );
    }
    let cap = if file.is_test() { TEST_LINES } else { SOURCE_LINES };
    let lines = file.text.lines().count();
    if lines > cap && !file.may_be_long {
        find(
            lines,
            &format!(
                "{lines} lines, over the cap of {cap}: split it, or add it to `allow-long` in the manifest with the reason"
            ),
        );
    }
    let name = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    if EMPTY_NAMES.contains(&name) {
        find(1, &format!("`{name}` says nothing: name the file after the noun that it defines"));
    }
    let raw: Vec<_> = file.text.lines().collect();
    let banned = banned();
    for (index, code) in file.code.lines().enumerate() {
        for (word, instead) in &banned {
            if code.contains(word) {
                find(index + 1, &format!("`{word}`: {instead}"));
            }
        }
        if raw[index].ends_with([' ', '\t']) {
            find(index + 1, "white space at the end of the line");
        }
        if code.trim_start().starts_with("#[") && has_word(code, IGNORED) {
            find(index + 1, "a test runs or it is deleted");
        }
        if file.inside == "src/lib.rs" && code.contains("clippy::disallowed_methods") {
            find(index + 1, "the ban list holds for a crate: an exception stands at its item");
        }
        let sleeps = code.contains("thread::sleep(");
        if sleeps
            && !raw[index.saturating_sub(3)..=index].iter().any(|line| line.contains("// SLEEP:"))
        {
            find(
                index + 1,
                "a sleep is no synchronisation: wait on a condition, or say above it `// SLEEP: why`",
            );
        }
    }
    findings
}

/// Checks that every mutant has a model, and every model an invariant that is written down.
///
/// # Errors
///
/// When a source file cannot be read.
pub fn check_models(package: &Package, files: &[File]) -> Result<Vec<Finding>> {
    let ours: Vec<_> = files.iter().filter(|file| file.package == package.name).collect();
    let models: BTreeSet<_> = ours
        .iter()
        .filter(|file| file.inside.starts_with("src/model"))
        .flat_map(|file| file.code.lines().filter_map(model_invariant))
        .collect();
    let mut findings = Vec::new();
    for mutant in models::mutants_in(package)? {
        let named = models::invariant(&mutant).is_some_and(|invariant| models.contains(invariant));
        if !named {
            findings.push(format!(
                "{}: mutant `{mutant}` has no model of its invariant in src/model",
                package.folder
            ));
        }
    }
    let written = |invariant: &str| {
        let upper = invariant.to_uppercase();
        ours.iter()
            .flat_map(|file| file.text.lines())
            .any(|line| line.starts_with("//!") && has_word(line, &upper))
    };
    for invariant in models.iter().filter(|invariant| !written(invariant)) {
        findings.push(format!(
            "{}: models check {invariant}, which no module doc states",
            package.folder
        ));
    }
    Ok(findings)
}

/// `i3` of a line `fn i3_close_never_strands_a_task() {`.
fn model_invariant(line: &str) -> Option<&str> {
    let name = line.trim_start().strip_prefix("fn ")?;
    let invariant = name.split('_').next()?;
    let digits = invariant.strip_prefix('i')?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(invariant)
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric()).any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    fn file(inside: &str, text: &str) -> File {
        File {
            package: "p".into(),
            path: format!("p/{inside}"),
            inside: inside.into(),
            text: text.into(),
            code: source::code_of(text),
            may_be_long: false,
            for_tests: false,
        }
    }

    fn said(inside: &str, text: &str) -> String {
        check(&file(inside, text)).join("\n")
    }

    #[test]
    fn a_module_without_its_doc_is_found() {
        assert!(said("src/a.rs", "fn f() {}\n").contains("p/src/a.rs:1: a module starts with"));
        assert_eq!(said("src/a.rs", "//! Owns a.\nfn f() {}\n"), "");
    }

    #[test]
    fn a_long_file_is_found_and_tests_may_be_longer() {
        let text = format!("//! x\n{}", "fn f() {}\n".repeat(450));
        assert!(said("src/a.rs", &text).contains("451 lines"));
        assert_eq!(said("tests/a.rs", &text), "");
    }

    #[test]
    fn unfinished_and_ignored_code_is_found_but_not_in_comments() {
        let bad = format!("//! x\n#[ig{}]\nfn f() {{ todo{}) }}\n", "nore", "!(");
        assert_eq!(check(&file("src/a.rs", &bad)).len(), 2);
        assert_eq!(said("src/a.rs", &format!("//! x\n// todo{})\n", "!(")), "");
    }

    #[test]
    fn the_bare_loom_cfg_is_found() {
        let bad = format!("//! x\n#[cfg(lo{})]\nfn f() {{}}\n", "om");
        assert!(said("src/a.rs", &bad).contains("lastout_loom"));
    }

    #[test]
    fn a_sleep_without_a_reason_is_found() {
        let bad = "//! x\nfn f() {\n    std::thread::sleep(d);\n}\n";
        assert!(said("tests/a.rs", bad).contains("no synchronisation"));
        let good =
            "//! x\nfn f() {\n    // SLEEP: the load itself.\n    std::thread::sleep(d);\n}\n";
        assert_eq!(said("tests/a.rs", good), "");
    }

    #[test]
    fn a_model_names_its_invariant() {
        assert_eq!(model_invariant("    fn i3_close_strands_nothing() {"), Some("i3"));
        assert_eq!(model_invariant("fn inbox_works() {"), None);
    }
}
