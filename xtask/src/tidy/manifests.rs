//! Rules about manifests: what is inherited, which crate may depend on which, what clippy bans.

use super::Finding;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result};

/// Which crate may depend on which: the arrows of ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("lastout-cleanup-worker", &[]),
    ("lastout-async-rt", &[]),
    ("lastout-proc-tree", &["lastout-cleanup-worker"]),
    ("lastout-output-stream", &["lastout-proc-tree"]),
    (
        "lastout-browser-pool",
        &[
            "lastout-cleanup-worker",
            "lastout-output-stream",
            "lastout-proc-tree",
        ],
    ),
    (
        "lastout-work-runner",
        &[
            "lastout-cleanup-worker",
            "lastout-output-stream",
            "lastout-proc-tree",
        ],
    ),
    (
        "lastout",
        &[
            "lastout-async-rt",
            "lastout-browser-pool",
            "lastout-cleanup-worker",
            "lastout-output-stream",
            "lastout-proc-tree",
            "lastout-work-runner",
        ],
    ),
    ("xtask", &[]),
];

/// Every way of starting something, or of leaving it behind, that `clippy.toml` must name.
const BANNED_CALLS: &[&str] = &[
    "tokio::spawn",
    "tokio::task::spawn",
    "tokio::task::spawn_local",
    "tokio::task::spawn_blocking",
    "std::thread::spawn",
    "std::thread::Builder::spawn",
    "std::thread::sleep",
    "std::process::Command::spawn",
    "std::process::Command::output",
    "std::process::Command::status",
    "tokio::process::Command::spawn",
    "std::process::exit",
    "std::mem::forget",
    "std::boxed::Box::leak",
    "std::fs::remove_dir_all",
];

/// Keys of `[package]` that every member takes from the workspace.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "authors"];

/// Checks every manifest and `clippy.toml`.
///
/// # Errors
///
/// When a file cannot be read.
pub fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let read = |path: &str| {
        std::fs::read_to_string(workspace.root.join(path)).with_context(|| format!("read {path}"))
    };
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let path = format!("{}/Cargo.toml", package.folder);
        findings.extend(
            inheritance(&read(&path)?)
                .into_iter()
                .map(|what| format!("{path}: {what}")),
        );
        let allowed = ARROWS
            .iter()
            .find(|(name, _)| *name == package.name)
            .map(|(_, allowed)| *allowed);
        findings.extend(arrows(&package.name, &package.internal, allowed));
    }
    findings.extend(bans(&read("clippy.toml")?));
    Ok(findings)
}

fn arrows(name: &str, internal: &[String], allowed: Option<&[&str]>) -> Vec<Finding> {
    let Some(allowed) = allowed else {
        return vec![format!("{name} is not a member that the design knows")];
    };
    let wrong = internal
        .iter()
        .filter(|dependency| !allowed.contains(&dependency.as_str()));
    wrong
        .map(|dependency| {
            format!("{name} may not depend on {dependency}: see the arrows in ARCHITECTURE.md")
        })
        .collect()
}

fn bans(clippy: &str) -> Vec<Finding> {
    let missing = BANNED_CALLS
        .iter()
        .filter(|path| !clippy.contains(&format!("path = \"{path}\"")));
    missing
        .map(|path| format!("clippy.toml: `{path}` is no longer banned"))
        .collect()
}

/// Reads a manifest line by line; the forms it knows are the forms we write.
fn inheritance(manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key in INHERITED {
        if !manifest
            .lines()
            .any(|line| line == format!("{key}.workspace = true"))
        {
            findings.push(format!("`{key}.workspace = true` is missing"));
        }
    }
    if !manifest.contains("[lints]\nworkspace = true") {
        findings.push("`[lints] workspace = true` is missing".into());
    }
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if is_dependency_list(section) && line.contains('=') && !line.starts_with('#') {
            let inherits = line.contains("workspace = true") || line.contains("path = \".\"");
            if !inherits {
                findings.push(format!(
                    "`{line}`: versions stand in the root manifest, here `workspace = true`"
                ));
            }
        }
    }
    findings
}

fn is_dependency_list(section: &str) -> bool {
    section == "dependencies"
        || section.ends_with("-dependencies")
        || section.ends_with(".dependencies")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_that_the_design_does_not_have_is_found() {
        let output = vec!["lastout-browser-pool".to_owned()];
        assert_eq!(
            arrows(
                "lastout-proc-tree",
                &output,
                Some(&["lastout-cleanup-worker"])
            )
            .len(),
            1
        );
        assert_eq!(arrows("lastout-stranger", &[], None).len(), 1);
        assert!(arrows("lastout", &output, Some(&["lastout-browser-pool"])).is_empty());
    }

    #[test]
    fn a_ban_that_was_taken_out_is_found() {
        let without =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../clippy.toml"))
                .unwrap();
        assert!(bans(&without).is_empty());
        let without = without.replace("std::mem::forget", "std::mem::x");
        assert_eq!(
            bans(&without),
            ["clippy.toml: `std::mem::forget` is no longer banned"]
        );
    }

    #[test]
    fn a_version_or_a_lint_table_of_its_own_is_found() {
        let good = "[package]\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
                    license.workspace = true\nauthors.workspace = true\n[dependencies]\nlibc.workspace = true\n\
                    [target.'cfg(lastout_loom)'.dependencies]\nloom = { workspace = true }\n[lints]\nworkspace = true\n";
        assert_eq!(inheritance(good), Vec::<String>::new());
        assert_eq!(
            inheritance(&good.replace("libc.workspace = true", "libc = \"0.2\"")).len(),
            1
        );
        assert_eq!(
            inheritance(&good.replace("[lints]\nworkspace = true", "")).len(),
            1
        );
        assert_eq!(
            inheritance(&good.replace("edition.workspace = true", "edition = \"2021\"")).len(),
            1
        );
    }
}
