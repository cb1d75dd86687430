//! The unsafe budget: which files may hold unsafe code, and how much of it.

use super::{Finding, source::File};
use crate::workspace::Package;

/// Checks the files of one package against the budget in its manifest.
pub fn check(package: &Package, files: &[File]) -> Vec<Finding> {
    let budget = |inside: &str| package.settings["unsafe"][inside].as_u64().unwrap_or(0);
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.package == package.name) {
        let (count, allowed) = (count(&file.code), budget(&file.inside));
        if count > allowed {
            findings.push(format!(
                "{}: {count} unsafe blocks, functions or impls, {allowed} in the budget: move them to the file \
                 whose job it is, or raise `[package.metadata.lastout.unsafe]` where a reviewer sees it",
                file.path
            ));
        }
        if count < allowed {
            findings.push(format!(
                "{}: {count} unsafe, but a budget of {allowed}: lower it",
                file.path
            ));
        }
    }
    let root = files
        .iter()
        .find(|file| file.package == package.name && file.inside == "src/lib.rs");
    if !package.has_unsafe()
        && !root.is_some_and(|root| root.code.contains("#![forbid(unsafe_code)]"))
    {
        findings.push(format!(
            "{}/src/lib.rs: no unsafe budget, so it says `#![forbid(unsafe_code)]`",
            package.folder
        ));
    }
    findings
}

/// Unsafe blocks, functions, impls, traits and extern blocks; not attributes and not `unsafe fn(` types.
fn count(code: &str) -> u64 {
    let mut words = code.split_whitespace().peekable();
    let mut count = 0;
    while let Some(word) = words.next() {
        let opens = word == "unsafe"
            || word.ends_with("(unsafe")
            || word.ends_with("|unsafe")
            || word.ends_with("{unsafe");
        let next = words.peek().copied().unwrap_or_default();
        let begins = next.starts_with('{')
            || ["impl", "trait", "fn", "extern"].contains(&next)
            || next.starts_with("impl<");
        if (opens && begins) || word.contains("unsafe{") {
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unsafe_is_counted_and_what_is_only_named_so_is_not() {
        assert_eq!(
            count("unsafe { a() }; unsafe impl<T> Send for X {} unsafe fn f() {} f(unsafe { b })"),
            4
        );
        assert_eq!(
            count("#![deny(unsafe_code)] type F = unsafe fn(u8); let unsafe_ = 1;"),
            0
        );
    }
}
