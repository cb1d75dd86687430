//! The peers that run on node.

use crate::proc;
use crate::tasks::Run;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where their packages are installed, once, without any browser.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = own.join("../../../target/peers/browser-node");
        std::fs::create_dir_all(&folder).expect("the folder of the node peers");
        for file in ["package.json", "package-lock.json", "cluster.mjs", "playwright.mjs"] {
            std::fs::copy(own.join("js").join(file), folder.join(file)).expect("copy a node peer");
        }
        if !folder.join("node_modules").exists() {
            let npm = Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .env("PUPPETEER_SKIP_DOWNLOAD", "1")
                .current_dir(&folder)
                .status();
            assert!(npm.is_ok_and(|status| status.success()), "npm ci in {}", folder.display());
        }
        folder
    })
}

/// Runs one of the scripts.
pub async fn run(script: &str, engine: &Path, url: &str, tasks: usize, concurrency: usize) -> Run {
    let profile = std::env::temp_dir().join(format!("lastout-bench-{}", std::process::id()));
    // Their browsers' sockets and caches go there too.
    std::fs::create_dir_all(&profile).expect("a private folder");
    let mut command = tokio::process::Command::new("node");
    command.env("TMPDIR", &profile).env("HOME", &profile);
    command.arg(folder().join(script)).arg(engine).arg(url);
    command.args([tasks.to_string(), concurrency.to_string()]).arg(profile.join("p"));
    let run = proc::run(command).await;
    drop(std::fs::remove_dir_all(profile));
    run
}
