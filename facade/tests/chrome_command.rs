//! `lastout browsers` on a real browser: a page as a file, what a killed program left, and no file of others
//! overwritten.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes")]

mod support;

use lastout::browser_pool::Chrome;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use support::wait_until;

const PAGE: &str = "data:text/html,<title>t</title><h1 style='height:3000px'>tall</h1>";

/// A directory of the test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        // Short: browsers make sockets below it.
        let path = PathBuf::from("/tmp").join(format!("lo-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn command(&self, verb: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastout"));
        command.args(["browsers", verb]).args(words).arg("--root").arg(self.0.join("r"));
        if verb == "capture" && rustix::process::geteuid().is_root() {
            command.arg("--no-sandbox");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn says(&self, verb: &str, words: &[&str]) -> (String, i32) {
        let Output { status, stdout, .. } = self.command(verb, words).output().unwrap();
        (String::from_utf8(stdout).unwrap().trim_end().to_owned(), status.code().unwrap())
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The size of a picture, from its head.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG"));
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn a_page_becomes_a_picture_or_a_document_and_no_file_is_overwritten() {
    let scratch = Scratch::new("page");
    let (png, pdf) = (scratch.file("a.png"), scratch.file("a.pdf"));
    assert_eq!(scratch.says("capture", &[PAGE, &png, "--window", "390x844"]), (String::new(), 0));
    assert_eq!(size(&fs::read(&png).unwrap()), (390, 844));
    assert_eq!(scratch.says("capture", &[PAGE, &png]).1, 1);
    let full = scratch.file("b.png");
    assert_eq!(scratch.says("capture", &[PAGE, &full, "--full-page"]).1, 0);
    assert!(size(&fs::read(&full).unwrap()).1 >= 3_000);
    assert_eq!(scratch.says("capture", &[PAGE, &pdf, "--wait", "dom"]).1, 0);
    assert!(fs::read(&pdf).unwrap().starts_with(b"%PDF"));
    let none = scratch.file("c.png");
    assert_eq!(scratch.says("capture", &["http://127.0.0.1:1/", &none]).1, 1);
    assert_eq!(scratch.says("capture", &[PAGE, &none, "--timeout", "0"]).1, 1);
    for words in [
        &[PAGE][..],
        &[PAGE, &scratch.file("c.gif")],
        &["nowhere", &none],
        &[PAGE, &none, "--window", "0x1"],
        &[PAGE, &none, "--wait", "long"],
    ] {
        assert_eq!(scratch.says("capture", words).1, 2, "{words:?}");
    }
    assert!(!fs::exists(&none).unwrap());
    assert_eq!(scratch.says("list", &["--json"]), ("[]".into(), 0));
}

#[test]
fn a_signal_ends_a_capture_at_once_and_leaves_nothing() {
    let scratch = Scratch::new("signal");
    let png = scratch.file("a.png");
    let signals =
        [(Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131), (Signal::TERM, 143)];
    for (signal, code) in signals {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        // Its own limit is far longer than the test may take.
        let words = [&*url, &png, "--timeout", "1d"];
        let child = scratch.command("capture", &words).spawn().unwrap();
        let (_page, _) = silent.accept().unwrap();
        assert!(fs::exists(&png).unwrap());
        kill_process(Pid::from_child(&child), signal).unwrap();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        assert_eq!(status.code(), Some(code), "{}", String::from_utf8_lossy(&stderr));
        assert_eq!((&*stdout, &*stderr), (&b""[..], &b""[..]), "{signal:?}");
        assert!(!fs::exists(&png).unwrap());
        assert_eq!(scratch.says("list", &["--json"]), ("[]".into(), 0));
    }
}

#[test]
fn what_a_killed_program_left_is_listed_and_swept() {
    let scratch = Scratch::new("left");
    // A page that never comes: something takes the connection and does not answer.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let mut child = scratch.command("capture", &[&url, &scratch.file("a.png")]).spawn().unwrap();
    let owners = || Chrome::owners(Some(&scratch.0.join("r"))).unwrap();
    wait_until(owners, |owners| {
        owners
            .iter()
            .any(|owner| owner.is_living && owner.browsers.iter().any(|it| it.pid.is_some()))
    });
    assert_eq!(scratch.says("sweep", &[]).1, 3, "a living program is left alone");
    assert!(scratch.says("list", &[]).0.starts_with("living\t1\t"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(scratch.says("list", &[]).0.starts_with("dead\t1\t"));
    assert_eq!(scratch.says("sweep", &["--dry-run"]), ("dead programs: 1".into(), 0));
    let (swept, code) = scratch.says("sweep", &["--json"]);
    let swept: serde_json::Value = serde_json::from_str(&swept).unwrap();
    assert_eq!((&swept["dead"], &swept["left"], code), (&1.into(), &serde_json::json!([]), 0));
    assert_eq!(scratch.says("list", &[]), (String::new(), 0));
    assert_eq!(scratch.says("sweep", &[]).1, 3);
}
