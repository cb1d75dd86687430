//! Nothing of a real Chromium is left: not its helpers, not its crash handlers in sessions of their
//! own, not its profile.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with real processes")]

mod support;

use lastout_proc_tree::{Containment, Evidence, Level, Pid, ProcId, StaysDead, Tree};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{LONG, audited, levels};

const ROUNDS: usize = 20;

/// How long every profile has to stay away. The last round waits for it: by its end the others have been
/// away for longer, and one that came back would have stayed.
const WINDOW: Duration = Duration::from_secs(2);

#[test]
fn fixture() {
    support::fixture_main();
}

struct Chrome {
    command: Command,
    /// Its home: what every process of it names, the crash handlers too.
    home: PathBuf,
    profile: PathBuf,
}

/// The variable by which the orphans of an adopted browser are found. Its helpers overwrite their
/// environment; the crash handlers, which leave the tree, do not.
const COOKIE: &str = "LASTOUT_TEST_CHROME";

/// A browser with a fresh profile.
fn chrome(name: &str, round: usize) -> Chrome {
    let program = std::env::var_os("LASTOUT_CHROME").expect("LASTOUT_CHROME names a Chromium");
    let file = format!("lastout-chrome-{name}-{round}-{}", std::process::id());
    let home = std::env::temp_dir().join(file);
    let profile = home.join("profile");
    std::fs::create_dir_all(&profile).unwrap();
    let mut command = Command::new(program);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--remote-debugging-port=0",
    ]);
    command.arg(format!("--user-data-dir={}", profile.display())).arg("about:blank");
    command.env("HOME", &home).env("XDG_CONFIG_HOME", &home).env(COOKIE, &home);
    // A browser that is killed leaves its temporary directories where they are.
    command.env("TMPDIR", &home);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Chrome { command, home, profile }
}

/// Waits until the browser has a page, and therefore its helpers.
fn await_up(chrome: &Chrome) {
    let until = Instant::now() + LONG;
    while !chrome.profile.join("DevToolsActivePort").exists() || holders(&chrome.home).len() < 7 {
        assert!(Instant::now() < until, "the browser does not start");
        // SLEEP: between two looks at the condition.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everybody who names the home: the oracle, which reads `/proc` in its own way.
fn holders(home: &Path) -> Vec<ProcId> {
    let word = home.display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok());
    let named = pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&word)
    });
    named.filter_map(ProcId::of).collect()
}

/// Ends a round: the profile stays away, and nobody names it any more.
fn conclude(tree: &Tree, home: &Path, members: &[ProcId], is_last: bool) {
    let report = tree.kill_blocking(LONG).unwrap();
    assert!(report.is_clean() && report.killed + 2 >= members.len(), "{report}");
    let window = if is_last { WINDOW } else { Duration::from_millis(50) };
    let removal = StaysDead::new(home).suspect(tree).window(window).remove_blocking().unwrap();
    assert_eq!(removal.times, 1, "{removal:?}: the home came back");
    for member in members {
        assert!(!member.is_running(), "{member} runs");
    }
    assert_eq!(holders(home), []);
}

/// After the window of the last round.
fn assert_absent(homes: &[PathBuf]) {
    assert_eq!(homes.len(), ROUNDS);
    for home in homes {
        assert!(home.symlink_metadata().is_err(), "{} came back", home.display());
    }
}

#[test]
fn a_spawned_browser_is_gone() {
    audited(|| {
        let levels = levels();
        let mut homes = Vec::new();
        for round in 0..ROUNDS {
            let mut chrome = chrome("spawned", round);
            // A browser inside a PID namespace is a matter for its own test.
            let levels: Vec<_> = levels.iter().filter(|l| **l != Level::PidNamespace).collect();
            let level = *levels[round % levels.len()];
            let (tree, _child) =
                Tree::spawn(&mut chrome.command, Containment::demand(level)).unwrap();
            await_up(&chrome);
            let members = holders(&chrome.home);
            conclude(&tree, &chrome.home, &members, round + 1 == ROUNDS);
            homes.push(chrome.home);
        }
        assert_absent(&homes);
    });
}

#[test]
fn an_adopted_browser_is_gone() {
    audited(|| {
        let mut homes = Vec::new();
        for round in 0..ROUNDS {
            let mut chrome = chrome("adopted", round);
            let mut child = chrome.command.spawn().unwrap();
            await_up(&chrome);
            let members = holders(&chrome.home);
            // The crash handlers are orphans by now.
            let evidence = Evidence::new()
                .process(ProcId::of(child.id()).unwrap())
                .variable(COOKIE, &chrome.home);
            let tree = Tree::adopt_with(evidence).unwrap();
            conclude(&tree, &chrome.home, &members, round + 1 == ROUNDS);
            child.wait().unwrap();
            homes.push(chrome.home);
        }
        assert_absent(&homes);
    });
}
