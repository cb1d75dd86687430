//! The process above the bench, which waits for the orphans of killed trees: the init of a container may
//! be slow at that, and thousands of zombies are then in the way of whoever looks at all processes.

use std::process::{Command, ExitCode};

const WORKER: &str = "LASTOUT_BENCH_WORKER";

/// Runs the bench as a child and returns how it ended; `None` in that child.
pub fn of_the_bench() -> Option<ExitCode> {
    if std::env::var_os(WORKER).is_some() {
        return None;
    }
    // SAFETY: the option takes a number.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    let mut command = Command::new(std::env::current_exe().expect("the own path"));
    let worker = command.args(std::env::args_os().skip(1)).env(WORKER, "1").spawn();
    let worker = worker.expect("the bench starts").id();
    let mut code = ExitCode::FAILURE;
    loop {
        let mut status = 0;
        // SAFETY: `status` is writable, and nobody else waits for children of this process.
        let pid = unsafe { libc::waitpid(-1, &mut status, 0) };
        if pid < 0 {
            return Some(code);
        }
        if u32::try_from(pid) == Ok(worker) && libc::WIFEXITED(status) {
            code = u8::try_from(libc::WEXITSTATUS(status)).map_or(code, ExitCode::from);
        }
    }
}
