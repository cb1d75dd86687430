//! `cargo xtask`: the table of commands is in `cli.rs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::cli::main()
}
