//! Trees to kill, made of this very test binary, and an audit around each test.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stdout,
    clippy::zombie_processes,
    reason = "each test file uses a part, and a fixture reports on its stdout and never waits"
)]

use lastout_proc_tree::audit::Audit;
use lastout_proc_tree::{Containment, Level, Pid, ProcId, Tree};
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// More than anything takes on a slow and busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// The levels that this machine has.
pub fn levels() -> Vec<Level> {
    let all = [Level::PidNamespace, Level::Cgroup, Level::Supervisor, Level::Evidence];
    let available = |level: &Level| {
        let mut command = Command::new("true");
        Tree::spawn(&mut command, Containment::demand(*level)).is_ok()
    };
    all.into_iter().filter(available).collect()
}

/// Every way of holding a program, and a word for it.
pub fn ways() -> Vec<(String, Containment)> {
    let mut ways = Vec::new();
    for level in levels() {
        ways.push((level.to_string(), Containment::demand(level)));
        if level == Level::Supervisor {
            let copy = Containment::demand(level).supervise_by_copy();
            ways.push((format!("{level} by copy"), copy));
        }
        if level == Level::Cgroup || level == Level::Evidence {
            let dying = Containment::demand(level).die_with_parent();
            ways.push((format!("{level} that dies with its caller"), dying));
        }
    }
    ways
}

/// Runs a test alone in this process, and fails it when it leaves something behind.
pub fn audited(test: impl FnOnce()) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let audit = Audit::begin_in([]);
    test();
    audit.assert_clean(LONG);
}

/// The smallest executor: it parks the thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

pub fn read_line(from: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while from.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// A tree of this test binary. Each member reports its pid and sleeps.
pub struct Fixture {
    command: Command,
    reports: Option<PipeReader>,
    expected: usize,
}

impl Fixture {
    /// A root with three children; one child in its own session, one in its own group, and one daemon
    /// whose parent has ended: seven members.
    pub fn escape() -> Self {
        Self::of("escape", 7)
    }

    /// The same, and the daemon has an empty environment.
    pub fn ghost() -> Self {
        Self::of("ghost", 7)
    }

    /// A balanced tree of so many members.
    pub fn balanced(members: usize) -> Self {
        Self::of(&format!("balanced:{members}"), members)
    }

    fn of(kind: &str, expected: usize) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = again(kind);
        command.stdout(writer).stdin(Stdio::null());
        Self { command, reports: Some(reader), expected }
    }

    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Reads the reports from somewhere else: the command is run by another one.
    pub fn listen(&mut self, reports: PipeReader) {
        self.reports = Some(reports);
    }

    /// Waits until every member has reported; who they are.
    pub fn ready(&mut self) -> Vec<ProcId> {
        let members = self.reported().into_iter().map(|pid| ProcId::of(pid).unwrap());
        members.collect()
    }

    /// The same for a tree that may be in a PID namespace, whose members know themselves by other pids.
    pub fn ready_in(&mut self, tree: &Tree) -> Vec<ProcId> {
        if tree.guarantee().level() != Level::PidNamespace {
            return self.ready();
        }
        let inner = self.reported();
        let namespace = |pid: Pid| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let wanted = namespace(tree.root().unwrap().pid());
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok());
        let members: Vec<_> = pids
            .filter(|pid| namespace(*pid) == wanted && inner.contains(&inner_pid(*pid)))
            .filter_map(ProcId::of)
            .collect();
        assert_eq!(members.len(), self.expected);
        members
    }

    fn reported(&mut self) -> Vec<Pid> {
        let reports = BufReader::new(self.reports.take().expect("ready is called once"));
        let lines = reports.lines().map(|line| line.unwrap());
        let pids = lines.filter_map(|line| line.strip_prefix("member ").map(str::to_owned));
        let pids = pids.take(self.expected).map(|pid| pid.parse::<Pid>().unwrap());
        let pids: Vec<_> = pids.collect();
        assert_eq!(pids.len(), self.expected, "the fixture ended early");
        pids
    }

    /// Ends members that a test has left alive, by pid, after a look at who they are.
    pub fn end(&self, members: &[ProcId]) {
        for member in members {
            let pid = rustix::process::Pid::from_raw(member.pid() as i32).unwrap();
            if member.exists() {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            }
        }
    }
}

/// The pid that a process has in its own namespace.
fn inner_pid(pid: Pid) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let last = pids.and_then(|pids| pids.split_whitespace().last()?.parse().ok());
    last.unwrap_or(0)
}

/// This test binary, running its fixture.
fn again(kind: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["fixture", "--exact", "--nocapture", "--test-threads=1", "-q"]);
    command.env("LASTOUT_FIXTURE", kind).env("LASTOUT_MAIN", std::process::id().to_string());
    command.stderr(Stdio::inherit());
    command
}

/// This test binary, running `fixture` as a caller of its own: what `LASTOUT_CALLER` says.
pub fn caller(name: &str) -> Command {
    let mut command = again("none");
    command.env_remove("LASTOUT_FIXTURE").env("LASTOUT_CALLER", name);
    command
}

/// Where the process is in the cgroup v2 tree, found without the crate.
pub fn cgroup_of(pid: Pid) -> PathBuf {
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    let mut paths = roots.into_iter().map(|root| root.join(&own));
    paths.find(|path| path.join("cgroup.procs").exists()).unwrap()
}

/// The same command inside of new namespaces, as options of `unshare` name them.
pub fn inside(namespaces: &[&str], command: &Command) -> Command {
    let mut outer = Command::new("unshare");
    outer.args(namespaces).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// Runs a caller below the first process of a new PID namespace, which is in the session of the caller.
pub fn call_in_namespace(name: &str) {
    if !rustix::process::geteuid().is_root() {
        return; // Only root can make the namespace.
    }
    audited(|| {
        let mut first = Command::new("sh");
        let caller = caller(name);
        // A shell waits for whatever falls to it; it does not become the program, because more follows.
        first.args(["-c", "\"$0\" \"$@\"; exit $?"]).arg(caller.get_program());
        first.args(caller.get_args());
        first.envs(caller.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut command = inside(&["--pid", "--fork", "--mount-proc"], &first);
        assert!(command.stdin(Stdio::null()).status().unwrap().success());
    });
}

/// The name of the caller that this process is, if it is one.
pub fn called() -> Option<String> {
    std::env::var("LASTOUT_CALLER").ok()
}

/// Waits until the condition holds.
pub fn await_that(mut condition: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + LONG;
    while !condition() {
        assert!(std::time::Instant::now() < until, "the condition does not hold");
        // SLEEP: between two looks at the condition.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until none of them runs.
pub fn await_gone(members: &[ProcId]) {
    let until = std::time::Instant::now() + LONG;
    for member in members {
        while member.is_running() {
            assert!(std::time::Instant::now() < until, "{member} runs");
            // SLEEP: between two looks at the condition.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What a process of a fixture does; nothing in the test run itself.
pub fn fixture_main() {
    let Ok(kind) = std::env::var("LASTOUT_FIXTURE") else {
        return;
    };
    match kind.split_once(':').unwrap_or((&kind, "")) {
        ("member", _) => {}
        ("escape", _) => escape(again("daemonize:with")),
        ("ghost", _) => escape(again("daemonize:without")),
        ("daemonize", with) => daemonize(with == "with"),
        ("balanced", members) => balanced(members.parse().unwrap()),
        (other, _) => panic!("no fixture {other}"),
    }
    println!("\nmember {}", std::process::id());
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

fn escape(mut daemonizer: Command) {
    for _ in 0..3 {
        again("member").spawn().unwrap();
    }
    let mut session = Command::new("setsid");
    let member = again("member");
    session.arg(member.get_program()).args(member.get_args());
    session.envs(member.get_envs().filter_map(|(k, v)| Some((k, v?))));
    session.spawn().unwrap();
    again("member").process_group(0).spawn().unwrap();
    let _ = daemonizer.spawn().unwrap().wait().unwrap();
}

/// Starts a member in a session of its own and ends: the member is an orphan.
fn daemonize(with_environment: bool) {
    let member = again("member");
    let mut session = Command::new("setsid");
    if with_environment {
        session.arg(member.get_program()).args(member.get_args());
        session.env("LASTOUT_FIXTURE", "member");
    } else {
        // A shell that has no environment at all: it reports and becomes a sleep.
        session.args(["sh", "-c", "printf '\\nmember %s\\n' $$; exec sleep 600"]);
        session.env_clear().env("PATH", "/usr/bin:/bin");
        session = {
            let mut bare = Command::new("env");
            bare.args(["-i", "PATH=/usr/bin:/bin"]);
            bare.arg(session.get_program()).args(session.get_args());
            bare
        };
    }
    session.spawn().unwrap();
    std::process::exit(0);
}

fn balanced(members: usize) {
    let below = members - 1;
    for share in [below / 2, below - below / 2] {
        if share > 0 {
            again(&format!("balanced:{share}")).spawn().unwrap();
        }
    }
}
