//! The trees that are measured: forked, static, balanced, and watched by an oracle.
//!
//! Every member holds the writing end of a pipe, whose end of file says that nobody is left, whoever
//! killed them; and it ends by itself when the lifeline does, whatever went wrong in a round.

use lastout_proc_tree::{Containment, Tree};
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const ORACLE: RawFd = 30;
const LIFELINE: RawFd = 31;

/// What this binary does when it was started as the root of a tree.
pub fn run_if_asked() {
    let words: Vec<_> = std::env::args().collect();
    let number = |place: usize| words[place].parse().expect("a number of members");
    match words.get(1).map(String::as_str) {
        Some("--tree") => grow(number(2)),
        Some("--bomb") => explode(),
        _ => {}
    }
}

/// Forks until the limit, and goes on trying.
fn explode() -> ! {
    report();
    loop {
        // SAFETY: a process of one thread.
        if unsafe { libc::fork() } == 0 {
            report();
        }
        let mut lifeline = libc::pollfd { fd: LIFELINE, events: libc::POLLIN, revents: 0 };
        // SAFETY: one live entry.
        unsafe { libc::poll(&mut lifeline, 1, 0) };
        if lifeline.revents != 0 {
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) }
        }
    }
}

fn report() {
    // SAFETY: one byte of a literal is read.
    unsafe { libc::write(ORACLE, c"!".as_ptr().cast(), 1) };
}

/// Forks the shares of two children, and sleeps.
fn grow(mut members: usize) -> ! {
    loop {
        let below = members - 1;
        let mut is_child = false;
        for share in [below / 2, below - below / 2] {
            // SAFETY: a process of one thread.
            if share > 0 && unsafe { libc::fork() } == 0 {
                members = share;
                is_child = true;
                break;
            }
        }
        if !is_child {
            break;
        }
    }
    report();
    let mut lifeline = libc::pollfd { fd: LIFELINE, events: libc::POLLIN, revents: 0 };
    // SAFETY: one live entry.
    unsafe { libc::poll(&mut lifeline, 1, -1) };
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}

/// The ends of a tree that the measurement holds.
pub struct Oracle {
    reports: PipeReader,
    lifeline: PipeWriter,
}

impl Oracle {
    /// Waits until all members stand.
    fn await_members(&mut self, members: usize) {
        let mut seen = 0;
        let mut buffer = [0; 4096];
        while seen < members {
            let length = self.reports.read(&mut buffer).expect("the oracle can be read");
            assert!(length > 0, "the tree ended early");
            seen += length;
        }
    }

    /// Waits until nobody is left; panics after a minute.
    pub fn await_end(&mut self) {
        let mut fd =
            libc::pollfd { fd: self.reports.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live entry.
        let news = unsafe { libc::poll(&mut fd, 1, 60_000) };
        assert_eq!(news, 1, "somebody is left");
        assert_eq!(self.reports.read(&mut [0; 1]).expect("the oracle can be read"), 0);
    }
}

impl Oracle {
    /// Cuts the lifeline, and waits until those have ended that were left.
    pub fn end_the_rest(self) {
        let Self { reports, lifeline } = self;
        drop(lifeline);
        let (_, unused) = std::io::pipe().expect("a pipe");
        Self { reports, lifeline: unused }.await_end();
    }
}

/// A command for a tree, and the ends that it will inherit.
fn command(kind: &str, members: usize) -> (Command, Oracle, [(RawFd, std::os::fd::OwnedFd); 2]) {
    let (reports, theirs) = std::io::pipe().expect("a pipe");
    let (their_lifeline, lifeline) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(std::env::current_exe().expect("the own path"));
    command.args([kind, &members.to_string()]);
    let ends = [(ORACLE, theirs.into()), (LIFELINE, their_lifeline.into())];
    (command, Oracle { reports, lifeline }, ends)
}

/// Makes a plain command inherit the ends, for peers that have no way to say so.
pub fn inherit(command: &mut Command, ends: &[(RawFd, std::os::fd::OwnedFd); 2]) {
    let pairs = [(ends[0].0, ends[0].1.as_raw_fd()), (ends[1].0, ends[1].1.as_raw_fd())];
    // SAFETY: `dup2` is all it does.
    unsafe {
        command.pre_exec(move || {
            for (to, from) in pairs {
                libc::dup2(from, to);
            }
            Ok(())
        })
    };
}

/// A tree of ours that stands.
pub fn ours(members: usize, containment: Containment) -> (Tree, lastout_proc_tree::Child, Oracle) {
    started("--tree", members, containment)
}

/// A tree of ours of that kind, when so many members stand.
pub fn started(
    kind: &str,
    members: usize,
    containment: Containment,
) -> (Tree, lastout_proc_tree::Child, Oracle) {
    let (mut command, mut oracle, ends) = command(kind, members);
    let containment = ends.into_iter().fold(containment, |c, (to, from)| c.descriptor(to, from));
    let (tree, child) = Tree::spawn(&mut command, containment).expect("the tree starts");
    oracle.await_members(members);
    (tree, child, oracle)
}

/// A tree of std that stands, prepared by `prepare`.
pub fn plain(members: usize, prepare: impl FnOnce(&mut Command)) -> (Child, Oracle) {
    let (mut command, mut oracle, ends) = command("--tree", members);
    inherit(&mut command, &ends);
    prepare(&mut command);
    let child = command.spawn().expect("the tree starts");
    drop(ends);
    oracle.await_members(members);
    (child, oracle)
}

/// A tree that stands, spawned by `spawn`.
pub fn spawned<C>(members: usize, spawn: impl FnOnce(Command) -> C) -> (C, Oracle) {
    let (mut command, mut oracle, ends) = command("--tree", members);
    inherit(&mut command, &ends);
    let child = spawn(command);
    drop(ends);
    oracle.await_members(members);
    (child, oracle)
}

/// Milliseconds from the call of `kill` until it has returned and the oracle knows of nobody.
pub fn time(oracle: &mut Oracle, kill: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    kill();
    oracle.await_end();
    millis(begin.elapsed())
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
