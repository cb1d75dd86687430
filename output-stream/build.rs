//! Says in one line that the feature `process` has nothing to build for a system other than Linux.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if env::var_os("CARGO_FEATURE_PROCESS").is_some() && !is_linux {
        println!(
            "cargo::error=the feature `process` of lastout-output-stream runs on Linux only, so far"
        );
    }
}
