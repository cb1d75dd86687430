//! Storms on real browsers: leases through two browsers that are killed, stopped and crashed at random,
//! and twenty rounds of each fault alone. Ends with the sums; fails when one is off.
//! `--minutes N --seed S --turn T`: turn T comes first, so a long run can be had in pieces, and one storm be
//! seen again; `--calm` leaves the storms out. Faults that do not get their turn in this time are named.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for the terminal that starts and ends real processes"
)]

#[path = "../tests/chrome_support/mod.rs"]
mod chrome_support;

use chrome_support::{
    LONG, Oracle, Server, builder, endings, engines, losses, owner, patient, soon,
};
use lastout_browser_pool::{BrowserPool, Isolation, LeaseOptions};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Leases of one round, through two browsers.
const LEASES: u64 = 1000;
const CALLERS: u64 = 8;

fn main() {
    owner::play();
    let mut args = std::env::args().skip(1);
    let (mut minutes, mut seed, mut first, mut calm) = (1.0_f64, 1_u64, 0, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--minutes" => minutes = args.next().unwrap().parse().unwrap(),
            "--seed" => seed = args.next().unwrap().parse().unwrap(),
            "--turn" => first = args.next().unwrap().parse().unwrap(),
            "--calm" => calm = true,
            _ => {}
        }
    }
    println!("soak browser: {minutes} minutes, seed {seed}, from turn {first}");
    let until = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engines = engines();
    let last = if calm { ACTS.len() * engines.len() } else { usize::MAX };
    let mut turn = first;
    // A storm between every two faults, over all engines and isolations, and around again.
    while turn == first || (turn < last && Instant::now() < until) {
        let engine = &engines[turn % engines.len()];
        let round = turn / engines.len();
        let isolation = [Isolation::Context, Isolation::Page][round % 2];
        if !calm {
            runtime.block_on(storm(engine, isolation, Random(seed + turn as u64)));
        }
        if let Some((name, act)) = ACTS.get(round) {
            let started = Instant::now();
            act(&runtime, engine);
            println!("{} {name}: 20 of 20 rounds in {:.0?}", engine.display(), started.elapsed());
        }
        turn += 1;
    }
    let turns = ACTS.len() * engines.len();
    let faults = turn.min(turns).saturating_sub(first);
    let storms = if calm { 0 } else { turn - first };
    println!(
        "{storms} storms, every sum is right; {faults} of {turns} turns with a fault, to turn {turn}"
    );
    for (at, (name, _)) in ACTS.iter().enumerate().skip(turn / engines.len()) {
        println!("no time for: {name} (--turn {})", turn.max(at * engines.len()));
    }
}

type Act = fn(&tokio::runtime::Runtime, &Path);

/// Each fault alone, twenty times. Drops have five places in each of ten rounds.
const ACTS: &[(&str, Act)] = &[
    ("kill -9 of the browser", |rt, engine| rt.block_on(losses::killed_browser(engine, 20))),
    ("kill -9 of the owner", |_, engine| {
        println!("the slowest owner's processes went after {:?}", owner::killed(engine, 20));
    }),
    ("kill -9 of a renderer", |rt, engine| rt.block_on(losses::killed_renderer(engine, 20))),
    ("chrome://crash", |rt, engine| rt.block_on(losses::crashing_page(engine, 20))),
    ("drops in every place, 50 in all", |_, engine| endings::dropped(engine, 10)),
    ("cancelled acquires", |rt, engine| rt.block_on(endings::cancelled(engine, 20))),
    ("pages that hold on", |rt, engine| rt.block_on(losses::pages_that_hold_on(engine, 20))),
    ("SIGSTOP of the browser", |rt, engine| rt.block_on(losses::stopped_browser(engine, 20))),
    ("SIGSTOP of a renderer", |rt, engine| rt.block_on(losses::stopped_renderer(engine, 20))),
    ("downloads", |rt, engine| rt.block_on(endings::downloads(engine, 20))),
    ("no text on stderr", |rt, engine| rt.block_on(endings::wrapped(engine, 20))),
    ("a full disk", |rt, engine| {
        if !rt.block_on(endings::full_disk(engine, 20)) {
            println!("SKIPPED: a small file system cannot be mounted here");
        }
    }),
    ("executables that are none", |rt, _| rt.block_on(endings::no_browsers(20))),
];

/// A small generator, so that a seed replays a storm's choices.
#[derive(Clone, Copy)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

async fn storm(engine: &Path, isolation: Isolation, mut random: Random) {
    let (oracle, server) = (Oracle::new(), Server::start().await);
    let config = patient()
        .max_browsers(2)
        .max_contexts(6)
        .spares(2)
        .isolation(isolation)
        .max_leases(Some(200))
        .max_errors(10)
        .circuit_after(1000)
        .backoff_most(Duration::from_millis(500))
        .acquire_timeout(LONG)
        .op_timeout(Duration::from_secs(10))
        .probe_interval(Duration::from_millis(200))
        .probe_timeout(Duration::from_secs(4))
        .build()
        .unwrap();
    let pool = BrowserPool::start(builder(engine, &oracle).build().unwrap(), config).unwrap();
    let oracle = Arc::new(oracle);
    let asked = Arc::new(AtomicU64::new(0));
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let (pool, asked, url) = (pool.clone(), asked.clone(), server.url("/storm"));
        let random = Random(random.below(u64::MAX / 2) + caller);
        callers.push(tokio::spawn(work(pool, asked, url, random)));
    }
    let faults = {
        let (pool, oracle, asked) = (pool.clone(), oracle.clone(), asked.clone());
        tokio::spawn(async move {
            let mut done = [0_u64; 3];
            let mut due = 0;
            while asked.load(Ordering::Relaxed) < LEASES {
                // By leases and not by time: on a busy machine a clock would kill every browser before it
                // has served anything.
                if asked.load(Ordering::Relaxed) < due {
                    // SLEEP: the pause between two looks.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
                due = asked.load(Ordering::Relaxed) + 5 + random.below(20);
                let kind = random.below(10);
                let victims = match kind {
                    0..5 => oracle.renderers(),
                    _ => oracle.processes().iter().map(|found| found.pid).collect(),
                };
                if victims.is_empty() {
                    continue;
                }
                let victim = victims[random.below(victims.len() as u64) as usize];
                let signal = if kind == 9 { Signal::STOP } else { Signal::KILL };
                let _ = kill_process(Pid::from_raw(victim as i32).unwrap(), signal);
                done[match kind {
                    0..5 => 0,
                    9 => 2,
                    _ => 1,
                }] += 1;
                drop(pool.stats());
            }
            done
        })
    };
    for caller in callers {
        caller.await.unwrap();
    }
    let [renderers, killed, stopped] = faults.await.unwrap();
    full_capacity(&pool).await;
    let report = soon("the drain", pool.drain(LONG)).await;
    let stats = pool.stats();
    println!(
        "{} {isolation:?}: {report}; faults: {renderers} renderers and {killed} processes killed, \
         {stopped} stopped; {} browsers lost, {} pages crashed; ended {:?}",
        engine.display(),
        stats.lost,
        stats.page_crashes,
        stats.ended,
    );
    assert!(report.is_clean());
    assert_eq!(stats.granted, stats.returned + stats.revoked);
    assert_eq!(stats.asked, stats.granted + stats.refused + stats.cancelled);
    drop(pool);
    oracle.assert_nothing();
}

/// As many leases at once as the limits allow. A browser that reaches its last lease on the way keeps its
/// place until it is given back; the next attempt finds a new one there.
async fn full_capacity(pool: &BrowserPool) {
    for attempt in 0..4 {
        let pages = (0..12).map(|_| pool.page_with(LeaseOptions::new().deadline(LONG / 2)));
        let pages = soon("the leases", futures_util::future::join_all(pages)).await;
        let held = pages.iter().flatten().count();
        if held == 12 {
            return;
        }
        let stats = pool.stats();
        println!("attempt {attempt}: {held} of 12 leases, {} browsers retiring", stats.retiring);
        assert!(stats.retiring > 0, "{held} of 12 leases, and nothing retires: {stats:#?}");
    }
    panic!("never at full capacity: {:#?}", pool.stats());
}

async fn work(pool: BrowserPool, asked: Arc<AtomicU64>, url: String, mut random: Random) {
    while asked.fetch_add(1, Ordering::Relaxed) < LEASES {
        let options = LeaseOptions::new().tenant(random.below(3).to_string());
        let limit = Duration::from_millis(random.below(8000));
        let Ok(Ok(page)) = tokio::time::timeout(limit, pool.page_with(options)).await else {
            continue;
        };
        match random.below(20) {
            0 => drop(page.run(Duration::from_secs(2), page.goto("chrome://crash")).await),
            1 => drop(page.run(Duration::from_millis(200), page.evaluate("while (true) {}")).await),
            2 => page.discard(),
            _ => {
                if page.run(Duration::from_secs(5), page.goto(url.as_str())).await.is_ok() {
                    page.release();
                }
            }
        }
    }
}
