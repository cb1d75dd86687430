//! Rules about manifests: what is inherited, which crate may depend on which, what clippy bans.

use super::Finding;
use crate::provision::Need;
use crate::workspace::{Package, Target, Workspace};
use anyhow::{Context as _, Result};

/// Which crate may depend on which: the arrows of ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("lastout-cleanup-worker", &[]),
    ("lastout-async-rt", &[]),
    ("lastout-proc-tree", &["lastout-cleanup-worker"]),
    ("lastout-output-stream", &["lastout-proc-tree"]),
    (
        "lastout-browser-pool",
        &["lastout-cleanup-worker", "lastout-output-stream", "lastout-proc-tree"],
    ),
    (
        "lastout-work-runner",
        &["lastout-cleanup-worker", "lastout-output-stream", "lastout-proc-tree"],
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
const INHERITED: &[&str] = &["version", "edition", "license", "authors"];

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
    let root = read("Cargo.toml")?;
    for package in &workspace.packages {
        let path = format!("{}/Cargo.toml", package.folder);
        let manifest = read(&path)?;
        let wrong = inheritance(&manifest).into_iter().chain(oldest_compiler(&manifest, &root));
        findings.extend(wrong.map(|what| format!("{path}: {what}")));
        let allowed =
            ARROWS.iter().find(|(name, _)| *name == package.name).map(|(_, allowed)| *allowed);
        findings.extend(arrows(&package.name, &package.internal, allowed));
    }
    findings.extend(bans(&read("clippy.toml")?));
    for package in &workspace.packages {
        for name in ["clippy.toml", ".clippy.toml"] {
            if package.dir.join(name).exists() {
                let folder = &package.folder;
                findings
                    .push(format!("{folder}/{name}: it would replace the ban list of the root"));
            }
        }
        findings.extend(targets(package));
    }
    Ok(findings)
}

fn arrows(name: &str, internal: &[String], allowed: Option<&[&str]>) -> Vec<Finding> {
    let Some(allowed) = allowed else {
        return vec![format!("{name} is not a member that the design knows")];
    };
    let wrong = internal.iter().filter(|dependency| !allowed.contains(&dependency.as_str()));
    wrong
        .map(|dependency| {
            format!("{name} may not depend on {dependency}: see the arrows in ARCHITECTURE.md")
        })
        .collect()
}

/// A target that `cargo test` leaves out must be one that another command runs.
fn targets(package: &Package) -> Vec<Finding> {
    let left_out =
        package.targets.iter().filter(|target| target.kind == "test" && !target.is_tested);
    let lost =
        left_out.filter(|target| Need::of_test(&target.name).is_none() && target.name != "soak");
    let say = |target: &Target| {
        let name = &target.name;
        format!("{}: nobody runs the test target `{name}`: it has `test = false`", package.folder)
    };
    lost.map(say).collect()
}

fn bans(clippy: &str) -> Vec<Finding> {
    let lines: Vec<_> =
        clippy.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    let is_banned = |path: &str| {
        let entry = format!("path = \"{path}\"");
        lines.iter().any(|line| line.contains(&entry))
    };
    let missing = BANNED_CALLS.iter().filter(|path| !is_banned(path));
    missing.map(|path| format!("clippy.toml: `{path}` is no longer banned")).collect()
}

/// Reads a manifest line by line; the forms it knows are the forms we write.
fn inheritance(manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key in INHERITED {
        if !manifest.lines().any(|line| line == format!("{key}.workspace = true")) {
            findings.push(format!("`{key}.workspace = true` is missing"));
        }
    }
    if !manifest.contains("[lints]\nworkspace = true") {
        findings.push("`[lints] workspace = true` is missing".into());
    }
    if manifest.contains("cfg(loom)") {
        findings.push("`cfg(loom)`: use cfg(lastout_loom)".into());
    }
    let inherits = |line: &&&str| line.contains("workspace = true");
    for (section, lines) in sections(manifest) {
        let names: Vec<_> = section.rsplit('.').take(2).collect();
        let is_list = names.first().is_some_and(|name| is_dependency_list(name));
        let is_one = !is_list && names.get(1).is_some_and(|name| is_dependency_list(name));
        if is_one && !lines.iter().any(|line| inherits(&line)) {
            findings.push(format!("`[{section}]`: its version stands in the root manifest"));
        }
        // The tests of a crate that want a feature of it.
        let is_itself = |line: &str| section == "dev-dependencies" && line.contains("path = \".\"");
        let own = lines
            .iter()
            .filter(|line| is_list && line.contains('=') && !inherits(line) && !is_itself(line));
        findings
            .extend(own.map(|line| format!("`{line}`: its version stands in the root manifest")));
    }
    findings
}

/// A package may need a newer compiler than the workspace, and never an older one.
fn oldest_compiler(manifest: &str, root: &str) -> Option<Finding> {
    if manifest.lines().any(|line| line == "rust-version.workspace = true") {
        return None;
    }
    let minor = |text: &str| {
        let version = text.lines().find_map(|line| line.strip_prefix("rust-version = \"1."))?;
        version.trim_end_matches('"').parse::<u32>().ok()
    };
    let is_newer = minor(manifest).zip(minor(root)).is_some_and(|(own, least)| own > least);
    (!is_newer).then(|| "`rust-version` is neither the workspace's nor a newer one".into())
}

/// The sections of a manifest with their lines, comments left out.
fn sections(manifest: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in manifest.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            found.push((name, Vec::new()));
        } else if let Some((_, lines)) = found.last_mut() {
            lines.push(line);
        }
    }
    found
}

fn is_dependency_list(name: &str) -> bool {
    ["dependencies", "dev-dependencies", "build-dependencies"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_that_the_design_does_not_have_is_found() {
        let output = vec!["lastout-browser-pool".to_owned()];
        assert_eq!(
            arrows("lastout-proc-tree", &output, Some(&["lastout-cleanup-worker"])).len(),
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
        assert_eq!(bans(&without), ["clippy.toml: `std::mem::forget` is no longer banned"]);
    }

    #[test]
    fn a_package_may_need_a_newer_compiler_and_no_older_one() {
        let root = "[workspace.package]\nrust-version = \"1.85\"\n";
        assert_eq!(oldest_compiler("rust-version.workspace = true\n", root), None);
        assert_eq!(oldest_compiler("rust-version = \"1.95\"\n", root), None);
        for wrong in
            ["", "rust-version = \"1.85\"\n", "rust-version = \"1.80\"\n", "rust-version = \"\"\n"]
        {
            assert!(oldest_compiler(wrong, root).is_some(), "{wrong}");
        }
    }

    #[test]
    fn a_version_or_a_lint_table_of_its_own_is_found() {
        let good = "[package]\nversion.workspace = true\nedition.workspace = true\n\
                    license.workspace = true\nauthors.workspace = true\n[dependencies]\nlibc.workspace = true\n\
                    [target.'cfg(lastout_loom)'.dependencies]\nloom = { workspace = true }\n[lints]\nworkspace = true\n";
        assert_eq!(inheritance(good), Vec::<String>::new());
        assert_eq!(inheritance(&good.replace("libc.workspace = true", "libc = \"0.2\"")).len(), 1);
        let table = good.replace("[lints]", "[build-dependencies.x]\npath = \"../x\"\n[lints]");
        assert_eq!(inheritance(&table).len(), 1);
        assert_eq!(inheritance(&good.replace("[lints]\nworkspace = true", "")).len(), 1);
        assert_eq!(
            inheritance(&good.replace("edition.workspace = true", "edition = \"2021\"")).len(),
            1
        );
    }
}
