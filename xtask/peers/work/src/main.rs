//! work-runner beside the raw stores and its peers.
//!
//! Files are on `/dev/shm` (the ceiling of the CPU) and in the temporary folder (the disk). The cases
//! on PostgreSQL run when `LASTOUT_POSTGRES` names a server.

mod ours;
mod peers;
mod raw_postgres;
mod raw_sqlite;
mod steady;

use lastout_bench_runner::{Bar, Bench, Case};
use lastout_work_runner::sqlite::Durability;
use std::path::PathBuf;
use std::process::ExitCode;

/// Jobs of one round, and of a round of a slow peer.
const JOBS: usize = 60_000;
const FEW: usize = 5_000;

fn main() -> ExitCode {
    let bench = steady_sqlite(sqlite(Bench::new("work")));
    match raw_postgres::config() {
        Some(server) => steady_postgres(postgres(bench, server.clone()), server).run(),
        None => {
            eprintln!("no LASTOUT_POSTGRES: its cases are left out");
            bench.run()
        }
    }
}

/// The most that all but one job in a thousand may wait, in milliseconds.
const START_WITHIN: f64 = 50.0;

/// One case for each share of each load, with the bar on the last one.
fn steady<'a>(
    mut bench: Bench<'a>,
    store: &'static str,
    measure: impl Fn(steady::Load) -> Vec<f64> + Clone + 'a,
) -> Bench<'a> {
    for load in steady::LOADS {
        for (share, _) in steady::SHARES {
            let measure = measure.clone();
            let name = format!("{store}: from enqueue to start, {}, {share}", load.name);
            let mut case = Case::lower(&name, "ms")
                .rounds(3)
                .ours(move || steady::round(store, load, share, &measure));
            if share == "p99.9" {
                case = case.bar(Bar::absolute().max(START_WITHIN));
            }
            bench = bench.case(case);
        }
    }
    bench
}

fn steady_sqlite(bench: Bench<'_>) -> Bench<'_> {
    steady(bench, "sqlite on disk", |load| {
        let file = raw_sqlite::File::new(&std::env::temp_dir());
        ours::runtime().block_on(async {
            let registry = lastout_work_runner::sqlite::SqliteRegistry::open(file.path()).unwrap();
            steady::waits(std::sync::Arc::new(registry), load).await
        })
    })
}

fn steady_postgres(bench: Bench<'_>, server: String) -> Bench<'_> {
    steady(bench, "postgres", move |load| {
        let database = raw_postgres::Database::create(&server);
        ours::runtime().block_on(async {
            let config = database.config();
            let opened = lastout_work_runner::postgres::PostgresRegistry::connect(&config).await;
            steady::waits(std::sync::Arc::new(opened.unwrap()), load).await
        })
    })
}

fn sqlite(bench: Bench<'_>) -> Bench<'_> {
    let shm = || PathBuf::from("/dev/shm");
    let disk = std::env::temp_dir;
    bench
        .case(
            Case::higher("sqlite on tmpfs: claim and complete", "jobs/s")
                .rounds(5)
                .floor(move || raw_sqlite::cycle(&shm(), "NORMAL", 100, JOBS))
                .ours(move || ours::sqlite_cycle(&shm(), Durability::Normal, JOBS))
                .peer("effectum", move || peers::effectum(&shm(), JOBS))
                .peer("riverqueue", move || peers::riverqueue_sqlite(&shm(), false, FEW))
                .bar(Bar::floor().min(0.55))
                .bar(Bar::peer("effectum").min(2.5))
                .bar(Bar::peer("riverqueue").min(20.0)),
        )
        .case(
            Case::higher("sqlite on disk, full durability: claim and complete", "jobs/s")
                .rounds(3)
                .floor(move || raw_sqlite::cycle(&disk(), "FULL", 100, JOBS))
                .ours(move || ours::sqlite_cycle(&disk(), Durability::Full, JOBS))
                .peer("effectum", move || peers::effectum(&disk(), JOBS / 3))
                .peer("riverqueue", move || peers::riverqueue_sqlite(&disk(), true, FEW))
                .bar(Bar::floor().min(0.5))
                .bar(Bar::peer("effectum").min(8.0))
                .bar(Bar::peer("riverqueue").min(20.0)),
        )
        .case(
            Case::higher("sqlite on tmpfs: single enqueue, 64 callers", "jobs/s")
                .rounds(5)
                .floor(move || raw_sqlite::group_commit(&shm(), 64, 64_000))
                .ours(move || ours::sqlite_enqueue(&shm(), 64, 64_000))
                .bar(Bar::floor().min(0.8)),
        )
        .case(
            Case::higher("sqlite on tmpfs: with a million ended jobs", "jobs/s")
                .rounds(1)
                .floor(move || ours::sqlite_cycle_aged(&shm(), 0, JOBS))
                .ours(move || ours::sqlite_cycle_aged(&shm(), 1_000_000, JOBS))
                .bar(Bar::floor().min(1.0 / 1.2)),
        )
        .case(
            Case::lower("sqlite on tmpfs: p99 of a beat beside a full claim loop", "ms")
                .isolated()
                .rounds(5)
                .ours(move || ours::sqlite_beat_beside_claims(&shm(), 4 * JOBS))
                .bar(Bar::absolute().max(10.0)),
        )
        .case(
            Case::lower("sqlite on tmpfs: median from enqueue to start", "ms")
                .isolated()
                .rounds(5)
                .ours(move || ours::sqlite_poke(&shm(), 200))
                .bar(Bar::absolute().max(1.0)),
        )
}

fn postgres(bench: Bench<'_>, server: String) -> Bench<'_> {
    let named = || server.clone();
    let graphile = named();
    let graphile = move || {
        let database = raw_postgres::Database::create(&graphile);
        // Its jobs are added one by one in a function of its own: filling takes longer than running.
        peers::graphile(&database.config(), &database.url(), JOBS / 4)
    };
    let river = named();
    let river = move || {
        let database = raw_postgres::Database::create(&river);
        peers::riverqueue_postgres(&database.url(), JOBS / 3)
    };
    let (a, b, c, d, e, f, g) = (named(), named(), named(), named(), named(), named(), named());
    let (h, i, j) = (named(), named(), named());
    bench
        .case(
            Case::higher("postgres: claim and complete", "jobs/s")
                .rounds(3)
                .floor(move || raw_postgres::cycle(&a, 1000, JOBS))
                .ours(move || ours::postgres::cycle(&b, JOBS, false))
                .peer("graphile_worker", graphile)
                .peer("riverqueue", river)
                .bar(Bar::floor().min(0.7))
                .bar(Bar::peer("graphile_worker").min(1.0)),
        )
        .case(
            Case::higher("postgres: bulk enqueue", "jobs/s")
                .rounds(3)
                .floor(move || raw_postgres::copy(&c, 100_000))
                .ours(move || ours::postgres::enqueue(&d, 100_000))
                .bar(Bar::floor().min(0.7)),
        )
        .case(
            Case::higher("postgres: with a pinned snapshot", "jobs/s")
                .rounds(3)
                .floor(move || ours::postgres::cycle(&e, JOBS, false))
                .ours(move || ours::postgres::cycle(&f, JOBS, true))
                .bar(Bar::floor().min(0.4)),
        )
        .case(
            Case::higher("postgres: with a million ended jobs", "jobs/s")
                .rounds(1)
                .floor(move || ours::postgres::cycle_aged(&h, 0, JOBS))
                .ours(move || ours::postgres::cycle_aged(&i, 1_000_000, JOBS))
                .bar(Bar::floor().min(1.0 / 1.2)),
        )
        .case(
            Case::lower("postgres: p99 of a beat beside a full claim loop", "ms")
                .isolated()
                .rounds(5)
                .ours(move || ours::postgres::beat(&j, JOBS))
                .bar(Bar::absolute().max(10.0)),
        )
        .case(
            Case::lower("postgres: median from enqueue to start over NOTIFY", "ms")
                .isolated()
                .rounds(5)
                .ours(move || ours::postgres::poke(&g, 100))
                .bar(Bar::absolute().max(2.0)),
        )
}
