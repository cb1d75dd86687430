//! Spawns, in a caller that holds much memory and in one that does not: until the exec, until the end, and
//! what the rest of the caller notices.

use crate::tree::millis;
use lastout_bench_runner::{Bar, Case};
use lastout_proc_tree::{Containment, Level, Program, Tree};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const PROGRAM: &str = "/bin/true";

/// How many spawns a round takes the median of.
const SPAWNS: usize = 20;

pub fn cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for (level, bar) in [(Level::Cgroup, 1.3), (Level::Evidence, 1.3), (Level::Supervisor, 3.0)] {
        for resident in [10, 256, 1024] {
            cases.push(to_exec(level, bar, resident));
        }
    }
    cases.push(page_faults());
    cases.push(memory_of_a_supervisor());
    cases.extend([Level::Cgroup, Level::Supervisor, Level::Evidence].map(whole_life));
    cases
}

/// Microseconds from the call until the program is executed.
fn to_exec(level: Level, bar: f64, resident: usize) -> Case<'static> {
    Case::lower(&format!("spawn to exec, {resident} MiB resident, {level}"), "µs")
        .rounds(9)
        .floor(move || with_resident(resident, || median(std_to_exec)))
        .ours(move || with_resident(resident, || median(|| program_to_exec(level))))
        .peer("ours, from a Command", move || {
            with_resident(resident, || median(|| command_to_exec(level)))
        })
        .bar(Bar::floor().max(bar))
}

fn std_to_exec() -> (Duration, ()) {
    let mut command = Command::new(PROGRAM);
    let begin = Instant::now();
    let mut child = command.spawn().expect("it starts");
    let time = begin.elapsed();
    child.wait().expect("it is ours");
    (time, ())
}

fn program_to_exec(level: Level) -> (Duration, Tree) {
    let mut program = Program::new(PROGRAM);
    let begin = Instant::now();
    let (tree, mut child) =
        Tree::spawn(&mut program, Containment::demand(level)).expect("it starts");
    let time = begin.elapsed();
    child.wait().expect("it is ours");
    (time, tree)
}

fn command_to_exec(level: Level) -> (Duration, Tree) {
    let mut command = Command::new(PROGRAM);
    let begin = Instant::now();
    let (tree, mut child) =
        Tree::spawn(&mut command, Containment::demand(level)).expect("it starts");
    let time = begin.elapsed();
    child.wait().expect("it is ours");
    (time, tree)
}

/// The median of some spawns in microseconds. What they leave is dropped afterwards: the drop of a tree looks
/// at every process, and on a busy machine the next spawn would wait for the time that this took.
fn median<T>(spawn: impl Fn() -> (Duration, T)) -> f64 {
    let spawned: Vec<_> = (0..SPAWNS).map(|_| spawn()).collect();
    let mut times: Vec<_> = spawned.iter().map(|(time, _)| *time).collect();
    times.sort_unstable();
    millis(times[SPAWNS / 2]) * 1e3
}

/// Runs with so many MiB of this process in memory. They stay for the next one that wants as many.
fn with_resident<T>(mib: usize, run: impl FnOnce() -> T) -> T {
    static BALLAST: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    let mut ballast = BALLAST.lock().expect("no round panics");
    let wanted = mib << 20;
    if ballast.len() != wanted {
        *ballast = Vec::new();
        *ballast = vec![1; wanted];
    }
    run()
}

/// Milliseconds of the longest page fault of another thread while the caller spawns.
fn page_faults() -> Case<'static> {
    Case::lower("longest page fault beside 20 spawns, 1024 MiB resident", "ms")
        .rounds(9)
        .floor(|| longest_fault_beside(|| drop(median(std_to_exec))))
        .ours(|| longest_fault_beside(|| drop(median(|| program_to_exec(Level::Cgroup)))))
        .peer("ours, by Supervisor", || {
            longest_fault_beside(|| drop(median(|| program_to_exec(Level::Supervisor))))
        })
        .peer("ours, from a Command", || {
            longest_fault_beside(|| drop(median(|| command_to_exec(Level::Cgroup))))
        })
        .bar(Bar::floor().max(2.0))
}

fn longest_fault_beside(spawns: impl FnOnce()) -> f64 {
    const PAGE: usize = 4096;
    const MAPPED: usize = 4 << 20;
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    IS_OVER.store(false, Ordering::Relaxed);
    with_resident(1024, || {
        std::thread::scope(|scope| {
            let toucher = scope.spawn(|| {
                let mut longest = Duration::ZERO;
                while !IS_OVER.load(Ordering::Relaxed) {
                    let mut memory: Vec<u8> = Vec::with_capacity(MAPPED);
                    for page in memory.spare_capacity_mut().iter_mut().step_by(PAGE) {
                        let begin = Instant::now();
                        page.write(1);
                        longest = longest.max(begin.elapsed());
                    }
                    std::hint::black_box(&mut memory);
                }
                longest
            });
            spawns();
            IS_OVER.store(true, Ordering::Relaxed);
            millis(toucher.join().expect("it touches memory only"))
        })
    })
}

/// Resident KiB of a supervisor of a caller with 256 MiB.
fn memory_of_a_supervisor() -> Case<'static> {
    Case::lower("memory of a supervisor, 256 MiB resident", "KiB")
        .rounds(3)
        .ours(|| with_resident(256, || resident_supervisor(Containment::demand(Level::Supervisor))))
        .peer("ours, a copy", || {
            let copy = Containment::demand(Level::Supervisor).supervise_by_copy();
            with_resident(256, || resident_supervisor(copy))
        })
        .bar(Bar::absolute().max(64.0))
}

fn resident_supervisor(containment: Containment) -> f64 {
    let mut program = Program::new("sleep");
    let (tree, _child) = Tree::spawn(program.arg("600"), containment).expect("it starts");
    let root = tree.root().expect("it was spawned").pid();
    let read = |path: String| std::fs::read_to_string(path).expect("the process table can be read");
    let stat = read(format!("/proc/{root}/stat"));
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let parent = fields.split_whitespace().nth(1).expect("it has a parent");
    let memory = read(format!("/proc/{parent}/smaps_rollup"));
    let line = memory.lines().find_map(|line| line.strip_prefix("Rss:")).expect("it is resident");
    tree.kill_blocking(LONG).expect("nobody survives");
    line.trim().trim_end_matches("kB").trim().parse().expect("it is a number")
}

/// Microseconds for a program that ends at once: its start, its end, and the drop of its tree.
fn whole_life(level: Level) -> Case<'static> {
    Case::lower(&format!("spawn, wait and drop of true, {level}"), "µs")
        .rounds(9)
        .floor(|| median(|| time(|| drop(Command::new(PROGRAM).status().expect("it starts")))))
        .ours(move || median(|| time(|| live(level))))
        .peer("process-wrap 10, group", || median(|| time(live_in_group)))
        .peer("tokio", || on_tokio(live_on_tokio))
        .peer("tokio-process-tools 0.11", || on_tokio(live_in_tools))
}

fn time(run: impl FnOnce()) -> (Duration, ()) {
    let begin = Instant::now();
    run();
    (begin.elapsed(), ())
}

fn live(level: Level) {
    let mut program = Program::new(PROGRAM);
    let (tree, mut child) =
        Tree::spawn(&mut program, Containment::demand(level)).expect("it starts");
    child.wait().expect("it is ours");
    drop(tree);
}

fn live_in_group() {
    use process_wrap::std::{CommandWrap, ProcessGroup};
    let mut command = CommandWrap::from(Command::new(PROGRAM));
    command.wrap(ProcessGroup::leader());
    command.spawn().expect("it starts").wait().expect("it is ours");
}

fn on_tokio<F: Future<Output = ()>>(live: impl Fn() -> F) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    median(|| time(|| runtime.block_on(live())))
}

async fn live_on_tokio() {
    let mut command = tokio::process::Command::new(PROGRAM);
    command.stdin(Stdio::inherit()).status().await.expect("it starts");
}

async fn live_in_tools() {
    let mut process = tokio_process_tools::Process::new(tokio::process::Command::new(PROGRAM))
        .name(tokio_process_tools::AutoName::program_only())
        .stdout_and_stderr(|stream| stream.discard())
        .spawn()
        .expect("it starts");
    process.wait_for_completion(LONG).await.expect("it is ours");
}
