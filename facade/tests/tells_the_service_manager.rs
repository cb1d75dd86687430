//! The datagrams that a service manager gets, from a real process, over both kinds of socket.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

mod support;

use lastout::Supervisor;
use lastout::supervisor::{BuildReason, Thread};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command};
use std::time::Instant;
use support::GENEROUS;

/// What the child does; not set in the parent.
const CHILD: &str = "LASTOUT_TEST_CHILD";

/// The child: one member that runs until it is killed or told to end.
#[test]
fn child() {
    let Ok(does) = std::env::var(CHILD) else {
        return;
    };
    let member = Thread::spawn("it", |stopping| {
        stopping.asked_blocking();
        Ok(())
    });
    let builder = Supervisor::builder().notify().member("the\nmember", member.unwrap());
    #[cfg(feature = "signals")]
    let builder = builder.until_signal().reload_on_hangup();
    let supervisor = match builder.build() {
        Ok(supervisor) => supervisor,
        Err(error) => {
            assert!(matches!(error.reason(), BuildReason::Notify(_)), "{error}");
            assert_eq!(does, "refused", "{error}");
            return;
        }
    };
    assert_ne!(does, "refused");
    if does == "ends" {
        supervisor.handle().stop();
    }
    let report = supervisor.run_blocking();
    assert!(report.is_clean(), "{report}");
}

/// Ends the child also when the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(does: &str, address: &str, more: &[(&str, &str)]) -> Running {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child"]).env(CHILD, does).env("NOTIFY_SOCKET", address);
    command.env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
    command.envs(more.iter().copied());
    Running(command.stdout(std::process::Stdio::null()).spawn().unwrap())
}

/// An abstract socket of its own.
fn manager(name: &str) -> (UnixDatagram, String) {
    let name = format!("lastout-test-{}-{name}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(GENEROUS)).unwrap();
    (socket, format!("@{name}"))
}

fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// The next datagram with this line; those before it are dropped.
fn until(socket: &UnixDatagram, line: &str) -> String {
    let began = Instant::now();
    loop {
        let text = next(socket);
        if text.lines().any(|it| it == line) {
            return text;
        }
        assert!(began.elapsed() < GENEROUS, "no {line}, but {text}");
    }
}

#[test]
fn ready_comes_once_and_the_end_is_told_over_both_kinds_of_socket() {
    let path = std::env::temp_dir().join(format!("lastout-notify-{}", std::process::id()));
    let by_path = UnixDatagram::bind(&path).unwrap();
    by_path.set_read_timeout(Some(GENEROUS)).unwrap();
    let by_path = (by_path, path.to_str().unwrap().to_owned());
    for (socket, address) in [manager("both"), by_path] {
        let mut running = start("ends", &address, &[]);
        assert!(running.0.wait().unwrap().success());
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let mut lines = Vec::new();
        while let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            lines.extend(text.lines().map(str::to_owned));
        }
        assert_eq!(lines[..2], ["STOPPING=1", "STATUS=ending: the program asked for it"]);
        assert!(lines[2].starts_with("STATUS=ended in "), "{lines:?}");
        assert!(lines[2].ends_with("left behind: 0"), "{lines:?}");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_watchdog_is_pinged_and_the_status_is_one_line() {
    let (socket, address) = manager("watchdog");
    let _running = start("runs", &address, &[("WATCHDOG_USEC", "20000")]);
    let text = until(&socket, "READY=1");
    assert!(text.lines().any(|line| line == "STATUS=1 of 1 members run"), "{text}");
    for _ in 0..3 {
        assert_eq!(until(&socket, "WATCHDOG=1"), "WATCHDOG=1");
    }
}

#[test]
fn a_watchdog_of_another_process_or_of_no_time_is_not_pinged() {
    for more in [
        &[("WATCHDOG_USEC", "1"), ("WATCHDOG_PID", "1")][..],
        &[("WATCHDOG_USEC", "0")],
        &[("WATCHDOG_USEC", "soon")],
        &[("WATCHDOG_USEC", "99999999999999999999999")],
    ] {
        let (socket, address) = manager("other");
        let mut running = start("ends", &address, more);
        assert!(running.0.wait().unwrap().success());
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            assert_ne!(&buffer[..length], b"WATCHDOG=1");
        }
    }
}

#[test]
fn the_shortest_and_the_longest_watchdog_run() {
    for usec in ["1", "18446744073709551615"] {
        let (socket, address) = manager(usec);
        let mut running = start("runs", &address, &[("WATCHDOG_USEC", usec)]);
        until(&socket, "WATCHDOG=1");
        assert!(running.0.try_wait().unwrap().is_none());
    }
}

#[test]
fn a_socket_that_is_not_there_is_refused_at_the_build() {
    for address in ["/nowhere/at/all", "@lastout-test-nobody", "relative", "vsock:2:1", "@", "/"] {
        let mut running = start("refused", address, &[]);
        assert!(running.0.wait().unwrap().success(), "{address}");
    }
}

#[cfg(feature = "signals")]
#[test]
fn a_hangup_reloads_and_a_term_stops() {
    use rustix::process::{Pid, Signal, kill_process};
    let (socket, address) = manager("signals");
    let mut running = start("runs", &address, &[]);
    let pid = Pid::from_child(&running.0);
    until(&socket, "READY=1");
    for _ in 0..2 {
        kill_process(pid, Signal::HUP).unwrap();
        let text = until(&socket, "RELOADING=1");
        let clock = text.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(clock.unwrap().parse::<u64>().unwrap() > 0);
        until(&socket, "READY=1");
    }
    kill_process(pid, Signal::TERM).unwrap();
    assert!(until(&socket, "STOPPING=1").contains("SIGTERM"));
    assert!(running.0.wait().unwrap().success());
}
