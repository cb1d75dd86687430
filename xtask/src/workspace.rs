//! What the manifests say, from one call of `cargo metadata`.

use crate::command::Cmd;
use crate::console::{Console, Show};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The workspace and its members.
#[derive(Debug)]
pub struct Workspace {
    /// The folder of the root manifest.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target_dir: PathBuf,
    /// The members, in the order of the design: mechanisms, façade, xtask.
    pub packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Debug, Clone)]
pub struct Package {
    /// The name of the package.
    pub name: String,
    /// Its folder, relative to the root.
    pub folder: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Its features, with what each turns on.
    pub features: BTreeMap<String, Vec<String>>,
    /// Its targets.
    pub targets: Vec<Target>,
    /// The members it depends on, for users and not for tests.
    pub internal: Vec<String>,
    /// `[package.metadata.lastout]`.
    pub settings: Value,
}

/// A target of a package.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// `lib`, `test`, `example`, …
    pub kind: String,
    /// Whether a plain `cargo test` runs it.
    pub is_tested: bool,
}

impl Workspace {
    /// Reads the manifests of the workspace that xtask belongs to.
    ///
    /// # Errors
    ///
    /// When cargo cannot read them.
    pub fn load(console: &Console) -> Result<Self> {
        // Cargo says which checkout it runs in; two that share a target folder share this program.
        let folder = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let folder = folder.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        Self::load_from(console, folder.parent().context("xtask has a parent folder")?)
    }

    /// Reads the manifests of the workspace in `root`.
    ///
    /// # Errors
    ///
    /// When cargo cannot read them.
    pub fn load_from(console: &Console, root: &Path) -> Result<Self> {
        let done = Cmd::cargo()
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .dir(root)
            .show(Show::Never)
            .run(console)?;
        let json: Value = serde_json::from_str(&done.stdout).context("read cargo metadata")?;
        let root = PathBuf::from(text(&json["workspace_root"]));
        let mut packages: Vec<_> =
            list(&json["packages"]).map(|package| Package::read(package, &root)).collect();
        packages.sort_by_key(|package| {
            let late = ["lastout", "xtask"].iter().position(|name| *name == package.name);
            (late.map_or(0, |place| place + 1), package.folder.clone())
        });
        Ok(Self { target_dir: PathBuf::from(text(&json["target_directory"])), root, packages })
    }

    /// Flags for cargo that leave out the crates in progress.
    pub fn without_in_progress(&self) -> Vec<String> {
        let left_out = self.packages.iter().filter(|package| package.in_progress().is_some());
        left_out.flat_map(|package| ["--exclude".into(), package.name.clone()]).collect()
    }

    /// The libraries that `flags` ask for; those in progress only by name.
    pub fn checked_libraries<'a>(
        &'a self,
        flags: &'a crate::cli::Flags,
    ) -> impl Iterator<Item = &'a Package> {
        let named = flags.name.is_some();
        let wanted = self.libraries().filter(|package| flags.wants(package));
        wanted.filter(move |package| named || package.in_progress().is_none())
    }

    /// A few words on the crates that `flags` leaves out because they are in progress; a crate that is
    /// named is never left out.
    pub fn left_out(&self, flags: &crate::cli::Flags) -> String {
        let names: Vec<_> = self
            .packages
            .iter()
            .filter(|package| flags.name.is_none() && package.in_progress().is_some())
            .map(|package| package.folder.as_str())
            .collect();
        if names.is_empty() {
            String::new()
        } else {
            format!("; IN PROGRESS, left out: {}", names.join(", "))
        }
    }

    /// The members that users depend on: all but xtask.
    pub fn libraries(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| {
            package.targets.iter().any(|t| t.kind == "lib") && package.name != "xtask"
        })
    }
}

impl Package {
    fn read(json: &Value, root: &Path) -> Self {
        let manifest = PathBuf::from(text(&json["manifest_path"]));
        let dir = manifest.parent().unwrap_or(root).to_path_buf();
        let folder = dir.strip_prefix(root).unwrap_or(&dir).to_string_lossy().into_owned();
        let features = json["features"].as_object().into_iter().flatten();
        let internal = list(&json["dependencies"])
            .filter(|dependency| dependency["kind"] != "dev" && dependency["path"].is_string())
            .map(|dependency| text(&dependency["name"]).to_owned())
            .collect();
        Self {
            name: text(&json["name"]).into(),
            folder,
            dir,
            features: features
                .map(|(name, on)| (name.clone(), list(on).map(|on| text(on).into()).collect()))
                .collect(),
            targets: list(&json["targets"])
                .map(|target| Target {
                    name: text(&target["name"]).into(),
                    kind: text(&target["kind"][0]).into(),
                    is_tested: target["test"] == true,
                })
                .collect(),
            internal,
            settings: json["metadata"]["lastout"].clone(),
        }
    }

    /// Whether the person means this package: its name, its folder or its area.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.folder == name || self.settings["area"] == name
    }

    /// Names of the test targets that start with `prefix`.
    pub fn tests_named<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let tests = self.targets.iter().filter(|target| target.kind == "test");
        tests.map(|target| target.name.as_str()).filter(move |name| name.starts_with(prefix))
    }

    /// The strings of a list in `[package.metadata.lastout]`.
    pub fn setting(&self, key: &str) -> Vec<String> {
        list(&self.settings[key]).map(|value| text(value).to_owned()).collect()
    }

    /// Why its tests are left out of a run over everything; `None` for a crate that claims to be done.
    pub fn in_progress(&self) -> Option<&str> {
        self.settings["in-progress"].as_str()
    }

    /// Whether a source file of it may hold unsafe code.
    pub fn has_unsafe(&self) -> bool {
        self.settings["unsafe"].as_object().is_some_and(|files| !files.is_empty())
    }
}

/// The items of a JSON list; none when it is not a list.
pub(crate) fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}

/// A JSON string; empty when it is not a string.
pub(crate) fn text(json: &Value) -> &str {
    json.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_exactly_those_of_the_design() {
        let workspace = Workspace::load(&Console::new()).unwrap();
        let folders: Vec<_> = workspace.packages.iter().map(|p| p.folder.as_str()).collect();
        let expected = ["async-rt", "browser-pool", "cleanup-worker", "output-stream", "proc-tree"];
        assert_eq!(folders[..5], expected);
        assert_eq!(folders[5..], ["work-runner", "facade", "xtask"]);
        assert_eq!(workspace.libraries().count(), 7);
    }

    #[test]
    fn a_package_answers_to_its_name_folder_and_area() {
        let workspace = Workspace::load(&Console::new()).unwrap();
        for name in ["lastout-proc-tree", "proc-tree", "proc"] {
            assert_eq!(workspace.packages.iter().filter(|p| p.answers_to(name)).count(), 1);
        }
    }
}
