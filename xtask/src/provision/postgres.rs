//! A throw-away PostgreSQL: own directory, Unix socket only, gone at the end.
//!
//! The server runs as an unprivileged user. A watchdog holds a pipe from us: when we end in any way,
//! it ends the server and removes the directory. The directory is named after its owner, and should
//! even the watchdog be killed, the next run does the same. Two runs share nothing.

use crate::command::Cmd;
use crate::console::{Console, Show};
use crate::find;
use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the server may take to accept connections, or to end.
const PATIENCE: Duration = Duration::from_secs(120);
/// The start of every directory's name; the pid and start time of the owner follow.
const PREFIX: &str = "lastout-pg-";

/// A running server. Dropping it ends it, quickly; [`Server::shutdown`] also reports.
#[derive(Debug)]
pub struct Server {
    dir: PathBuf,
    child: Child,
    log: Option<JoinHandle<()>>,
    watchdog: Option<Child>,
}

/// Reads to the end of the pipe that we hold, unless we say that all is done; then ends the server, if
/// it still is the one that runs in the directory, and removes the directory.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r word && [ "$word" = done ] && exit 0
data="$1/data"
for signal in INT INT QUIT KILL; do
    pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || break
    [ "$(readlink "/proc/$pid/cwd")" = "$data" ] || break
    kill -s "$signal" "$pid"
    tries=0
    while [ "$(readlink "/proc/$pid/cwd")" = "$data" ] && [ $tries -lt 100 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
done
rm -rf -- "$1"
"#;

/// The folder of `initdb` and `postgres`: the newest of Debian's versioned ones, else from `PATH`.
pub fn find_binaries() -> Option<PathBuf> {
    let versioned = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versioned
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, bin)| has_both(bin))
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin).or_else(|| {
        let bin = find::on_path(&["initdb"])?.parent()?.to_path_buf();
        has_both(&bin).then_some(bin)
    })
}

fn has_both(bin: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|name| find::is_program(&bin.join(name)))
}

impl Server {
    /// Starts a server, installing PostgreSQL first where it is missing. `durable` turns fsync on.
    ///
    /// # Errors
    ///
    /// When it cannot be installed or does not start; the error holds the server's own words.
    pub fn start(console: &Console, durable: bool) -> Result<Self> {
        sweep(console);
        if find_binaries().is_none() {
            super::apt::install(console, &["postgresql"], "PostgreSQL")?;
        }
        let bin = find_binaries().context("PostgreSQL was installed but is not found")?;
        let user = User::pick()?;
        let dir = new_directory(&user)?;
        let watchdog = watch(&dir)?;
        let started =
            init(console, &bin, &user, &dir).and_then(|()| launch(&bin, &user, &dir, durable));
        match started {
            Ok(mut server) => {
                server.watchdog = Some(watchdog);
                Ok(server)
            }
            // Without a server there is nothing to end: the watchdog removes the directory at once.
            Err(error) => {
                let mut watchdog = watchdog;
                drop(watchdog.stdin.take());
                watchdog.wait().context("wait for the watchdog")?;
                Err(error)
            }
        }
    }

    /// How a client connects: a libpq string with the socket's directory.
    pub fn connection(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.dir.display())
    }

    /// The server's directory: data and socket.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends the server and removes its directory.
    ///
    /// # Errors
    ///
    /// When it does not end in time or the directory stays.
    pub fn shutdown(mut self) -> Result<()> {
        self.end()
    }

    /// A fast shutdown, then an immediate one: clients are never waited for.
    fn end(&mut self) -> Result<()> {
        for signal in [rustix::process::Signal::INT, rustix::process::Signal::QUIT] {
            if self.has_ended()? {
                break;
            }
            let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
            let pid = pid.context("the server has a pid")?;
            // Not reaped yet, so the number is still the server's.
            rustix::process::kill_process(pid, signal).context("signal the server")?;
            wait_until(PATIENCE / 4, || self.has_ended())?;
        }
        if !self.has_ended()? {
            self.child.kill().context("kill the server")?;
            self.child.wait().context("wait for the server")?;
        }
        if let Some(log) = self.log.take() {
            drop(log.join());
        }
        remove(&self.dir)?;
        self.dismiss_watchdog()
    }

    fn dismiss_watchdog(&mut self) -> Result<()> {
        if let Some(mut watchdog) = self.watchdog.take() {
            if let Some(mut pipe) = watchdog.stdin.take() {
                // If it is gone already, there is nothing to tell it.
                drop(pipe.write_all(b"done\n"));
            }
            watchdog.wait().context("wait for the watchdog")?;
        }
        Ok(())
    }

    fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("wait for the server")?.is_some())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.dir.exists()
            && let Err(error) = self.end()
        {
            Console::new().complain(&format!("PostgreSQL in {}: {error:#}", self.dir.display()));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the watchdog, ended and waited for by `Server`")]
fn watch(dir: &Path) -> Result<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", WATCHDOG, "watchdog"]).arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // It must not end with a Ctrl-C that ends us, nor keep our folder busy.
    command.process_group(0).current_dir("/");
    command.spawn().context("start the watchdog of a PostgreSQL server")
}

/// Who the server runs as; `None` when we are not root and it runs as ourselves.
struct User(Option<(String, u32, u32)>);

impl User {
    fn pick() -> Result<Self> {
        if !find::is_root() {
            return Ok(Self(None));
        }
        let accounts = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        let account = |wanted: &str| {
            accounts.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|name| *name == wanted)?.to_owned();
                Some((name, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
            })
        };
        let found = account("postgres").or_else(|| account("nobody"));
        Ok(Self(Some(found.context("there is no unprivileged user to run PostgreSQL as")?)))
    }

    /// The command as this user, ended with the thread that starts it.
    fn command(&self, program: &Path) -> (PathBuf, Vec<String>) {
        let Some(setpriv) = find::on_path(&["setpriv"]) else {
            return (program.to_path_buf(), Vec::new());
        };
        let mut args = vec!["--pdeathsig=INT".to_owned()];
        if let Some((_, uid, gid)) = &self.0 {
            args.extend([
                format!("--reuid={uid}"),
                format!("--regid={gid}"),
                "--clear-groups".into(),
            ]);
        }
        args.extend(["--".into(), program.to_string_lossy().into_owned()]);
        (setpriv, args)
    }
}

fn new_directory(user: &User) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    let start = start_time(pid).context("read our own start time")?;
    let temporary = std::env::temp_dir();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    // It stands unquoted in a connection string and in the server's settings.
    if !temporary.is_absolute() || !temporary.to_string_lossy().chars().all(is_plain) {
        bail!(
            "TMPDIR is {}: PostgreSQL needs an absolute path without spaces or commas",
            temporary.display()
        );
    }
    let dir = temporary.join(format!("{PREFIX}{pid}-{start}-{number}"));
    // A socket's path has at most 107 bytes.
    if dir.as_os_str().len() + "/.s.PGSQL.5432".len() > 107 {
        bail!("{} is too long for a socket: set TMPDIR to a shorter path", dir.display());
    }
    std::fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700))
        .context("close the directory to others")?;
    if let Some((_, uid, gid)) = &user.0 {
        chown(&dir, Some(*uid), Some(*gid)).context("give the directory to the server's user")?;
    }
    Ok(dir)
}

fn init(console: &Console, bin: &Path, user: &User, dir: &Path) -> Result<()> {
    let (program, args) = user.command(&bin.join("initdb"));
    Cmd::new(program)
        .args(args)
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
        .arg("--pgdata")
        .arg(dir.join("data"))
        .env("HOME", dir)
        .dir(dir)
        .show(Show::OnFailure)
        .run(console)?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server and the reader of its log, both ended by `Server`"
)]
fn launch(bin: &Path, user: &User, dir: &Path, durable: bool) -> Result<Server> {
    let (program, args) = user.command(&bin.join("postgres"));
    let switch = if durable { "on" } else { "off" };
    let mut command = Command::new(program);
    command.args(args).arg("-D").arg(dir.join("data")).arg("-k").arg(dir);
    for setting in [
        "listen_addresses=",
        "max_connections=200",
        "logging_collector=off",
        "log_destination=stderr",
    ] {
        command.args(["-c", setting]);
    }
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        command.arg("-c").arg(format!("{name}={switch}"));
    }
    command.current_dir(dir).env("HOME", dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start the PostgreSQL server")?;
    let (sender, lines) = channel();
    let pipe = child.stderr.take().context("the server's log is a pipe")?;
    let log = std::thread::spawn(move || follow_log(pipe, &sender));
    let mut server = Server { dir: dir.to_path_buf(), child, log: Some(log), watchdog: None };
    await_ready(&mut server, &lines)?;
    Ok(server)
}

/// Reads the log to its end, so that the server never blocks on a full pipe.
fn follow_log(pipe: ChildStderr, lines: &std::sync::mpsc::Sender<String>) {
    for line in BufReader::new(pipe).split(b'\n').map_while(std::result::Result::ok) {
        // Nobody listens any more once the server is ready.
        drop(lines.send(String::from_utf8_lossy(&line).into_owned()));
    }
}

fn await_ready(server: &mut Server, lines: &Receiver<String>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut log = String::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) if line.contains("database system is ready to accept connections") => {
                return Ok(());
            }
            Ok(line) => log = log + &line + "\n",
            Err(_) => bail!("PostgreSQL did not become ready; its log:\n{log}"),
        }
        if server.has_ended()? && left.is_zero() {
            bail!("PostgreSQL ended at once; its log:\n{log}");
        }
    }
}

fn wait_until(patience: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if holds()? {
            return Ok(true);
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    holds()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server that wrote here has been waited for, or is proven dead"
)]
fn remove(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Ends servers and removes directories whose owner is dead, by the same script as the watchdog's.
fn sweep(console: &Console) {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(owner) = name.strip_prefix(PREFIX) else { continue };
        let mut parts = owner.split('-');
        let pid = parts.next().and_then(|pid| pid.parse::<u32>().ok());
        let (Some(pid), Some(start)) = (pid, parts.next()) else { continue };
        if start_time(pid).is_some_and(|now| now == start) {
            continue;
        }
        let ended = watch(&entry.path()).and_then(|mut watchdog| {
            drop(watchdog.stdin.take());
            watchdog.wait().context("wait for the watchdog")
        });
        match ended {
            Ok(_) if !entry.path().exists() => {
                console.say(&format!("removed {name}, left behind by a run that was killed"));
            }
            Ok(_) => console.complain(&format!("{name} could not be removed")),
            Err(error) => console.complain(&format!("{error:#}")),
        }
    }
}

/// Field 22 of `/proc/PID/stat`: together with the pid it names a process for good.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}
