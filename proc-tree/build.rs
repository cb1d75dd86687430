//! Compiles the helper program that supervises a tree, with the compiler and for the target of this build.
//!
//! It never fails a build for Linux. Where the helper cannot be made, the crate is built with `cfg(no_helper)`,
//! and a supervisor is a copy of its caller. For Windows there is nothing to make. For another system it says in
//! one line that there is nothing to build.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(no_helper)");
    match env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux") => {}
        Ok("windows") => return,
        _ => {
            println!(
                "cargo::error=lastout-proc-tree controls processes on Linux and on Windows only, so far"
            );
            return;
        }
    }
    println!("cargo::rerun-if-changed=helper/main.rs");
    for file in ["direct", "kin", "watch"] {
        println!("cargo::rerun-if-changed=src/sys/linux/{file}.rs");
    }
    if compile_helper().is_none() {
        println!("cargo::rustc-cfg=no_helper");
    }
}

/// The supported targets; elsewhere the helper has no system calls.
const ARCHITECTURES: [&str; 3] = ["x86_64", "aarch64", "riscv64"];

#[expect(clippy::disallowed_methods, reason = "the compiler, which ends by itself")]
fn compile_helper() -> Option<()> {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").ok()?;
    let is_64_bit = env::var("CARGO_CFG_TARGET_POINTER_WIDTH").is_ok_and(|width| width == "64");
    if !is_64_bit || !ARCHITECTURES.contains(&architecture.as_str()) {
        return None;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR")?).join("lastout-supervisor");
    let mut rustc = Command::new(env::var_os("RUSTC")?);
    rustc.args(["--edition=2024", "--crate-name=lastout_supervisor", "--crate-type=bin"]);
    rustc.args(["--cap-lints=allow", "--target"]).arg(env::var_os("TARGET")?);
    // Not those of the profile: without optimisation the program would need a runtime.
    for option in [
        "opt-level=s",
        "panic=abort",
        "debuginfo=0",
        "strip=symbols",
        "relocation-model=static",
        "lto=fat",
        "codegen-units=1",
        "link-arg=-nostdlib",
        "link-arg=-nostartfiles",
        "link-arg=-static",
        "link-arg=-Wl,--build-id=none",
        "link-arg=-Wl,-z,noseparate-code",
    ] {
        rustc.args(["-C", option]);
    }
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl") {
        // Those targets bring start files of their own, which need a libc.
        rustc.args(["-C", "link-self-contained=no"]);
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    rustc.arg("-o").arg(&out).arg("helper/main.rs");
    rustc.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let compiled = rustc.status().is_ok_and(|status| status.success());
    // An empty or half-written file is no program.
    let is_program = std::fs::read(&out).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"));
    (compiled && is_program).then_some(())
}
