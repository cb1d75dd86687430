//! The writing side: this binary, told what to write by its environment.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio};

/// Names what a child writes: `bytes:N` or `lines:N`.
const WHAT: &str = "LASTOUT_BENCH_STREAM_WRITES";

/// One block of lines with 29.9 bytes each on average, endings included.
const LINES_IN_BLOCK: usize = 2_000;

pub fn is_child() -> bool {
    std::env::var_os(WHAT).is_some()
}

/// A command that writes `n` bytes.
pub fn bytes(n: u64) -> Command {
    command(format!("bytes:{n}"))
}

/// A command that writes `n` short lines.
pub fn lines(n: u64) -> Command {
    command(format!("lines:{n}"))
}

/// The same for duct.
pub fn bytes_of_duct(n: u64) -> duct::Expression {
    let program = std::env::current_exe().expect("own path");
    duct::cmd!(program).env(WHAT, format!("bytes:{n}")).stdin_null()
}

fn command(what: String) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.env(WHAT, what).stdout(Stdio::piped()).stdin(Stdio::null());
    command
}

pub fn write() -> ExitCode {
    let what = std::env::var(WHAT).expect("told what to write");
    let (kind, n) = what.split_once(':').expect("kind and number");
    let n: u64 = n.parse().expect("a number");
    let (block, mut left) = match kind {
        "bytes" => (vec![b'x'; 64 * 1024], n),
        _ => {
            let block = line_block();
            let len = block.len() as u64;
            (block, n / LINES_IN_BLOCK as u64 * len)
        }
    };
    // Not through `std::io::Stdout`, which would search every block for its last line.
    let out = std::io::stdout().as_fd().try_clone_to_owned().expect("a descriptor");
    let mut out = std::fs::File::from(out);
    while left > 0 {
        let part = left.min(block.len() as u64) as usize;
        if out.write_all(&block[..part]).is_err() {
            return ExitCode::FAILURE;
        }
        left -= part as u64;
    }
    ExitCode::SUCCESS
}

fn line_block() -> Vec<u8> {
    let mut block = Vec::new();
    for n in 0..LINES_IN_BLOCK {
        block.resize(block.len() + 10 + (n * 7) % 38, b'a' + (n % 26) as u8);
        block.push(b'\n');
    }
    block
}
