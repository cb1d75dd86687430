//! A throw-away server answers, shares nothing with another, and leaves nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "starts real processes, ends each"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use xtask::console::Console;
use xtask::provision::postgres::Server;

/// Set in the process that plays the owner who is killed.
const VICTIM: &str = "LASTOUT_XTASK_VICTIM";

/// Speaks the first message of the protocol and expects to be let in.
fn answers(dir: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(dir.join(".s.PGSQL.5432")) else {
        return false;
    };
    let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    stream.write_all(&[&length[..], body].concat()).unwrap();
    let mut kind = [0];
    stream.read_exact(&mut kind).is_ok_and(|()| kind == *b"R")
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "not within two minutes: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn two_servers_at_once_answer_and_both_are_gone_afterwards() {
    let console = Console::new();
    let first = Server::start(&console, false).unwrap();
    let second = Server::start(&console, true).unwrap();
    let dirs = [first.dir().to_path_buf(), second.dir().to_path_buf()];
    assert_ne!(dirs[0], dirs[1]);
    assert!(dirs.iter().all(|dir| answers(dir)));
    first.shutdown().unwrap();
    assert!(!dirs[0].exists() && answers(&dirs[1]), "the end of one does not disturb the other");
    drop(second);
    assert!(!dirs[1].exists());
}

#[test]
fn the_provided_server_answers() {
    let connection = std::env::var("LASTOUT_POSTGRES").expect("set by `cargo xtask e2e`");
    let host = connection.split_whitespace().find_map(|part| part.strip_prefix("host=")).unwrap();
    assert!(answers(Path::new(host)));
}

#[test]
fn the_server_of_a_killed_owner_ends_and_its_directory_goes() {
    let console = Console::new();
    if std::env::var_os(VICTIM).is_some() {
        let server = Server::start(&console, false).unwrap();
        println!("\nserver in {}", server.dir().display());
        std::io::stdin().read_exact(&mut [0]).unwrap();
        unreachable!("the owner is killed while it waits");
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("the_server_of_a_killed_owner_ends_and_its_directory_goes")
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines().map_while(Result::ok);
    let dir = lines
        .into_iter()
        .find_map(|line| line.strip_prefix("server in ").map(PathBuf::from))
        .unwrap();
    assert!(answers(&dir));
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the server ends after its owner, and its directory goes", || !dir.exists());
}

#[test]
fn what_a_dead_owner_left_is_removed_by_the_next_start() {
    let left = std::env::temp_dir().join("lastout-pg-4194304-1-0");
    std::fs::create_dir_all(left.join("data")).unwrap();
    Server::start(&Console::new(), false).unwrap().shutdown().unwrap();
    assert!(!left.exists(), "no process has had that number and start");
}
