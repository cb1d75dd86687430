//! lastout-proc-tree beside its peers: from the kill until nobody is left, who is in a tree, and from
//! the spawn until the program runs.

mod cgroup;
mod discovery;
mod init;
mod kill;
mod spawn;
mod tree;

use lastout_bench_runner::Bench;
use std::process::ExitCode;

fn main() -> ExitCode {
    tree::run_if_asked();
    if let Some(code) = init::of_the_bench() {
        return code;
    }
    let cases = kill::cases().into_iter().chain(discovery::cases()).chain(spawn::cases());
    cases.fold(Bench::new("proc"), Bench::case).run()
}
