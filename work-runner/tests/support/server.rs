//! A PostgreSQL server of a test's own, to be stopped the hard way and started again.
#![allow(clippy::disallowed_methods, reason = "a real server, ended and waited for by its guard")]

use super::{Folder, PATIENCE};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs as an unprivileged user, on a socket in its own folder; gone when it is dropped.
pub(crate) struct Server {
    bin: PathBuf,
    folder: Folder,
    child: Option<Child>,
}

impl Server {
    /// Makes a cluster and starts it.
    pub(crate) fn start() -> Self {
        let folder = Folder::new();
        if let Some((uid, gid)) = unprivileged() {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut server = Self { bin: binaries(), folder, child: None };
        let mut init = server.command("initdb");
        init.args(["--username=postgres", "--auth=trust", "--no-sync", "--locale=C"]);
        init.arg("-D").arg(server.data());
        assert!(init.status().unwrap().success(), "initdb");
        server.launch();
        server
    }

    pub(crate) fn config(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.folder.path().display())
    }

    /// Stops it as a crash does, with no time to write anything.
    pub(crate) fn crash(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let signal = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
        assert!(signal.unwrap().success());
        child.wait().unwrap();
    }

    /// Starts it again; returns at once, while it still recovers.
    pub(crate) fn launch(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        for setting in ["listen_addresses=", "fsync=off", "max_connections=50"] {
            command.args(["-c", setting]);
        }
        self.child = Some(command.spawn().unwrap());
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of its programs, as the unprivileged user, ended with the thread that starts it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=QUIT");
        if let Some((uid, gid)) = unprivileged() {
            let user = [format!("--reuid={uid}"), format!("--regid={gid}")];
            command.args(user).arg("--clear-groups");
        }
        command.arg("--").arg(self.bin.join(program));
        command.current_dir(self.folder.path()).env("HOME", self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.crash();
        }
        // Its children end with it, and let go of the folder, a moment later.
        let until = Instant::now() + PATIENCE;
        while self.data().join("postmaster.pid").exists() && Instant::now() < until {
            // SLEEP: between two looks at a file that goes away.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The newest of Debian's versioned folders, else what is on `PATH`.
fn binaries() -> PathBuf {
    let versioned = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versioned
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    found.sort();
    let path = std::env::var("PATH").unwrap_or_default();
    let on_path = || path.split(':').map(PathBuf::from).find(|dir| dir.join("postgres").exists());
    found.pop().map(|(_, bin)| bin).or_else(on_path).expect("the programs of PostgreSQL")
}

/// The user and group it must run as; `None` when this is not root.
fn unprivileged() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let accounts = std::fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let account = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(account("postgres").or_else(|| account("nobody")).expect("an unprivileged user"))
}
