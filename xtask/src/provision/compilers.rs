//! Compilers of other versions, from Debian's packages: unpacked into a folder under `target`, never installed.
//!
//! The machine's own toolchain has a standard library for one target, and one version. These bring the oldest version that we
//! promise, and the sources of the standard library, from which cargo builds it for any target.

use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// The one machine whose packages are known here.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// A compiler to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// The version that begins so, such as `1.85`.
    Version(&'a str),
    /// The newest one, with the sources of its standard library.
    WithSources,
}

/// An unpacked compiler.
#[derive(Debug, Clone)]
pub struct Compiler {
    root: PathBuf,
    /// Its version, such as `1.85.0`.
    pub version: String,
}

impl Compiler {
    /// The machine's own cargo, with this compiler.
    pub fn cargo(&self) -> Cmd {
        Cmd::cargo().once().env("RUSTC", self.root.join("rustc"))
    }

    /// The same, which builds the standard library as well: `crates` of it, for `target`.
    pub fn cargo_with_std(&self, command: &str, crates: &str, target: &str) -> Cmd {
        self.cargo()
            .arg(command)
            .arg(format!("-Zbuild-std={crates}"))
            .args(["--target", target])
            .env("RUSTC_BOOTSTRAP", "1")
    }

    /// The folder of its libraries for this machine.
    pub fn libraries(&self) -> PathBuf {
        self.root.join("usr/lib/rustlib").join(HOST).join("lib")
    }
}

/// The compiler, or why it cannot be had here.
///
/// # Errors
///
/// When a package that Debian offers cannot be unpacked.
pub fn provide(
    console: &Console,
    workspace: &Workspace,
    wanted: Wanted<'_>,
) -> Result<Result<Compiler, String>> {
    let folder = workspace.target_dir.join("compilers");
    let name = match wanted {
        Wanted::Version(version) => version,
        Wanted::WithSources => "sources",
    };
    let root = folder.join(name);
    if !root.join("rustc").is_file() {
        if let Some(why) = refusal(console) {
            return Ok(Err(why));
        }
        let Some(packages) = packages(console, wanted) else {
            return Ok(Err(format!(
                "the package sources of this system offer no rustc-web ({name})"
            )));
        };
        console.say(&format!("unpacking {} into {}", packages.join(" "), root.display()));
        unpack(console, &folder, &root, &packages)?;
    }
    let rustc = Cmd::new(root.join("rustc")).arg("--version");
    let line = find::version_of(console, &rustc)
        .with_context(|| format!("`{rustc}` does not run: remove {}", root.display()))?;
    let version = line.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok(Ok(Compiler { root, version }))
}

fn refusal(console: &Console) -> Option<String> {
    if find::on_path(&["apt-get"]).is_none() || find::on_path(&["dpkg"]).is_none() {
        return Some("needs Debian's apt-get and dpkg, which are not here".into());
    }
    (find::host(console).as_deref() != Some(HOST)).then(|| format!("needs the host {HOST}"))
}

/// The packages with their versions, as `apt-get download` takes them.
fn packages(console: &Console, wanted: Wanted<'_>) -> Option<Vec<String>> {
    let is_wanted = |version: &str| match wanted {
        Wanted::Version(prefix) => version.starts_with(&format!("{prefix}.")),
        Wanted::WithSources => true,
    };
    let offered = || {
        let text = show(console, "rustc-web")?;
        let versions = text.lines().filter_map(|line| line.strip_prefix("Version: "));
        versions.map(str::to_owned).find(|version| is_wanted(version))
    };
    let version = offered().or_else(|| {
        let update = Cmd::new("apt-get").args(["-qq", "update"]);
        find::is_root().then(|| update.try_run(console)).and_then(|_| offered())
    })?;
    let number: Vec<_> = version.split('.').take(2).collect();
    let library = format!("libstd-rust-web-{}", number.join("."));
    let depends = show(console, &format!("{library}={version}"))?;
    let llvm = depends
        .lines()
        .find_map(|line| line.strip_prefix("Depends: "))?
        .split([',', ' '])
        .find(|name| name.starts_with("libllvm"))?
        .to_owned();
    let mut all = vec![format!("{library}={version}"), llvm];
    let rest = ["rustc-web", "libstd-rust-web-dev", "rust-web-src"];
    let count = if wanted == Wanted::WithSources { 3 } else { 2 };
    all.extend(rest.iter().take(count).map(|name| format!("{name}={version}")));
    Some(all)
}

fn show(console: &Console, package: &str) -> Option<String> {
    let done = Cmd::new("apt-cache").args(["show", package]).show(Show::Never).run(console).ok()?;
    Some(done.stdout)
}

/// Unpacks into a folder beside, which gets its name when it is complete.
fn unpack(console: &Console, folder: &Path, root: &Path, packages: &[String]) -> Result<()> {
    let part = folder.join(format!("part-{}", std::process::id()));
    let downloads = part.join("downloads");
    std::fs::create_dir_all(&downloads).context("make a folder for the compiler")?;
    Cmd::new("apt-get").args(["-qq", "download"]).args(packages).dir(&downloads).run(console)?;
    for file in std::fs::read_dir(&downloads).context("read the downloads")? {
        Cmd::new("dpkg").arg("-x").arg(file?.path()).arg(&part).run(console)?;
    }
    let lib = root.join("usr/lib/x86_64-linux-gnu");
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
        lib.display(),
        root.join("usr/bin/rustc").display()
    );
    std::fs::write(part.join("rustc"), script).context("write the script that starts it")?;
    Cmd::new("chmod").arg("+x").arg(part.join("rustc")).run(console)?;
    Cmd::new("rm").arg("-r").arg(&downloads).run(console)?;
    std::fs::rename(&part, root).context("give the unpacked compiler its name")
}
