//! Packages outside of the workspace, as users write them: the façade with each feature, each crate
//! alone, two crates together. Each uses what it turned on.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a package turns on, and a line that only compiles when it got it.
const FACADE: &[(&str, &str)] = &[
    ("", "pub use lastout::Supervisor;"),
    ("cleanup-worker", "pub use lastout::cleanup_worker::CleanupWorker;"),
    ("async-rt", "pub use lastout::async_rt::net::TcpListener;"),
    ("proc-tree", "pub use lastout::proc_tree::Tree;"),
    ("output-stream", "pub use lastout::output_stream::Stream;"),
    ("process", "pub use lastout::output_stream::Process;"),
    ("browser-pool", "pub use lastout::browser_pool::BrowserPool;"),
    ("work-runner", "pub use lastout::work_runner::MemoryRegistry;"),
    ("sqlite", "pub use lastout::work_runner::sqlite::SqliteRegistry;"),
    ("postgres", "pub use lastout::work_runner::postgres::PostgresRegistry;"),
    ("tls", "pub use lastout::work_runner::postgres::PostgresRegistry;"),
    ("tokio", "pub use lastout::supervisor::Task;"),
    ("tracing", "pub use lastout::Drain;"),
    ("metrics", "pub fn it(stats: &lastout::supervisor::Stats) { stats.record() }"),
    ("serde", "pub fn it<T: From<lastout::Report>>() {}"),
    ("test-util", "pub use lastout::test_util;"),
    ("full", "pub use lastout::{guide, test_util::audit::Audit};"),
];

/// Crates alone, by folder, with what they are asked for.
const ALONE: &[(&str, &str, &str)] = &[
    ("cleanup-worker", "", "pub use lastout_cleanup_worker::CleanupWorker as It;"),
    ("async-rt", "", "pub use lastout_async_rt::Runtime as It;"),
    ("proc-tree", "", "pub use lastout_proc_tree::Tree as It;"),
    ("output-stream", "blocking", "pub use lastout_output_stream::Stream as It;"),
    ("browser-pool", "", "pub use lastout_browser_pool::Pool as It;"),
    ("work-runner", "", "pub use lastout_work_runner::WorkRunner as It;"),
];

/// The profile of our workspace: with it, what was built there for a lint or a test is not built again.
const PROFILE: &str = "[profile.dev]\ndebug = \"line-tables-only\"\n";

/// Packages that are checked together.
const HEAVY: &[&str] = &["with-browser-pool", "with-full"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A line of `[dependencies]`.
fn dependency(folder: &str, features: &str) -> String {
    let name = match folder {
        "facade" => "lastout".to_owned(),
        folder => format!("lastout-{folder}"),
    };
    let list = if features.is_empty() { String::new() } else { format!("{features:?}") };
    let path = root().join(folder);
    format!("{name} = {{ path = {path:?}, default-features = false, features = [{list}] }}\n")
}

/// Checks packages with these names, dependencies and sources, in one workspace outside of ours.
fn check(name: &str, packages: &[(String, String, String)]) {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let dir = target.join(name);
    let members: Vec<_> = packages.iter().map(|(name, ..)| name.as_str()).collect();
    fs::create_dir_all(&dir).unwrap();
    let manifest = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n{PROFILE}");
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    // The same versions as everywhere else, so that nothing is resolved anew.
    fs::copy(root().join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    for (name, dependencies, source) in packages {
        let package = dir.join(name);
        fs::create_dir_all(package.join("src")).unwrap();
        let manifest = format!(
            "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}"
        );
        fs::write(package.join("Cargo.toml"), manifest).unwrap();
        fs::write(package.join("src/lib.rs"), format!("//! A user.\n{source}\n")).unwrap();
    }
    // One at a time: together, the features of one would reach the others. The two with the protocol
    // of Chrome are the exception, because it takes minutes to build.
    let heavy = |name: &&String| HEAVY.contains(&name.as_str());
    let names = packages.iter().map(|(name, ..)| name);
    let (heavy, mut rounds): (Vec<_>, Vec<_>) =
        names.map(|name| vec![name]).partition(|names| names.iter().all(heavy));
    rounds.push(heavy.concat());
    for names in rounds.into_iter().filter(|names| !names.is_empty()) {
        let packages = names.iter().flat_map(|name| ["--package", name.as_str()]);
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .arg("check")
            .args(packages)
            .env("CARGO_TARGET_DIR", target.parent().unwrap())
            .env_remove("RUSTFLAGS")
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}:\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_facade_builds_with_each_feature() {
    let packages: Vec<_> = FACADE
        .iter()
        .map(|(feature, source)| {
            let name = format!("with-{}", if feature.is_empty() { "nothing" } else { feature });
            (name, dependency("facade", feature), (*source).to_owned())
        })
        .collect();
    check("facade", &packages);
}

#[test]
fn each_crate_builds_alone_and_beside_another() {
    let mut packages: Vec<_> = ALONE
        .iter()
        .map(|(folder, features, source)| {
            (format!("alone-{folder}"), dependency(folder, features), (*source).to_owned())
        })
        .collect();
    packages.push((
        "two".to_owned(),
        dependency("proc-tree", "") + &dependency("cleanup-worker", ""),
        "pub use lastout_cleanup_worker::CleanupWorker;\npub use lastout_proc_tree::Tree;"
            .to_owned(),
    ));
    packages.push((
        "facade-beside-a-crate".to_owned(),
        dependency("facade", "proc-tree") + &dependency("proc-tree", ""),
        // The same type by both names: a façade adds no types to those of its parts.
        "pub fn same(tree: lastout::proc_tree::Tree) -> lastout_proc_tree::Tree { tree }"
            .to_owned(),
    ));
    check("crates", &packages);
}

#[test]
fn the_cleanup_worker_alone_has_no_dependency_outside_the_workspace() {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--package", "lastout", "--edges", "normal", "--prefix", "none"])
        .args(["--no-default-features", "--features", "cleanup-worker"])
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let packages: Vec<_> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(packages, ["lastout", "lastout-cleanup-worker"]);
}
