//! A program is started with exactly what was said, and a start that fails says why and leaves nothing.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test with real processes"
)]

mod support;

use lastout_proc_tree::{
    Child, Containment, Io, Level, Program, SpawnError, SpawnStep, SupervisorForm, Tree,
    TreeCommand,
};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use support::{LONG, audited, levels, ways};

#[test]
fn fixture() {
    support::fixture_main();
    if support::called().as_deref() == Some("makes a sibling") {
        make_sibling();
    }
}

fn shell(script: &str) -> Program {
    let mut program = Program::new("sh");
    program.args(["-c", script]).stdin(Io::Null).stdout(Io::Piped);
    program
}

/// Runs a program to its end; what it wrote.
fn output(program: &mut Program, containment: Containment) -> String {
    let (tree, child) = Tree::spawn(program, containment).unwrap();
    let text = read_to_end(child, &tree);
    tree.wait_empty_blocking(LONG).unwrap();
    text
}

fn read_to_end(mut child: Child, tree: &Tree) -> String {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {text}: {}", tree.guarantee());
    text
}

#[test]
fn a_program_gets_its_words_variables_directory_and_streams() {
    audited(|| {
        for (way, containment) in ways() {
            let mut program =
                shell("printf '%s|' \"$0\" \"$1\" \"$A\" \"$GONE\" \"$PWD\"; cat; exec 1>&2");
            program.args(["zero", ""]).env("A", "b=c").env("GONE", "x").env_remove("GONE");
            program.current_dir("/").stdin(Io::Piped);
            let (tree, mut child) = Tree::spawn(&mut program, containment).unwrap();
            child.stdin.take().unwrap().write_all(b"in").unwrap();
            assert_eq!(read_to_end(child, &tree), "zero||b=c||/|in", "{way}");
            tree.wait_empty_blocking(LONG).unwrap();
        }
    });
}

#[test]
fn a_cleared_environment_holds_what_was_set_and_the_variable_of_the_tree() {
    audited(|| {
        let mut program = Program::new("env");
        program.arg0("its-name").env("GONE", "x").env_clear().env("A", "1").stdout(Io::Piped);
        program.env("PATH", std::env::var_os("PATH").unwrap());
        let text = output(&mut program, Containment::strongest());
        let names: Vec<_> = text.lines().map(|line| line.split('=').next().unwrap()).collect();
        assert!(names.contains(&"A") && names.contains(&"PATH"), "{text}");
        assert!(names.iter().any(|name| name.starts_with("LASTOUT_TREE_")), "{text}");
        assert_eq!(names.len(), 3, "{text}");
    });
}

#[test]
fn a_start_that_fails_says_at_which_step_and_leaves_nothing() {
    audited(|| {
        let file = std::env::temp_dir().join(format!("lastout-program-{}", std::process::id()));
        std::fs::write(&file, "no program").unwrap();
        let mut nowhere = Program::new("true");
        nowhere.current_dir("/does/not/exist");
        let mut cases = [
            (Program::new("/does/not/exist"), SpawnStep::Program, libc::ENOENT),
            (nowhere, SpawnStep::Directory, libc::ENOENT),
            (Program::new(&file), SpawnStep::Program, libc::EACCES),
            (Program::new(file.join("x")), SpawnStep::Program, libc::ENOTDIR),
            (Program::new("lastout-no-such-program"), SpawnStep::Program, libc::ENOENT),
        ];
        for (program, expected, errno) in &mut cases {
            for (way, containment) in ways() {
                match Tree::spawn(program, containment) {
                    Err(SpawnError::Command { step, source, .. }) => {
                        assert_eq!(
                            (step, source.raw_os_error()),
                            (*expected, Some(*errno)),
                            "{way}"
                        );
                    }
                    other => panic!("{way}: {other:?}"),
                }
            }
        }
        std::fs::remove_file(file).unwrap();
    });
}

#[test]
fn one_program_is_spawned_again_and_again() {
    audited(|| {
        let mut program = shell("echo $$");
        let first = output(&mut program, Containment::strongest());
        let second = output(&mut program, Containment::strongest());
        assert_ne!(first, second);
    });
}

#[test]
fn the_root_stands_in_the_group_and_session_that_was_asked_for() {
    // pid, parent, group, session and terminal of the shell itself.
    const SCRIPT: &str = "read a <\"/proc/$$/stat\"; a=${a##*)}; set -- $a; echo $$ $3 $4 $5";
    audited(|| {
        let [own, own_session] = own_group_and_session();
        for (way, containment) in ways() {
            let supervised = way.contains("namespace");
            let [pid, group, session, _] = numbers(&output(&mut shell(SCRIPT), containment));
            if !supervised {
                assert_eq!((group, session), (pid, own_session), "{way}");
            }
        }
        for (way, containment) in ways().into_iter().filter(|(way, _)| !way.contains("namespace")) {
            let [_, group, session, _] =
                numbers(&output(&mut shell(SCRIPT), containment.keep_group()));
            assert_eq!((group, session), (own, own_session), "{way}");
        }
        for (way, containment) in ways().into_iter().filter(|(way, _)| !way.contains("namespace")) {
            let [pid, group, session, terminal] =
                numbers(&output(&mut shell(SCRIPT), containment.new_session()));
            assert_eq!((group, session, terminal), (pid, pid, 0), "{way}");
        }
        for (way, containment) in ways().into_iter().filter(|(way, _)| !way.contains("namespace")) {
            let (_outer, inner) = lastout_proc_tree::terminal::open().unwrap();
            let [pid, group, session, terminal] =
                numbers(&output(&mut shell(SCRIPT), containment.new_session_on(inner)));
            assert_eq!((group, session), (pid, pid), "{way}");
            assert_ne!(terminal, 0, "{way}");
        }
    });
}

/// As the kernel prints them: 0 where the leader is outside of the PID namespace, which no type for pids allows.
fn own_group_and_session() -> [i32; 2] {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // state, parent, group, session
    let mut fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(2);
    [(); 2].map(|()| fields.next().unwrap().parse().unwrap())
}

fn numbers(text: &str) -> [i32; 4] {
    let numbers: Vec<_> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

#[test]
fn descriptors_whose_numbers_cross_all_arrive() {
    audited(|| {
        for (way, containment) in ways() {
            let (mut from_three, three) = std::io::pipe().unwrap();
            let (mut from_four, four) = std::io::pipe().unwrap();
            // Each is to get the number that the other one has here.
            let numbers =
                [three.as_fd(), four.as_fd()].map(|fd| std::os::fd::AsRawFd::as_raw_fd(&fd));
            let containment =
                containment.descriptor(numbers[1], three).descriptor(numbers[0], four);
            let script = format!(
                "printf three >/dev/fd/{}; printf four >/dev/fd/{}",
                numbers[1], numbers[0]
            );
            output(&mut shell(&script), containment);
            let (mut three, mut four) = (String::new(), String::new());
            from_three.read_to_string(&mut three).unwrap();
            from_four.read_to_string(&mut four).unwrap();
            assert_eq!((three.as_str(), four.as_str()), ("three", "four"), "{way}");
        }
        let (a, b) = std::io::pipe().unwrap();
        let twice = Containment::strongest().descriptor(9, a).descriptor(9, b);
        let refused = Tree::spawn(&mut shell("true"), twice).unwrap_err();
        assert!(matches!(refused, SpawnError::Descriptor { number: 9, .. }), "{refused:?}");
    });
}

#[test]
fn another_user_is_taken_whole_and_the_caller_stays_as_it_was() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    audited(|| {
        for (way, containment) in ways() {
            let mut program = shell("echo $(id -u) $(id -g) $(id -G)");
            program.user(65_534).group(65_533);
            let text = output(&mut program, containment);
            assert_eq!(text.trim(), "65534 65533 65533", "{way}");
        }
        let mut program = shell("id -G");
        program.user(65_534).group(65_533).groups([7, 8]);
        assert_eq!(output(&mut program, Containment::strongest()).trim(), "65533 7 8");
        let dumpable = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(dumpable, rustix::process::DumpableBehavior::Dumpable);
    });
}

#[test]
fn the_signals_of_a_program_are_those_of_std() {
    let status = "while read a b; do case $a in SigBlk:|SigIgn:|SigCgt:) echo $a $b;; esac; done </proc/$$/status";
    audited(|| {
        let mut command = Command::new("sh");
        command.args(["-c", status]).stdin(Stdio::null());
        let std = signals(&String::from_utf8(command.output().unwrap().stdout).unwrap());
        for (way, containment) in ways() {
            assert_eq!(signals(&output(&mut shell(status), containment)), std, "{way}");
        }
    });
}

/// Blocked, ignored and caught signals, without the two that libc keeps for itself.
fn signals(text: &str) -> Vec<u64> {
    let words = text.split_whitespace().filter(|word| !word.ends_with(':'));
    let masks: Vec<_> =
        words.map(|word| u64::from_str_radix(word, 16).unwrap() & !(3 << 31)).collect();
    assert_eq!(masks.len(), 3, "{text}");
    masks
}

#[test]
fn nothing_of_a_tree_stays_in_a_command() {
    audited(|| {
        let mut command = Command::new("sleep");
        command.arg("600");
        for _ in 0..20 {
            let (tree, _child) =
                Tree::spawn(&mut command, Containment::demand(Level::Evidence)).unwrap();
            tree.kill_blocking(LONG).unwrap();
        }
        assert_eq!(command.get_envs().count(), 0);
        command.env("A", "1");
        for _ in 0..20 {
            let (tree, _child) =
                Tree::spawn(&mut command, Containment::demand(Level::Evidence)).unwrap();
            tree.kill_blocking(LONG).unwrap();
        }
        // Std keeps a note of the one name that was taken out.
        assert_eq!(command.get_envs().filter_map(|(_, value)| value).count(), 1);
        assert!(command.get_envs().count() <= 2);
    });
}

#[test]
fn a_preparation_that_is_dropped_or_used_is_over() {
    audited(|| {
        for level in levels().into_iter().filter(|l| matches!(l, Level::Cgroup | Level::Evidence)) {
            let mut command = Command::new("sleep");
            command.arg("600");
            drop(command.contain(Containment::demand(level)).unwrap());
            let contained = command.contain(Containment::demand(level)).unwrap();
            let mut inside = command.spawn().unwrap();
            let tree = contained.adopt(inside.id()).unwrap();
            let mut outside = command.spawn().unwrap();
            let variables = |pid: u32| {
                let text = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
                String::from_utf8_lossy(&text).matches("LASTOUT_TREE_").count()
            };
            assert_eq!((variables(inside.id()), variables(outside.id())), (1, 0), "{level}");
            assert!(tree.kill_blocking(LONG).unwrap().is_clean());
            inside.wait().unwrap();
            assert!(outside.try_wait().unwrap().is_none(), "{level}: it is no member");
            outside.kill().unwrap();
            outside.wait().unwrap();
        }
    });
}

#[test]
fn a_directory_of_the_path_that_cannot_be_searched_is_passed_over() {
    audited(|| {
        let place = std::env::temp_dir().join(format!("lastout-path-{}", std::process::id()));
        std::fs::create_dir(&place).unwrap();
        std::os::unix::fs::symlink("loop", place.join("loop")).unwrap();
        let file = place.join("file");
        std::fs::write(&file, "").unwrap();
        let (long, deep) = ("x".repeat(300), "/x".repeat(4000));
        let closed = place.join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::write(closed.join("env"), "not executable").unwrap();
        let shown = |name: &str| place.join(name).display().to_string();
        let bad = [long, deep, shown("loop"), shown("file"), shown("none"), shown("closed")];
        for bad in bad {
            let mut program = Program::new("env");
            program.stdout(Io::Null).env("PATH", format!("{bad}:/usr/bin:/bin"));
            let (tree, mut child) = Tree::spawn(&mut program, Containment::strongest())
                .unwrap_or_else(|error| panic!("{bad:.50}: {error:?}"));
            assert!(child.wait().unwrap().success());
            tree.kill_blocking(LONG).unwrap();
        }
        std::fs::remove_dir_all(&place).unwrap();
    });
}

/// Makes a child of its own parent, which sleeps, and tells its pid.
#[expect(unsafe_code, reason = "std cannot make a sibling")]
fn make_sibling() {
    let (flags, no) = (libc::CLONE_PARENT as libc::c_ulong, 0 as libc::c_ulong);
    // SAFETY: a fork; the copy makes system calls alone.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, no, no, no, no) };
    if pid == 0 {
        loop {
            // SAFETY: a system call without arguments.
            unsafe { libc::pause() };
        }
    }
    println!("\nsibling {pid}");
    std::process::exit(0);
}

#[test]
fn a_sibling_that_the_root_has_made_dies_and_is_no_zombie_of_the_caller() {
    audited(|| {
        for (way, containment) in ways() {
            let caller = support::caller("makes a sibling");
            let mut program = Program::new(caller.get_program());
            program.args(caller.get_args()).stdin(Io::Null).stdout(Io::Piped);
            program.envs(caller.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let (tree, child) = Tree::spawn(&mut program, containment).unwrap();
            let text = read_to_end_of_line(child, "sibling ");
            let report = tree.kill_blocking(LONG).unwrap_or_else(|error| panic!("{way}: {error}"));
            assert!(report.is_clean(), "{way}: {report}");
            if !way.contains("namespace") {
                let sibling = lastout_proc_tree::ProcId::of(text.trim().parse().unwrap());
                assert_eq!(sibling, None, "{way}");
            }
        }
    });
}

/// The rest of the first line that begins so.
fn read_to_end_of_line(mut child: Child, begin: &str) -> String {
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut lines = lines.map(|line| line.unwrap());
    lines.find_map(|line| line.strip_prefix(begin).map(str::to_owned)).unwrap()
}

#[test]
fn the_guarantee_says_which_form_a_supervisor_has() {
    audited(|| {
        let spawn = |containment| Tree::spawn(&mut Program::new("true"), containment).unwrap().0;
        let tree = spawn(Containment::demand(Level::Supervisor));
        assert_eq!(tree.guarantee().supervisor(), Some(&SupervisorForm::Program));
        let tree = spawn(Containment::demand(Level::Supervisor).supervise_by_copy());
        let form = tree.guarantee().supervisor();
        assert!(matches!(form, Some(SupervisorForm::Copy { .. })), "{form:?}");
        assert!(tree.guarantee().to_string().contains("copy"), "{}", tree.guarantee());
        let tree = spawn(Containment::demand(Level::Evidence));
        assert_eq!(tree.guarantee().supervisor(), None);
    });
}

#[test]
fn an_empty_name_is_refused_in_words_that_name_it() {
    let error = Tree::spawn(&mut Program::new(""), Containment::strongest()).unwrap_err();
    assert_eq!(error.to_string(), "start a program without a name: the name is empty");
}
