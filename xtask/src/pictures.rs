//! Pictures of the demo and of the console for the README, taken by the command `lastout` in a browser.

use crate::command::Cmd;
use crate::console::Console;
use crate::find;
use crate::workspace::Workspace;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Child;

/// Where they are, in the folder of the façade.
const FOLDER: &str = "pictures";
/// The largest file, in bytes.
const LARGEST: u64 = 80 * 1024;
/// What the demo is told.
const DEMO: [&str; 4] = ["--jobs", "40", "--faults", "storm"];
/// How many jobs have ended when the console is looked at.
const HALF: u32 = 20;
/// How many of the last lines of the demo are shown.
const LINES: usize = 20;
/// Longer lines than these are not shown.
const COLUMNS: usize = 100;

/// What the three pictures need.
struct Studio<'a> {
    console: &'a Console,
    lastout: PathBuf,
    /// Of this run alone.
    scratch: PathBuf,
    /// Where the pictures go.
    folder: PathBuf,
    envs: &'a [(String, OsString)],
}

/// Runs the demo beside a console over its queue, and takes the pictures.
///
/// # Errors
///
/// When something does not run, or a picture is too large.
pub(crate) fn take(
    console: &Console,
    workspace: &Workspace,
    facade: &Path,
    envs: &[(String, OsString)],
) -> Result<()> {
    Cmd::cargo()
        .args(["build", "--package", "lastout", "--all-features"])
        .args(["--bin", "lastout", "--example", "capture"])
        .dir(&workspace.root)
        .run(console)?;
    let built = workspace.target_dir.join("debug");
    let scratch = workspace.target_dir.join("pictures");
    Cmd::new("rm").args(["-rf", "--"]).arg(&scratch).run(console)?;
    std::fs::create_dir_all(&scratch).context("make a folder for the pictures")?;
    let (lastout, folder) = (built.join("lastout"), facade.join(FOLDER));
    std::fs::create_dir_all(&folder).context("make the folder of the pictures")?;
    let studio = Studio { console, lastout, scratch, folder, envs };
    studio.all(&built.join("examples/capture"))
}

impl Studio<'_> {
    fn all(&self, demo: &Path) -> Result<()> {
        let queue = self.scratch.join("queue.db");
        let lastout = || Cmd::new(&self.lastout).env("LASTOUT_STORE", &queue);
        lastout().args(["jobs", "migrate"]).run(self.console)?;
        let mut page = Running::start(&lastout().args([
            "console",
            "--listen",
            "127.0.0.1:0",
            "--name",
            "lastout demo",
        ]))?;
        let url = page.line()?.context("the console says where it is")?;
        let _watched = watch(&url)?;
        let demo = Cmd::new(demo).args(DEMO).arg("--out").arg(&self.scratch).envs(self.envs);
        let mut demo = Running::start(&demo)?;
        let mut said = vec![format!("$ cargo xtask demo {}", DEMO.join(" "))];
        let mut is_shown = false;
        while let Some(line) = demo.line()? {
            if !is_shown && ended(&line).is_some_and(|jobs| jobs >= HALF) {
                is_shown = true;
                self.picture(&url, "console.png", "1280x450")?;
                self.picture(&url, "console-phone.png", "390x844")?;
            }
            // Where the report is tells something of this machine alone.
            if !line.starts_with("report:") && line.chars().count() <= COLUMNS {
                said.push(line);
            }
        }
        demo.finish()?;
        ensure!(is_shown, "the demo has not said that {HALF} jobs have ended");
        let terminal = self.scratch.join("terminal.html");
        std::fs::write(&terminal, screen(&said)).context("write the screen")?;
        self.picture(&format!("file://{}", terminal.display()), "demo.png", "840x420")
    }

    fn picture(&self, url: &str, name: &str, window: &str) -> Result<()> {
        let file = self.scratch.join(name);
        let mut cmd = Cmd::new(&self.lastout)
            .args(["browsers", "capture", url])
            .arg(&file)
            .args(["--window", window, "--timeout", "5m"])
            .envs(self.envs);
        if find::is_root() {
            cmd = cmd.arg("--no-sandbox");
        }
        cmd.run(self.console)?;
        let size = std::fs::metadata(&file).context("look at a picture")?.len();
        ensure!(size <= LARGEST, "{} has {size} bytes, more than {LARGEST}", file.display());
        let place = self.folder.join(name);
        std::fs::copy(&file, &place).with_context(|| format!("write {}", place.display()))?;
        self.console.say(&format!("{}: {size} bytes", place.display()));
        Ok(())
    }
}

/// Keeps a page of the console open: it draws its plots for the time in which one is.
fn watch(url: &str) -> Result<TcpStream> {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut page = TcpStream::connect(host).context("open the console")?;
    write!(page, "GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n").context("open the console")?;
    Ok(page)
}

/// How many jobs have ended, by a line of the demo.
fn ended(line: &str) -> Option<u32> {
    line.split_once(" of ")?.0.trim().parse().ok()
}

/// The last lines on a terminal, as a page.
fn screen(lines: &[String]) -> String {
    let last = lines.len().saturating_sub(LINES).max(1);
    let shown = lines[..1].iter().chain(&lines[last.min(lines.len())..]);
    let text: Vec<_> = shown.map(|line| line.replace('&', "&amp;").replace('<', "&lt;")).collect();
    format!(
        "<!doctype html><meta charset=\"utf-8\"><style>body {{ margin: 0; padding: 16px; \
         background: #16181d; color: #d6d9e0; font: 13px/1.4 monospace }} pre {{ margin: 0 }}\
         </style><pre>{}</pre>",
        text.join("\n")
    )
}

/// A program in the background. It is told to end when this is dropped, and waited for.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    name: String,
}

impl Running {
    fn start(cmd: &Cmd) -> Result<Self> {
        let mut child = cmd.spawn()?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        Ok(Self { child, lines: BufReader::new(stdout).lines(), name: cmd.to_string() })
    }

    /// Its next line; `None` at its end.
    fn line(&mut self) -> Result<Option<String>> {
        self.lines.next().transpose().with_context(|| format!("read what `{}` says", self.name))
    }

    fn finish(mut self) -> Result<()> {
        let status = self.child.wait().context("wait for a child")?;
        if status.success() {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).context("read stderr")?;
        }
        bail!("`{}` ended with {status}:\n{said}", self.name)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is waited for already, and has no number any more.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_text_and_has_the_command_and_the_last_lines() {
        let lines: Vec<_> = (0..100).map(|n| format!("<{n}>&")).collect();
        let page = screen(&lines);
        assert!(page.contains("<pre>&lt;0>&amp;\n&lt;80>&amp;\n"), "{page}");
        assert!(page.ends_with("&lt;99>&amp;</pre>"), "{page}");
        assert!(screen(&lines[..1]).contains("<pre>&lt;0>&amp;</pre>"));
        assert_eq!(ended("   20 of 40 jobs ended; 2 browsers"), Some(20));
        assert_eq!(ended("resuming 3 jobs of a run"), None);
    }
}
