//! The bars of `lastout-output-stream`, beside its peers.
//!
//! What writes much is a child, which is this binary again. CPU is that of this process alone, without its
//! children.

mod child;
mod lines;
mod memory;
mod output;
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
    let bench = memory::cases(bench);
    output::cases(bench).run()
}
