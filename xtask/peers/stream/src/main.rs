//! The bars of `lastout-output-stream`, beside its peers.
//!
//! Every reader reads the pipe of a child, which is this binary again. CPU is that of the reading
//! process alone.

mod child;
mod lines;
mod memory;
mod raw;

use lastout_bench_runner::Bench;
use std::process::ExitCode;

fn main() -> ExitCode {
    if child::is_child() {
        return child::write();
    }
    let bench = Bench::new("stream");
    let bench = raw::cases(bench);
    let bench = lines::cases(bench);
    memory::cases(bench).run()
}
