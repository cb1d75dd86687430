//! Says what this machine offers, and what a missing thing costs.

use crate::cli::Flags;
use crate::command::Cmd;
use crate::console::Console;
use crate::find;
use crate::provision::{chrome, postgres};
use anyhow::Result;
use std::path::Path;

/// `cargo xtask doctor`. It changes nothing, and a missing thing is no error.
///
/// # Errors
///
/// On an unknown flag.
pub fn run(console: &Console, parser: lexopt::Parser) -> Result<()> {
    Flags::parse(parser, &[])?;
    let (browser, shell) = chrome::find();
    let broken = chrome::refuse_broken_names().err().map(|error| error.to_string());
    let program = |path: Option<&Path>, cost: &str| match path {
        _ if broken.is_some() => Err(broken.clone().unwrap_or_default()),
        Some(path) => {
            let version = chrome::version(console, path).unwrap_or_else(|| "does not run".into());
            Ok(format!("{version}, {}", path.display()))
        }
        None => Err(cost.to_owned()),
    };
    let tool = |name: &str, cost: &str| match find::cargo_tool(name) {
        Some(path) => Ok(path.display().to_string()),
        None => Err(cost.to_owned()),
    };
    let version = |program: &str, cost: &str| {
        find::version_of(console, &Cmd::new(program).arg("--version")).ok_or(cost.to_owned())
    };
    let rows = [
        ("rustc", version("rustc", "nothing builds")),
        ("clippy", version("cargo-clippy", "`xtask lint` fails: rustup component add clippy")),
        ("rustfmt", version("rustfmt", "`xtask fmt` fails: rustup component add rustfmt")),
        (
            "nightly",
            find::nightly(console).ok_or("`xtask asan` and the docs.rs flavour are skipped".into()),
        ),
        ("kernel", kernel()),
        ("cgroup v2", cgroup()),
        ("pidfd", pidfd()),
        (
            "Chrome",
            program(
                browser.as_deref(),
                "installed by `xtask e2e` on Debian as root; or set CHROME",
            ),
        ),
        (
            "headless shell",
            program(shell.as_deref(), "installed likewise; or set LASTOUT_CHROME_HEADLESS_SHELL"),
        ),
        ("PostgreSQL", postgres_row(console)),
        (
            "nextest",
            tool(
                "nextest",
                "`xtask test` uses `cargo test`, one process for all tests of a target",
            ),
        ),
        ("valgrind", version("valgrind", "instruction counts cannot be taken by hand")),
    ];
    for (name, found) in rows {
        match found {
            Ok(what) => console.say(&format!("  {name:<15} {what}")),
            Err(cost) => console.say(&format!("  {name:<15} MISSING  {cost}")),
        }
    }
    Ok(())
}

fn kernel() -> Result<String, String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    release.map(|text| text.trim().to_owned()).map_err(|_| "no /proc: this is not Linux".into())
}

/// Where cgroup v2 is mounted, and whether a leaf can be made there.
fn cgroup() -> Result<String, String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4))?
    });
    let Some(mount) = mount else {
        return Err("not mounted: process trees are contained by weaker means".into());
    };
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let dir = Path::new(mount).join(own.trim_start_matches('/'));
    let leaf = dir.join(format!("lastout-doctor-{}", std::process::id()));
    let kill = dir.join("cgroup.kill").exists() || {
        // The root has no such file, its children do.
        std::fs::create_dir(&leaf).is_ok() && leaf.join("cgroup.kill").exists()
    };
    let writable = leaf.is_dir() || std::fs::create_dir(&leaf).is_ok();
    if leaf.is_dir() && std::fs::remove_dir(&leaf).is_err() {
        return Err(format!("{} could not be removed again", leaf.display()));
    }
    if !writable {
        return Err(format!(
            "{} is not writable: process trees are contained by weaker means",
            dir.display()
        ));
    }
    Ok(format!("{}, writable, cgroup.kill {}", dir.display(), if kill { "yes" } else { "no" }))
}

fn pidfd() -> Result<String, String> {
    let own = rustix::process::getpid();
    match rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()) {
        Ok(_) => Ok("works".into()),
        Err(error) => Err(format!("{error}: exits are polled")),
    }
}

fn postgres_row(console: &Console) -> Result<String, String> {
    let bin = postgres::find_binaries().ok_or("installed by `xtask e2e` on Debian as root")?;
    let version = find::version_of(console, &Cmd::new(bin.join("postgres")).arg("--version"));
    Ok(format!("{}, {}", version.unwrap_or_else(|| "does not run".into()), bin.display()))
}
