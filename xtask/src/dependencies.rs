//! Licences and versions of what we depend on, from the resolved graph.

use crate::cli::Flags;
use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::steps::Outcome;
use crate::workspace::{Workspace, list, text};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Licences that ask for nothing that MIT OR Apache-2.0 does not already give.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// `cargo xtask deps`.
///
/// # Errors
///
/// When a licence is not allowed, or a direct dependency is there twice.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    Flags::parse(parser, &[])?;
    dependencies(console, &Workspace::load(console)?).map(|outcome| outcome.report(console))
}

/// Checks the resolved graph of the workspace.
pub(crate) fn dependencies(console: &Console, workspace: &Workspace) -> Result<Outcome> {
    let done = Cmd::cargo()
        .args(["metadata", "--format-version", "1", "--all-features", "--locked"])
        .dir(&workspace.root)
        .show(Show::Never)
        .run(console)?;
    let json: Value = serde_json::from_str(&done.stdout).context("read cargo metadata")?;
    let mut problems = Vec::new();
    for package in list(&json["packages"]) {
        let licence = text(&package["license"]);
        if !is_allowed(licence) {
            problems
                .push(format!("{}: licence `{licence}` is not allowed", text(&package["name"])));
        }
    }
    problems.extend(doubled(&json));
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    let count = list(&json["packages"]).count() - workspace.packages.len();
    let advisories = "advisories are not checked: their database cannot be had offline";
    Ok(Outcome::passed(format!("{count} packages, licences and single versions; {advisories}")))
}

/// Whether an SPDX expression can be satisfied with allowed licences.
///
/// `OR` binds weaker than `AND`; parentheses nest; the old `/` means `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let allowed = any_of(&mut rest);
    allowed && rest.is_empty() && !words.is_empty()
}

fn any_of(words: &mut &[&str]) -> bool {
    let mut allowed = all_of(words);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        allowed |= all_of(words);
    }
    allowed
}

fn all_of(words: &mut &[&str]) -> bool {
    let mut allowed = one(words);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let allowed = any_of(words);
            let [")", rest @ ..] = *words else {
                return false;
            };
            *words = rest;
            allowed
        }
        [name, "WITH", exception, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(&format!("{name} WITH {exception}").as_str())
        }
        [name, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(name)
        }
        [] => false,
    }
}

/// What may be there twice: only declarations of the system's calls, and `ring` and `mio` name different
/// versions of them.
const MAY_BE_DOUBLED: [&str; 1] = ["windows-sys"];

/// Dependencies that a member names and that the graph holds in more than one version.
fn doubled(json: &Value) -> Vec<String> {
    let members: BTreeSet<_> = list(&json["workspace_members"]).map(text).collect();
    let (mut direct, mut versions) = (BTreeSet::new(), BTreeMap::<_, BTreeSet<_>>::new());
    for package in list(&json["packages"]) {
        versions.entry(text(&package["name"])).or_default().insert(text(&package["version"]));
        if members.contains(text(&package["id"])) {
            direct
                .extend(list(&package["dependencies"]).map(|dependency| text(&dependency["name"])));
        }
    }
    let twice = versions.into_iter().filter(|(name, found)| {
        found.len() > 1 && direct.contains(name) && !MAY_BE_DOUBLED.contains(name)
    });
    twice.map(|(name, found)| format!("{name} is there in versions {found:?}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_expression_is_allowed_when_it_can_be_satisfied() {
        for good in [
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "GPL-2.0 OR Zlib",
            "Apache-2.0 WITH LLVM-exception OR MIT",
        ] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT)", "MPL-2.0", "OR"] {
            assert!(!is_allowed(bad), "{bad}");
        }
    }

    #[test]
    fn a_direct_dependency_in_two_versions_is_found() {
        let json = serde_json::json!({
            "workspace_members": ["us"],
            "packages": [
                { "id": "us", "name": "us", "version": "1", "dependencies": [{ "name": "a" }] },
                { "id": "a1", "name": "a", "version": "1.0.0" },
                { "id": "a2", "name": "a", "version": "2.0.0" },
                { "id": "b1", "name": "b", "version": "1.0.0" },
                { "id": "b2", "name": "b", "version": "2.0.0" },
            ],
        });
        assert_eq!(doubled(&json), ["a is there in versions {\"1.0.0\", \"2.0.0\"}"]);
    }
}
