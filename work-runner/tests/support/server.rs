//! A PostgreSQL server of a test's own, to be stopped the hard way and started again.
#![allow(clippy::disallowed_methods, reason = "a real server, ended and waited for by its guard")]

use super::{Folder, PATIENCE};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs as an unprivileged user, on a socket in its own folder; gone when it is dropped.
pub(crate) struct Server {
    bin: PathBuf,
    folder: Folder,
    child: Option<Child>,
    /// More settings of the server.
    settings: Vec<String>,
    /// Where it listens, if anywhere but at its socket.
    tcp: Option<(Ipv4Addr, u16)>,
}

impl Server {
    /// Makes a cluster and starts it.
    pub(crate) fn start() -> Self {
        let mut server = Self::make();
        server.launch();
        server
    }

    fn make() -> Self {
        let folder = Folder::new();
        if let Some((uid, gid)) = unprivileged() {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let server = Self { bin: binaries(), folder, child: None, settings: Vec::new(), tcp: None };
        let mut init = server.command("initdb");
        init.args(["--username=postgres", "--auth=trust", "--no-sync", "--locale=C"]);
        init.arg("-D").arg(server.data());
        assert!(init.status().unwrap().success(), "initdb");
        server
    }

    /// Makes a cluster that also listens at an address of its own, encrypted and with a password only.
    pub(crate) fn start_encrypted(certificate: &str, key: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let mut server = Self::make();
        let certificate = server.file("server.pem", certificate);
        let key = server.file("server.key", key);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let access = "local all all trust\nhostssl all all 127.0.0.0/8 scram-sha-256\n";
        std::fs::write(server.data().join("pg_hba.conf"), access).unwrap();
        // The address is this process's own, so whoever else takes the port does not take it here.
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 77, high, low);
        let port = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port();
        server.settings = vec![
            format!("listen_addresses={address}"),
            format!("port={port}"),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={certificate}"),
            format!("ssl_key_file={key}"),
        ];
        server.tcp = Some((address, port));
        server.launch();
        server
    }

    /// Writes a file that the server may read; its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        if let Some((uid, gid)) = unprivileged() {
            chown(&path, Some(uid), Some(gid)).unwrap();
        }
        path.display().to_string()
    }

    /// How to reach it over the network, as the server named `host`.
    pub(crate) fn address(&self, host: &str) -> String {
        let (address, port) = self.tcp.expect("it listens");
        format!(
            "host={host} hostaddr={address} port={port} user=postgres password=secret dbname=postgres"
        )
    }

    pub(crate) fn config(&self) -> String {
        let port = self.tcp.map_or(5432, |(_, port)| port);
        format!("host={} port={port} user=postgres dbname=postgres", self.folder.path().display())
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
        for setting in &self.settings {
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
