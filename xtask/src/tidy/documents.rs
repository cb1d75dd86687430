//! Rules about prose: the files that must be there, READMEs that compile, shells that say so.

use super::{Finding, source::File};
use crate::workspace::Workspace;
use anyhow::Result;

/// Files that a reader looks for at the top.
const TOP: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "Cargo.lock",
];

/// The sentence by which a crate says that it is still empty.
const SHELL: &str = "**Status: an empty shell.**";

/// The words by which a crate says that it is not done.
const IN_PROGRESS: &str = "**Status: in progress.**";

/// Checks the documents of the tree.
///
/// # Errors
///
/// When a file cannot be read.
pub fn check(workspace: &Workspace, files: &[File]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for name in TOP {
        if !workspace.root.join(name).is_file() {
            findings.push(format!("{name} is missing"));
        }
    }
    let changelog =
        std::fs::read_to_string(workspace.root.join("CHANGELOG.md")).unwrap_or_default();
    if !changelog.lines().any(|line| line.starts_with("## Unreleased")) {
        findings.push("CHANGELOG.md has no section `## Unreleased`".into());
    }
    for package in workspace.libraries() {
        let readme = std::fs::read_to_string(package.dir.join("README.md")).unwrap_or_default();
        let root =
            files.iter().find(|file| file.package == package.name && file.inside == "src/lib.rs");
        let text = root.map_or("", |root| root.text.as_str());
        if package.in_progress().is_some() != readme.contains(IN_PROGRESS) {
            findings.push(format!(
                "{}/README.md: says `{IN_PROGRESS}` if, and only if, the manifest has `in-progress`",
                package.folder
            ));
        }
        findings.extend(readme_of(&package.folder, &readme, text));
    }
    Ok(findings)
}

fn readme_of(folder: &str, readme: &str, root: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if readme.is_empty() {
        findings.push(format!("{folder}/README.md is missing"));
    }
    if !root.contains("#![doc = include_str!(\"../README.md\")]") {
        findings.push(format!(
            "{folder}/src/lib.rs: the README is the crate doc, so that its examples are compiled"
        ));
    }
    let is_empty = !root.lines().any(|line| line.starts_with("pub ") || line.starts_with("mod "));
    if is_empty && !readme.contains(SHELL) {
        findings.push(format!(
            "{folder}/README.md: the crate exports nothing, and the README does not say `{SHELL}`"
        ));
    }
    if !is_empty && readme.contains(SHELL) {
        findings.push(format!(
            "{folder}/README.md says that the crate is a shell, which it no longer is"
        ));
    }
    if !is_empty && !readme.contains("```rust") {
        findings.push(format!("{folder}/README.md has no example that compiles"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "#![doc = include_str!(\"../README.md\")]\n";

    #[test]
    fn a_shell_says_so_and_nothing_else_does() {
        assert!(readme_of("x", SHELL, ROOT).is_empty());
        assert_eq!(readme_of("x", "Does much.", ROOT).len(), 1);
        let full = format!("{ROOT}mod tree;\n");
        assert!(readme_of("x", "```rust\n```", &full).is_empty());
        assert_eq!(readme_of("x", &format!("{SHELL}\n```rust\n```"), &full).len(), 1);
    }

    #[test]
    fn a_readme_that_is_not_compiled_is_found() {
        assert_eq!(readme_of("x", SHELL, "//! Docs.\n").len(), 1);
    }
}
