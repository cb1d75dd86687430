//! Runs a command so that nothing of it survives Ctrl-C, or ends the tree of a running process.
//!
//! ```text
//! cargo run -p lastout-proc-tree --example treekill -- -- make -j8
//! cargo run -p lastout-proc-tree --example treekill -- 4711
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use lastout_proc_tree::{Containment, Pid, Policy, Report, Tree, snapshot};
use std::error::Error;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const USAGE: &str = "usage: treekill PID…\n       treekill -- COMMAND [ARGUMENT…]";

/// What Ctrl-C gives the tree before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// How soon Ctrl-C is noticed.
const LOOK: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((first, command)) if first == "--" && !command.is_empty() => run(command),
        Some(_) => end(&words),
        None => Err(USAGE.into()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("treekill: {error}");
        ExitCode::from(2)
    })
}

/// Ends the trees of running processes.
fn end(words: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let pids: Result<Vec<Pid>, _> = words.iter().map(|word| word.parse()).collect();
    for pid in pids.map_err(|_| USAGE)? {
        let tree = Tree::adopt(pid)?;
        println!("{}\n{}", snapshot(pid)?, tree.guarantee());
        print_report(&tree.terminate_blocking(&Policy::term(GRACE))?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command; ends what it leaves behind, whether it ends itself or is interrupted.
fn run(words: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    let containment = Containment::strongest().die_with_parent();
    let (tree, mut child) = Tree::spawn(&mut command, containment)?;
    eprintln!("treekill: held by {}", tree.guarantee());
    interrupt::listen();
    let status = loop {
        if interrupt::came() {
            break None;
        }
        if let Some(status) = child.wait_until(LOOK)? {
            break Some(status);
        }
    };
    if let Ok(now) = snapshot(child.id().pid()) {
        eprintln!("{now}");
    }
    print_report(&tree.terminate_blocking(&Policy::term(GRACE))?);
    Ok(exit_code(status.map_or_else(|| child.try_wait(), |status| Ok(Some(status)))?))
}

fn print_report(report: &Report) {
    eprintln!("treekill: {report}");
    for survivor in report.left_behind() {
        eprintln!("  left behind: {survivor}");
    }
}

/// The code of the command, as a shell would say it.
fn exit_code(status: Option<ExitStatus>) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .map_or(130, |status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Ctrl-C, noticed without a signal handler of our own making: by a thread that waits for it.
mod interrupt {
    use super::{AtomicBool, Ordering};

    static CAME: AtomicBool = AtomicBool::new(false);

    #[expect(clippy::disallowed_methods, reason = "it lives as long as the program")]
    pub(crate) fn listen() {
        let wait = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                let _ = runtime.block_on(tokio::signal::ctrl_c());
                CAME.store(true, Ordering::Relaxed);
            }
        };
        // Without it Ctrl-C ends this program at once, and the supervisor the tree.
        let _ = std::thread::Builder::new().name("interrupt".into()).spawn(wait);
    }

    pub(crate) fn came() -> bool {
        CAME.load(Ordering::Relaxed)
    }
}
