//! The browser bench: acquisition, losses, teardown and throughput, beside raw chromiumoxide,
//! puppeteer-cluster and playwright-core on the same executable.
//!
//! `LASTOUT_CHROME` names the browser (default `/usr/bin/chromium`), `LASTOUT_CHROME_HEADLESS_SHELL` the
//! headless shell; both are measured. The node peers are installed by `npm ci` below `target/peers`.

mod ends;
mod node;
mod ours;
mod proc;
mod raw;
mod server;
mod tasks;

use lastout_bench_runner::{Bar, Bench, Case};
use std::path::PathBuf;
use std::process::ExitCode;
use tasks::{Measure, Tasks};

/// Contexts with one page each, four at a time.
const TASKS: usize = 200;
const CONCURRENCY: usize = 4;

fn named(variable: &str, usual: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map_or(PathBuf::from(usual), PathBuf::from);
    path.exists().then_some(path)
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().collect();
    if let [_, flag, contender, engine, url, tasks, concurrency] = &args[..]
        && flag == "--contender"
    {
        let number = |text: &String| text.parse().expect("a number");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (tasks, concurrency) = (number(tasks), number(concurrency));
        runtime.block_on(tasks::child(contender, engine.as_ref(), url, tasks, concurrency));
        return ExitCode::SUCCESS;
    }
    if let [_, role, contender, engine] = &args[..]
        && (role == "--owner" || role == "--drops")
    {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(ends::play(role, contender, engine.as_ref()));
        return ExitCode::SUCCESS;
    }
    let full =
        named("LASTOUT_CHROME", "/usr/bin/chromium").expect("LASTOUT_CHROME names a browser");
    let shell = named("LASTOUT_CHROME_HEADLESS_SHELL", "/usr/bin/chromium-headless-shell");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let warm = shell.clone().unwrap_or_else(|| full.clone());
    let rt = &runtime;
    let mut bench = Bench::new("browser")
        .case(
            Case::lower("acquire and release on the fake launcher, p50", "us")
                .rounds(7)
                .ours(|| rt.block_on(ours::bookkeeping()))
                .bar(Bar::absolute().max(20.0)),
        )
        .case(
            Case::lower("acquire from warm stock, p50", "ms")
                .rounds(3)
                .ours(|| rt.block_on(ours::warm_acquire(&warm)))
                .peer("chromiumoxide, context and page", || rt.block_on(raw::acquire(&warm)))
                .bar(Bar::absolute().max(1.0)),
        )
        .case(
            Case::lower("pending call fails after kill -9 of the browser, worst of 5", "ms")
                .rounds(3)
                .ours(|| rt.block_on(ours::killed(&warm)))
                .bar(Bar::absolute().max(100.0)),
        )
        .case(
            Case::lower("pending call fails after the page crashed, worst of 5", "ms")
                .rounds(3)
                .ours(|| rt.block_on(ours::crashed(&warm)))
                .bar(Bar::absolute().max(1000.0)),
        )
        .case(
            Case::lower("page targets left by 20 cancelled acquires", "pages")
                .rounds(1)
                .ours(|| rt.block_on(ours::cancelled(&warm)))
                .peer("chromiumoxide", || rt.block_on(raw::cancelled(&warm)))
                .bar(Bar::absolute().max(0.0)),
        );
    for (engine, name) in [(Some(full), "chromium"), (shell, "headless shell")] {
        let Some(engine) = engine else { continue };
        let engine: &'static PathBuf = Box::leak(Box::new(engine));
        bench = leftovers(bench, engine, name)
            .case(
                Case::lower(
                    &format!("memory of a browser with five isolated pages, {name}"),
                    "MiB",
                )
                .rounds(1)
                .ours(|| rt.block_on(ours::memory(engine))),
            )
            .case(
                Case::lower(&format!("teardown by drain, {name}"), "ms")
                    .rounds(7)
                    .floor(|| rt.block_on(raw::teardown(engine)))
                    .ours(|| rt.block_on(ours::teardown(engine)))
                    .bar(Bar::floor().max(1.1)),
            )
            .case(
                Case::lower(&format!("synchronous drop of 2 browsers, {name}"), "ms")
                    .rounds(5)
                    .ours(|| rt.block_on(ours::dropped(engine)))
                    .bar(Bar::absolute().max(250.0)),
            );
        bench = throughput(bench, engine, name, rt);
    }
    bench.run()
}

/// What is left when the owner is killed, and when browsers are dropped.
fn leftovers<'a>(bench: Bench<'a>, engine: &'static PathBuf, name: &str) -> Bench<'a> {
    let (kills, drops) = (2 * ends::KILLS, 2 * ends::DROPS);
    let survivors =
        format!("processes alive a second after SIGKILL of their owner, {kills} owners, {name}");
    let litter = format!("files and directories left by {drops} drops, {name}");
    bench
        .case(
            Case::lower(&survivors, "processes")
                .rounds(1)
                .ours(ends::summed(|| ends::survivors("ours", engine)))
                .peer("chromiumoxide", ends::summed(|| ends::survivors("chromiumoxide", engine)))
                .bar(Bar::absolute().max(0.0)),
        )
        .case(
            Case::lower(&litter, "files")
                .rounds(1)
                .ours(ends::summed(|| ends::litter("ours", engine)))
                .peer("chromiumoxide", ends::summed(|| ends::litter("chromiumoxide", engine)))
                .bar(Bar::absolute().max(0.0)),
        )
}

/// One run of the tasks gives four figures; each is a case, and the runs are shared between them.
fn throughput<'a>(
    mut bench: Bench<'a>,
    engine: &'static PathBuf,
    name: &str,
    rt: &'a tokio::runtime::Runtime,
) -> Bench<'a> {
    let tasks: &'static Tasks = Box::leak(Box::new(Tasks::new(engine, TASKS, CONCURRENCY)));
    let figures: [(&str, &str, bool, fn(&Measure) -> f64, Vec<Bar>); 4] = [
        (
            "tasks per second",
            "1/s",
            false,
            |m| m.rate,
            vec![Bar::peer("chromiumoxide").min(1.2), Bar::best_peer().min(1.0)],
        ),
        (
            "CPU of the whole tree per task",
            "s",
            true,
            |m| m.cpu,
            vec![Bar::peer("chromiumoxide").max(1.05)],
        ),
        (
            "client CPU",
            "s",
            true,
            |m| m.client,
            vec![Bar::peer("puppeteer-cluster").max(0.25), Bar::peer("playwright-core").max(0.25)],
        ),
        (
            "client memory",
            "MiB",
            true,
            |m| m.memory,
            vec![Bar::peer("puppeteer-cluster").max(0.25), Bar::peer("playwright-core").max(0.25)],
        ),
    ];
    for (figure, unit, lower, of, bars) in figures {
        let title = format!("{TASKS} isolated tasks, {name}: {figure}");
        let case = if lower { Case::lower(&title, unit) } else { Case::higher(&title, unit) };
        let mut case = case
            .rounds(tasks::ROUNDS)
            .ours(move || of(&tasks.next(rt, figure, "ours")))
            .peer("chromiumoxide", move || of(&tasks.next(rt, figure, "chromiumoxide")))
            .peer("puppeteer-cluster", move || of(&tasks.next(rt, figure, "puppeteer-cluster")))
            .peer("playwright-core", move || of(&tasks.next(rt, figure, "playwright-core")));
        for bar in bars {
            case = case.bar(bar);
        }
        bench = bench.case(case);
    }
    bench
}
