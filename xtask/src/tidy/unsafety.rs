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
    let ours = |inside: &str| {
        files.iter().find(|file| file.package == package.name && file.inside == inside)
    };
    let budgeted = package.settings["unsafe"].as_object();
    for inside in budgeted.into_iter().flat_map(serde_json::Map::keys) {
        if ours(inside).is_none() {
            findings.push(format!("{}/{inside}: has a budget, but is not there", package.folder));
        }
    }
    let in_source = |file: &&File| file.package == package.name && file.inside.starts_with("src/");
    let holds_some = files.iter().filter(in_source).any(|file| count(&file.code) > 0);
    let forbids =
        ours("src/lib.rs").is_some_and(|root| root.code.contains("#![forbid(unsafe_code)]"));
    if !holds_some && !forbids {
        findings.push(format!(
            "{}/src/lib.rs: nothing in src is unsafe, so it says `#![forbid(unsafe_code)]`",
            package.folder
        ));
    }
    findings
}

/// Every `unsafe` that opens a block, declares something or marks an attribute; not the type
/// `unsafe fn(…)`.
fn count(code: &str) -> u64 {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let places = code.match_indices("unsafe").filter(|(at, word)| {
        let after = &code[at + word.len()..];
        !code[..*at].ends_with(is_word) && !after.starts_with(is_word) && !is_pointer_type(after)
    });
    places.count() as u64
}

/// Whether what follows `unsafe` is the rest of a function pointer's type.
fn is_pointer_type(after: &str) -> bool {
    let after = after.trim_start();
    let after = match after.strip_prefix("extern") {
        // The name of the ABI is blanked, its quotes are left.
        Some(abi) => abi.trim_start_matches([' ', '"']),
        None => after,
    };
    after.strip_prefix("fn").is_some_and(|rest| rest.trim_start().starts_with('('))
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
        assert_eq!(count("#![deny(unsafe_code)] type F = unsafe fn(u8); let unsafe_ = 1;"), 0);
        assert_eq!(count("type G = unsafe extern \" \" fn(u8);"), 0);
        assert_eq!(
            count("!unsafe { a }; [unsafe {b}]; 0..unsafe { c } #[unsafe(x)] *unsafe{d}"),
            5
        );
    }
}
