//! On Windows a job object holds the tree: nobody of it outlives a kill, a drop, or the end of the caller.
//!
//! The processes are this program again, in a role. Each of them holds a socket to its test, which tells when it is
//! gone without the help of the crate, and ends it with the test.
#![cfg(windows)]

use lastout_proc_tree::{
    AdoptError, Cause, Child, Containment, KillTreeError, Level, LimitError, Limits, Policy,
    ProcId, Refused, Resource, SpawnError, Tree, WaitError, kill_descendant_tree,
};
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::windows::process::CommandExt;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);
const ROLE: &str = "LASTOUT_TEST_ROLE";
const HOME: &str = "LASTOUT_TEST_HOME";
/// `DETACHED_PROCESS` and `CREATE_NEW_PROCESS_GROUP`: what a daemon of Windows asks for.
const DETACHED: u32 = 0x0000_0008 | 0x0000_0200;

/// This program again, in a role.
fn program(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "in_a_role", "--test-threads=1"]).env(ROLE, role);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "a process of a test that is no tree")]
fn start(command: &mut Command) -> std::process::Child {
    command.spawn().unwrap()
}

/// No test: what the processes of the tests do.
#[test]
fn in_a_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let _tree = match role.as_str() {
        "parent" => {
            start(&mut program("child"));
            None
        }
        "child" | "launcher" => {
            start(program("grandchild").creation_flags(DETACHED));
            None
        }
        "hydra" => {
            (0..30).for_each(|_| drop(start(&mut program("leaf"))));
            None
        }
        "caller" => Some(Tree::spawn(&mut program("parent"), Containment::strongest()).unwrap().0),
        "patient caller" => {
            let containment = Containment::strongest().outlive_caller();
            Some(Tree::spawn(&mut program("parent"), containment).unwrap().0)
        }
        _ => None,
    };
    let role = match role.as_str() {
        "launcher" => return,
        // It is one of those that it starts.
        "hydra" => "leaf",
        role => role,
    };
    let mut home = TcpStream::connect(std::env::var(HOME).unwrap()).unwrap();
    home.write_all(format!("{role:>20}{:>10}", std::process::id()).as_bytes()).unwrap();
    // It ends with its test.
    let mut word = [0];
    while home.read_exact(&mut word).is_ok() && home.write_all(&word).is_ok() {}
}

/// Where the processes of a test report.
struct Home(TcpListener);

/// A process of a test, by its socket.
struct Visitor {
    role: String,
    pid: u32,
    socket: TcpStream,
}

impl Home {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn program(&self, role: &str) -> Command {
        let mut command = program(role);
        command.env(HOME, self.0.local_addr().unwrap().to_string());
        command
    }

    fn spawn(&self, role: &str) -> (Tree, Child) {
        Tree::spawn(&mut self.program(role), Containment::strongest()).unwrap()
    }

    /// Waits for processes of exactly these roles, and returns them in that order.
    fn await_all(&self, roles: &[&str]) -> Vec<Visitor> {
        let deadline = Instant::now() + LONG;
        self.0.set_nonblocking(true).unwrap();
        let mut come = Vec::new();
        while come.len() < roles.len() {
            match self.0.accept() {
                Ok((mut socket, _)) => {
                    socket.set_nonblocking(false).unwrap();
                    socket.set_read_timeout(Some(LONG)).unwrap();
                    let mut text = [0; 30];
                    socket.read_exact(&mut text).unwrap();
                    let text = std::str::from_utf8(&text).unwrap();
                    let role = text[..20].trim().to_owned();
                    assert!(roles.contains(&role.as_str()), "nobody asked for a {role}");
                    come.push(Visitor { role, pid: text[20..].trim().parse().unwrap(), socket });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "{} of {roles:?} have come", come.len());
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
        }
        let place = |visitor: &Visitor| roles.iter().position(|role| *role == visitor.role);
        come.sort_by_key(place);
        come
    }
}

impl Visitor {
    /// Whether it answers.
    fn lives(&mut self) -> bool {
        let mut word = [0];
        self.socket.write_all(b"?").is_ok() && matches!(self.socket.read(&mut word), Ok(1))
    }

    /// Waits until the system has closed its socket.
    fn await_end(&mut self) {
        let deadline = Instant::now() + LONG;
        self.socket.set_read_timeout(Some(SHORT)).unwrap();
        let mut word = [0];
        loop {
            match self.socket.read(&mut word) {
                Ok(0) => return,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                // Asked again and again: it is the state that counts, not the news of it.
                Err(error)
                    if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) =>
                {
                    assert!(Instant::now() < deadline, "the {} does not end", self.role);
                }
                other => panic!("the {} does not end: {other:?}", self.role),
            }
        }
    }
}

const FAMILY: [&str; 3] = ["parent", "child", "grandchild"];

fn await_ends(visitors: &mut [Visitor]) {
    visitors.iter_mut().for_each(Visitor::await_end);
}

#[test]
fn a_drop_ends_parent_child_and_detached_grandchild() {
    let home = Home::new();
    let (tree, _child) = home.spawn("parent");
    let mut family = home.await_all(&FAMILY);
    assert!(family.iter_mut().all(Visitor::lives));
    drop(tree);
    await_ends(&mut family);
}

#[test]
fn a_drop_in_an_unwind_ends_the_tree() {
    let home = Home::new();
    let mut family = Vec::new();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let (_tree, _child) = home.spawn("parent");
        family = home.await_all(&FAMILY);
        panic!("on purpose");
    }));
    assert!(unwound.is_err());
    await_ends(&mut family);
}

#[test]
fn a_kill_counts_whom_it_ends_and_tells_that_nobody_is_left() {
    let home = Home::new();
    let (tree, mut child) = home.spawn("parent");
    let mut family = home.await_all(&FAMILY);
    let mut members: Vec<_> = tree.members().unwrap().iter().map(ProcId::pid).collect();
    let mut pids: Vec<_> = family.iter().map(|visitor| visitor.pid).collect();
    (members.sort_unstable(), pids.sort_unstable());
    assert_eq!(members, pids);
    assert_eq!(tree.usage().unwrap().tasks.unwrap().value, 3);
    assert!(child.try_wait().unwrap().is_none() && tree.root_end().is_none());

    let report = tree.kill_blocking(LONG).unwrap();
    assert!(report.is_clean() && report.forced, "{report}");
    assert_eq!(report.killed, 3);
    assert!(tree.members().unwrap().is_empty());
    await_ends(&mut family);
    assert!(!child.wait().unwrap().success());
    assert_eq!(tree.root_end().unwrap().cause, Cause::Tree);
    let again = tree.kill_blocking(Duration::ZERO).unwrap();
    assert_eq!((again.killed, again.forced), (0, false));
}

#[test]
fn a_tree_ends_with_its_caller_that_was_terminated() {
    let home = Home::new();
    let mut caller = start(&mut home.program("caller"));
    let mut all = home.await_all(&["caller", "parent", "child", "grandchild"]);
    assert!(all.iter_mut().all(Visitor::lives));
    caller.kill().unwrap();
    await_ends(&mut all);
    caller.wait().unwrap();
}

#[test]
fn a_tree_that_outlives_its_caller_does() {
    let home = Home::new();
    let mut caller = start(&mut home.program("patient caller"));
    let mut all = home.await_all(&["patient caller", "parent", "child", "grandchild"]);
    caller.kill().unwrap();
    caller.wait().unwrap();
    all[0].await_end();
    assert!(all[1..].iter_mut().all(Visitor::lives));
}

#[test]
fn a_time_limit_tells_how_many_run_and_the_kill_ends_them() {
    let home = Home::new();
    let (tree, _child) = home.spawn("parent");
    let mut family = home.await_all(&FAMILY);
    match tree.wait_blocking(SHORT) {
        Err(WaitError::Deadline { alive: 3 }) => {}
        other => panic!("{other:?}"),
    }
    assert!(family.iter_mut().all(Visitor::lives));
    assert_eq!(tree.kill_blocking(LONG).unwrap().killed, 3);
    let end = tree.wait_blocking(Duration::ZERO).unwrap();
    assert_eq!(end.root.unwrap().cause, Cause::Tree);
    await_ends(&mut family);
}

#[test]
fn the_end_of_the_root_is_not_the_end_of_the_tree() {
    let home = Home::new();
    let (tree, mut child) = home.spawn("launcher");
    let mut orphan = home.await_all(&["grandchild"]);
    assert!(child.wait_until(LONG).unwrap().unwrap().success());
    assert_eq!(tree.root_end().unwrap().cause, Cause::Exit);
    assert!(matches!(tree.wait_empty_blocking(SHORT), Err(WaitError::Deadline { alive: 1 })));
    assert!(orphan[0].lives());
    let report = tree.kill_blocking(LONG).unwrap();
    assert_eq!((report.killed, report.survivors.len()), (1, 0));
    await_ends(&mut orphan);
    assert_eq!(tree.root_end().unwrap().cause, Cause::Exit, "it had ended before");
}

#[test]
fn a_tree_that_is_disarmed_lives_and_one_beside_a_killed_tree_does() {
    let home = Home::new();
    let beside = Home::new();
    let (spared, _other) = beside.spawn("parent");
    let mut innocents = beside.await_all(&FAMILY);
    let (tree, _child) = home.spawn("parent");
    let mut family = home.await_all(&FAMILY);
    tree.disarm();
    drop(tree);
    assert!(family.iter_mut().all(Visitor::lives), "it was let live");
    drop(spared);
    await_ends(&mut innocents);
    assert!(family.iter_mut().all(Visitor::lives), "it is no part of the other one");
}

#[test]
fn a_tree_inside_of_a_tree_ends_with_it() {
    let home = Home::new();
    let (tree, _child) = home.spawn("caller");
    let mut all = home.await_all(&["caller", "parent", "child", "grandchild"]);
    assert_eq!(tree.members().unwrap().len(), 4);
    assert_eq!(tree.kill_blocking(LONG).unwrap().killed, 4);
    await_ends(&mut all);
}

#[test]
fn several_threads_may_wait_and_kill_at_once() {
    let home = Home::new();
    let (tree, _child) = home.spawn("parent");
    let mut family = home.await_all(&FAMILY);
    std::thread::scope(|scope| {
        let waits: Vec<_> =
            (0..3).map(|_| scope.spawn(|| tree.wait_empty_blocking(LONG))).collect();
        let kills: Vec<_> = (0..3).map(|_| scope.spawn(|| tree.kill_blocking(LONG))).collect();
        assert!(waits.into_iter().all(|wait| wait.join().unwrap().is_ok()));
        assert!(kills.into_iter().all(|kill| kill.join().unwrap().unwrap().is_clean()));
    });
    await_ends(&mut family);
}

#[test]
fn a_tree_that_goes_on_starting_processes_ends() {
    let home = Home::new();
    let (tree, _child) = home.spawn("hydra");
    let mut leaves = home.await_all(&["leaf"; 5]);
    let report = tree.kill_blocking(LONG).unwrap();
    assert!(report.killed >= 5, "{report}");
    assert!(tree.members().unwrap().is_empty());
    await_ends(&mut leaves);
    // Whoever has come meanwhile has ended, too, perhaps without a word.
    while let Ok((socket, _)) = home.0.accept() {
        socket.set_nonblocking(false).unwrap();
        let mut late = Visitor { role: "late leaf".into(), pid: 0, socket };
        late.socket.set_read_timeout(Some(LONG)).unwrap();
        let mut words = Vec::new();
        let ended = late.socket.read_to_end(&mut words);
        assert!(ended.is_ok() || ended.unwrap_err().kind() == ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_limit_of_processor_time_is_set_or_the_start_says_that_it_cannot_be() {
    let home = Home::new();
    let limited = |milli_cpus| {
        let limits = Limits::new().milli_cpus(milli_cpus);
        let containment = Containment::strongest().limits(limits);
        Tree::spawn(&mut home.program("leaf"), containment)
    };
    match limited(u32::MAX) {
        Ok((tree, _child)) => {
            assert_eq!(tree.limits()[0].resource, Resource::Cpu);
            assert!(tree.kill_blocking(LONG).unwrap().is_clean());
        }
        Err(SpawnError::Limit(LimitError::Refused { resource, .. })) => {
            assert_eq!(resource, Resource::Cpu);
            home.0.set_nonblocking(true).unwrap();
            assert!(home.0.accept().is_err(), "nothing runs");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shutdown_ends_the_whole_tree_whether_it_can_be_asked_or_not() {
    let home = Home::new();
    let containments = [Containment::strongest(), Containment::strongest().keep_group()];
    for containment in containments {
        let (tree, _child) = Tree::spawn(&mut home.program("parent"), containment).unwrap();
        let mut family = home.await_all(&FAMILY);
        let report = tree.terminate_blocking(&Policy::term(SHORT)).unwrap();
        assert!(report.is_clean(), "{report}");
        await_ends(&mut family);
    }
}

#[test]
fn handles_and_futures_may_go_to_other_threads() {
    fn is_shared<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    fn is_sent<T: Send>(_: &T) {}
    let home = Home::new();
    let (tree, child) = home.spawn("leaf");
    is_shared(&tree);
    is_shared(&child);
    is_sent(&tree.kill(LONG));
    is_sent(&tree.shutdown(LONG));
    is_sent(&tree.wait(LONG));
    let mut leaf = home.await_all(&["leaf"]);
    std::thread::scope(|scope| scope.spawn(|| drop(tree)).join().unwrap());
    await_ends(&mut leaf);
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future without any runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn futures_run_without_a_runtime_and_a_dropped_one_leaves_the_tree_alone() {
    let home = Home::new();
    let (tree, _child) = home.spawn("parent");
    let mut family = home.await_all(&FAMILY);
    {
        let mut wait = pin!(tree.wait_empty(LONG));
        let mut context = Context::from_waker(Waker::noop());
        assert!(wait.as_mut().poll(&mut context).is_pending());
    }
    assert!(matches!(block_on(tree.wait(SHORT)), Err(WaitError::Deadline { alive: 3 })));
    assert!(family.iter_mut().all(Visitor::lives));
    assert_eq!(block_on(tree.kill(LONG)).unwrap().killed, 3);
    await_ends(&mut family);
    assert!(block_on(tree.shutdown(LONG)).unwrap().is_clean());
    assert_eq!(block_on(tree.wait(LONG)).unwrap().root.unwrap().cause, Cause::Tree);
}

#[test]
fn limits_are_set_before_the_start_or_the_start_fails() {
    let home = Home::new();
    let limits = Limits::new().memory(1 << 30).tasks(20);
    let containment = Containment::strongest().limits(limits).measured();
    let (tree, _child) = Tree::spawn(&mut home.program("parent"), containment).unwrap();
    let mut family = home.await_all(&FAMILY);
    let set: Vec<_> = tree.limits().iter().map(|limit| (limit.resource, limit.value)).collect();
    assert_eq!(set, [(Resource::Memory, 1 << 30), (Resource::Tasks, 20)]);
    assert_eq!(tree.kill_blocking(LONG).unwrap().killed, 3);
    await_ends(&mut family);
    for limits in [Limits::new().memory(0), Limits::new().tasks(0), Limits::new().milli_cpus(0)] {
        let containment = Containment::strongest().limits(limits);
        match Tree::spawn(&mut home.program("parent"), containment) {
            Err(SpawnError::Limit(LimitError::Zero(_))) => {}
            other => panic!("{other:?}"),
        }
    }
    home.0.set_nonblocking(true).unwrap();
    assert!(home.0.accept().is_err(), "what was refused has not run");
}

#[test]
fn what_is_not_there_is_refused_and_nothing_runs() {
    let home = Home::new();
    for level in [Level::Cgroup, Level::Supervisor, Level::Evidence, Level::PidNamespace] {
        match Tree::spawn(&mut home.program("parent"), Containment::demand(level)) {
            Err(SpawnError::Unavailable { level: refused, .. }) => assert_eq!(refused, level),
            other => panic!("{other:?}"),
        }
    }
    let mut missing = Command::new("lastout-no-such-program");
    match Tree::spawn(&mut missing, Containment::demand(Level::Job)) {
        Err(SpawnError::Command { program, .. }) => assert_eq!(program, "lastout-no-such-program"),
        other => panic!("{other:?}"),
    }
    home.0.set_nonblocking(true).unwrap();
    assert!(home.0.accept().is_err());
}

#[test]
fn a_command_can_be_started_again_by_a_tree_and_by_itself() {
    let home = Home::new();
    let mut command = home.program("leaf");
    for _ in 0..2 {
        let (tree, _child) = Tree::spawn(&mut command, Containment::strongest()).unwrap();
        let mut leaf = home.await_all(&["leaf"]);
        assert_eq!(tree.guarantee().level(), Level::Job);
        assert!(tree.guarantee().is_complete() && tree.guarantee().dies_with_parent());
        drop(tree);
        await_ends(&mut leaf);
    }
    let mut plain = start(&mut command);
    let mut leaf = home.await_all(&["leaf"]);
    assert!(leaf[0].lives(), "it is not suspended");
    plain.kill().unwrap();
    plain.wait().unwrap();
}

#[test]
fn an_adoption_takes_the_descendants_and_what_they_start_later() {
    let home = Home::new();
    let mut plain = start(&mut home.program("parent"));
    let mut family = home.await_all(&FAMILY);
    let report = kill_descendant_tree(plain.id(), LONG).unwrap();
    assert_eq!((report.killed, report.guarantee.level()), (3, Level::Walk));
    await_ends(&mut family);
    plain.wait().unwrap();
}

#[test]
fn the_caller_its_parent_and_nobody_are_not_adopted() {
    let me = std::process::id();
    for pid in [0, me] {
        match Tree::adopt(pid) {
            Err(AdoptError::Refused { pid: refused, why }) => {
                assert_eq!(refused, pid);
                assert_eq!(why, if pid == 0 { Refused::System } else { Refused::Caller });
            }
            other => panic!("{other:?}"),
        }
    }
    for nobody in [me + 1, u32::MAX] {
        let gone = kill_descendant_tree(nobody, SHORT);
        assert!(matches!(gone, Err(KillTreeError::Adopt(AdoptError::Gone(_)))), "{gone:?}");
    }
}

#[test]
fn an_identity_is_that_of_one_process() {
    let me = ProcId::current();
    assert!(me.exists() && me.is_running());
    assert_eq!(me.to_string().parse(), Ok(me));
    assert_eq!(ProcId::of(me.pid() + 1), None, "the system takes that number for ours");
    let home = Home::new();
    let (tree, child) = home.spawn("leaf");
    let leaf = home.await_all(&["leaf"]);
    let id = ProcId::of(leaf[0].pid).unwrap();
    assert!(id.is_same(&child.id()) && Some(id) == tree.root() && id.is_running());
    tree.kill_blocking(LONG).unwrap();
    assert!(id.exists() && !id.is_running(), "the tree holds its number");
    drop((tree, child));
    assert!(!id.is_running());
    // Of another system.
    let other: ProcId = format!("{}@500.000000000000b007", me.pid()).parse().unwrap();
    assert!(!other.exists() && !other.is_running());
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_command_of_tokio_has_pipes_of_tokio_and_the_same_tree() {
    use tokio::io::AsyncReadExt;
    let home = Home::new();
    let mut command = tokio::process::Command::from(home.program("parent"));
    let (tree, mut child) = Tree::spawn(&mut command, Containment::strongest()).unwrap();
    let mut family = home.await_all(&FAMILY);
    assert!(child.try_wait().unwrap().is_none());
    {
        let mut wait = pin!(child.wait());
        let mut context = Context::from_waker(Waker::noop());
        assert!(wait.as_mut().poll(&mut context).is_pending(), "it runs");
    }
    assert_eq!(tree.kill(LONG).await.unwrap().killed, 3);
    assert!(!child.wait().await.unwrap().success());
    await_ends(&mut family);

    let mut command = tokio::process::Command::new("cmd");
    command.args(["/c", "echo hello"]).stdout(Stdio::piped());
    let (tree, mut child) = Tree::spawn(&mut command, Containment::strongest()).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text.trim(), "hello");
    assert!(child.wait().await.unwrap().success());
    tree.wait_empty(LONG).await.unwrap();
}
