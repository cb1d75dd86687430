//! The ten most frequent words of standard input, or of the file that is named: five programs in a row, of which no
//! byte passes through this one.
//!
//! ```text
//! cargo run -p lastout-output-stream --features process --example pipeline -- README.md
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use lastout_output_stream::{Inlet, Pipeline, Process};
use std::error::Error;
use std::time::Duration;

fn words(input: Inlet) -> Pipeline {
    let sort = || Process::builder("sort").env("LC_ALL", "C");
    Process::builder("tr")
        .args(["-cs", "A-Za-z", "\n"])
        .stdin(input)
        .pipe(sort())
        .pipe(Process::builder("uniq").arg("-c"))
        .pipe(sort().arg("-rn"))
        .pipe(Process::builder("head"))
        .forgive_sigpipe() // `head` has enough after ten lines
        .timeout(Duration::from_secs(60))
}

fn main() -> Result<(), Box<dyn Error>> {
    let input = match std::env::args_os().nth(1) {
        Some(path) => Inlet::file(path),
        None => Inlet::Inherit,
    };
    let output = words(input).output_blocking()?.check()?;
    print!("{}", output.stdout().utf8()?);
    for stage in &output.stages {
        eprintln!("{}: {} after {:?}", stage.program, stage.exit.status, stage.exit.elapsed);
    }
    Ok(())
}
