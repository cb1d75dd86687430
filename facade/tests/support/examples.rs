//! Builds an example of this crate and says where it is: cargo builds none for a single test target.

use std::path::PathBuf;
use std::process::Command;

pub(crate) fn built(name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--package", "lastout", "--all-features", "--example", name])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut paths = messages.filter_map(|message: serde_json::Value| {
        let is_it = message["target"]["name"] == name && message["target"]["kind"][0] == "example";
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    });
    paths.next_back().expect("cargo says where the example is")
}
