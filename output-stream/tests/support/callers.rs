//! Programs that use a process and are killed, or sit on a terminal: this very test binary, run again.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "each test uses a part"
)]

use lastout_output_stream::tree::{Containment, Io, Level, ProcId, Program, Tree};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const LONG: Duration = Duration::from_secs(60);

/// What the caller that this process is has to do; `None` in the test run itself.
pub(crate) fn called() -> Option<String> {
    std::env::var("LASTOUT_CALLER").ok()
}

const ARGUMENTS: [&str; 5] = ["fixture", "--exact", "--nocapture", "--test-threads=1", "-q"];

/// The levels that this machine has.
pub(crate) fn levels() -> Vec<Level> {
    let all = [Level::Cgroup, Level::Supervisor, Level::Evidence];
    let available =
        |level: &Level| Tree::spawn(&mut Program::new("true"), Containment::demand(*level)).is_ok();
    all.into_iter().filter(available).collect()
}

pub(crate) fn level(name: &str) -> Level {
    levels().into_iter().find(|level| level.to_string() == name).unwrap()
}

/// Prints a line that the test reads; the harness may have begun a line of its own.
pub(crate) fn tell(text: &str) {
    println!("\n{text}");
    std::io::stdout().flush().unwrap();
}

pub(crate) fn park() -> ! {
    loop {
        std::thread::park();
    }
}

pub(crate) fn await_gone(members: &[ProcId]) {
    let until = Instant::now() + LONG;
    for member in members {
        while member.is_running() {
            assert!(Instant::now() < until, "{member} runs");
            std::thread::yield_now();
        }
    }
}

/// A caller without a terminal.
pub(crate) struct Caller {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Caller {
    pub(crate) fn start(order: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(ARGUMENTS).env("LASTOUT_CALLER", order);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// What follows `word` in the next line that begins with it.
    pub(crate) fn hear(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the caller ended before {word}");
            if let Some(rest) = line.trim_end().strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    pub(crate) fn hear_processes(&mut self, word: &str) -> Vec<ProcId> {
        self.hear(word).split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A caller that leads the session of a terminal.
pub(crate) struct OnTerminal {
    tree: Tree,
    outer: File,
    seen: Vec<u8>,
}

impl OnTerminal {
    pub(crate) fn start(order: &str) -> Self {
        let (outer, inner) = lastout_proc_tree::terminal::open().unwrap();
        let mut program = Program::new(std::env::current_exe().unwrap());
        program.args(ARGUMENTS).env("LASTOUT_CALLER", order);
        let again = || Io::from(inner.try_clone().unwrap());
        program.stdin(again()).stdout(again()).stderr(again());
        let containment = Containment::strongest().new_session_on(inner.try_clone().unwrap());
        let (tree, _child) = Tree::spawn(&mut program, containment).unwrap();
        Self { tree, outer: File::from(outer), seen: Vec::new() }
    }

    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.outer.write_all(keys).unwrap();
    }

    /// Reads until the terminal has shown `text`.
    pub(crate) fn see(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.shows(text) {
            // The terminal fails when its last process is gone.
            let n = self.outer.read(&mut buffer).unwrap_or(0);
            assert!(n > 0, "no {text:?} in {:?}", String::from_utf8_lossy(&self.seen));
            self.seen.extend_from_slice(&buffer[..n]);
        }
    }

    pub(crate) fn shows(&self, text: &str) -> bool {
        self.seen.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Reads what follows `word` up to the end of the line.
    pub(crate) fn hear_processes(&mut self, word: &str) -> Vec<ProcId> {
        self.see(word);
        self.see("\nend");
        let text = String::from_utf8_lossy(&self.seen).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(word)).unwrap();
        line.split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    pub(crate) fn root(&self) -> ProcId {
        self.tree.root().unwrap()
    }
}
