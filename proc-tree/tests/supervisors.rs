//! A supervisor is small, has a name of its own, and does its work whatever its children do to it.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test with real processes"
)]

mod support;

use lastout_proc_tree::{Containment, Io, Level, ProcId, Program, SupervisorForm, Tree};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::Duration;
use support::{Fixture, LONG, audited, await_gone, read_line};

#[test]
fn fixture() {
    support::fixture_main();
    match support::called().as_deref() {
        Some("kills callers with a stopped supervisor") => {
            kill_callers_with_a_stopped_supervisor();
            std::process::exit(0);
        }
        Some("is large") => be_large(),
        Some(name) => name.strip_prefix("has a tree: ").into_iter().for_each(have_a_tree),
        None => {}
    }
}

/// Both forms of a supervisor.
fn forms() -> [(&'static str, Containment); 2] {
    let supervisor = || Containment::demand(Level::Supervisor);
    [("program", supervisor()), ("copy", supervisor().supervise_by_copy())]
}

/// The parent of the root.
fn supervisor_of(tree: &Tree) -> ProcId {
    let root = tree.root().unwrap().pid();
    let stat = std::fs::read_to_string(format!("/proc/{root}/stat")).unwrap();
    let parent = stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap();
    ProcId::of(parent.parse().unwrap()).unwrap()
}

fn text_of(pid: u32, file: &str) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// A value in kB of a file such as `smaps_rollup`.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
}

#[test]
fn a_supervisor_has_a_command_line_and_a_name_of_its_own() {
    audited(|| {
        for command in [false, true] {
            let (tree, _child) = match command {
                true => Tree::spawn(
                    std::process::Command::new("sleep").arg("600"),
                    Containment::demand(Level::Supervisor),
                ),
                false => Tree::spawn(
                    Program::new("sleep").arg("600"),
                    Containment::demand(Level::Supervisor),
                ),
            }
            .unwrap();
            let supervisor = supervisor_of(&tree).pid();
            let root = tree.root().unwrap().pid();
            support::await_that(|| text_of(supervisor, "comm").trim() == "lastout-superv");
            assert_eq!(text_of(supervisor, "cmdline"), format!("lastout-supervisor {root} - "));
            tree.kill_blocking(LONG).unwrap();
        }
    });
}

#[test]
fn a_supervisor_keeps_none_of_the_memory_of_its_caller() {
    audited(|| {
        let mut caller = support::caller("is large").stdin(Stdio::null()).spawn().unwrap();
        assert!(caller.wait().unwrap().success());
    });
}

/// Holds 64 MiB, and looks at what its supervisors hold.
fn be_large() {
    let held = vec![1u8; 64 << 20];
    let limits = [64, 8 * 1024];
    for ((form, containment), limit) in forms().into_iter().zip(limits) {
        let (tree, _child) = Tree::spawn(Program::new("sleep").arg("600"), containment).unwrap();
        let supervisor = supervisor_of(&tree).pid();
        support::await_that(|| text_of(supervisor, "comm").trim() == "lastout-superv");
        // It is named before it waits; its memory is what it was by then.
        let memory = text_of(supervisor, "smaps_rollup");
        let resident = kib(&memory, "Rss:");
        assert!(resident <= limit, "{form}: {memory}");
        tree.kill_blocking(LONG).unwrap();
    }
    assert!(held.iter().all(|byte| *byte == 1));
    std::process::exit(0);
}

#[test]
fn a_member_that_stops_the_supervisor_dies_with_all_others() {
    audited(|| {
        for (form, containment) in forms() {
            let script = "while :; do kill -STOP $PPID; done & kill -STOP $PPID; setsid sleep 600 & echo up; exec sleep 600";
            let mut program = Program::new("sh");
            program.args(["-c", script]).stdout(Io::Piped);
            let (tree, mut child) = Tree::spawn(&mut program, containment).unwrap();
            let supervisor = supervisor_of(&tree);
            read_line(child.stdout.as_mut().unwrap());
            let report = tree
                .kill_blocking(Duration::from_secs(20))
                .unwrap_or_else(|error| panic!("{form}: {error}"));
            assert!(report.is_clean(), "{form}: {report}");
            await_gone(&[supervisor]);
            // The end of file says that nobody holds the pipe.
            assert_eq!(child.stdout.take().unwrap().read(&mut [0; 1]).unwrap(), 0, "{form}");
        }
    });
}

/// Prints who is in the tree of a supervisor of this form and waits to be killed.
fn have_a_tree(form: &str) {
    let (_, containment) = forms().into_iter().find(|(name, _)| *name == form).unwrap();
    let mut fixture = Fixture::ghost();
    let (tree, _child) = Tree::spawn(fixture.command(), containment).unwrap();
    for member in fixture.ready() {
        println!("\nalive {member}");
    }
    println!("\nsupervisor {}", supervisor_of(&tree));
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

/// Kills callers whose supervisors are stopped, and waits for the end of their trees.
fn kill_callers_with_a_stopped_supervisor() {
    use rustix::process::{Pid, Signal, kill_process};
    for (form, _) in forms() {
        let mut command = support::caller(&format!("has a tree: {form}"));
        let mut caller = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut members: Vec<ProcId> = Vec::new();
        let mut supervisor = None;
        for line in BufReader::new(caller.stdout.take().unwrap()).lines().map(|line| line.unwrap())
        {
            if let Some(member) = line.strip_prefix("alive ") {
                members.push(member.parse().unwrap());
            } else if let Some(found) = line.strip_prefix("supervisor ") {
                supervisor = found.parse::<ProcId>().ok();
                break;
            }
        }
        let supervisor = supervisor.unwrap();
        let pid = Pid::from_raw(supervisor.pid() as i32).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        support::await_that(|| text_of(supervisor.pid(), "status").contains("State:\tT"));
        caller.kill().unwrap();
        caller.wait().unwrap();
        await_gone(&members);
        await_gone(&[supervisor]);
    }
}

#[test]
fn a_supervisor_that_is_stopped_when_its_caller_is_killed_ends_the_tree() {
    audited(kill_callers_with_a_stopped_supervisor);
}

#[test]
fn a_stopped_supervisor_that_falls_to_the_first_process_of_its_session_ends_the_tree() {
    support::call_in_namespace("kills callers with a stopped supervisor");
}

#[test]
fn a_tree_whose_supervisor_is_killed_at_once_is_known_and_killed() {
    audited(|| {
        for (form, containment) in forms() {
            let mut program = Program::new("sh");
            let script = "setsid sleep 600 & kill -KILL $PPID; exec sleep 600";
            program.args(["-c", script]).stdout(Io::Piped);
            let (tree, mut child) = Tree::spawn(&mut program, containment).unwrap();
            // The death of the supervisor is that of the root.
            assert!(!child.wait().unwrap().success(), "{form}");
            let report = tree.kill_blocking(LONG).unwrap_or_else(|error| panic!("{form}: {error}"));
            assert!(report.is_clean(), "{form}: {report}");
            assert_eq!(child.stdout.take().unwrap().read(&mut [0; 1]).unwrap(), 0, "{form}");
        }
    });
}

#[test]
fn the_root_of_a_namespace_has_its_number_even_if_it_ends_at_once() {
    let containment = || Containment::demand(Level::PidNamespace);
    if Tree::spawn(&mut Program::new("true"), containment()).is_err() {
        return; // It needs privileges.
    }
    audited(|| {
        for _ in 0..50 {
            let (tree, mut child) = Tree::spawn(&mut Program::new("true"), containment()).unwrap();
            assert!(tree.root().unwrap().pid() > 0);
            assert!(child.wait().unwrap().success());
        }
    });
}

#[test]
fn a_supervisor_of_a_command_is_the_program_as_well() {
    audited(|| {
        let mut command = std::process::Command::new("sleep");
        let (tree, _child) =
            Tree::spawn(command.arg("600"), Containment::demand(Level::Supervisor)).unwrap();
        assert_eq!(tree.guarantee().supervisor(), Some(&SupervisorForm::Program));
        assert!(text_of(supervisor_of(&tree).pid(), "cmdline").starts_with("lastout-supervisor "));
        tree.kill_blocking(LONG).unwrap();
    });
}
