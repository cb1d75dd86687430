//! Starts the fleet, kills and replaces its workers under load, and settles the account.

use crate::{Options, database};
use lastout::output_stream::{Channel, Process};
use lastout::proc_tree::ProcId;
use lastout::supervisor::{Failure, Handle};
use lastout::work_runner::postgres::PostgresRegistry;
use lastout::work_runner::{JobId, JobRecord, NewJob, State, WorkDriver};
use lastout::{Restart, Supervisor};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::ops::Range;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Between two looks at the queue.
const LOOK: Duration = Duration::from_millis(20);

/// How long a worker may take to start or to be replaced.
const PATIENCE: Duration = Duration::from_secs(60);

/// The processes that run, and those that ever did.
#[derive(Debug, Default)]
struct Fleet {
    state: Mutex<Vec<Ship>>,
}

/// One place of the fleet.
#[derive(Debug, Clone, Default)]
struct Ship {
    process: Option<ProcId>,
    /// How many processes of this place have said that they are ready.
    ready: u32,
}

impl Fleet {
    fn change(&self, place: usize, change: impl FnOnce(&mut Ship)) {
        let mut ships = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if ships.len() <= place {
            ships.resize(place + 1, Ship::default());
        }
        change(&mut ships[place]);
    }

    fn ship(&self, place: usize) -> Ship {
        let ships = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        ships.get(place).cloned().unwrap_or_default()
    }
}

pub(crate) async fn run(options: &Options) -> Result<ExitCode, Failure> {
    let registry = Arc::new(PostgresRegistry::connect(&database()?).await?);
    let driver = WorkDriver::producer(registry);
    let queue = format!("fleet-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
    let fleet = Arc::new(Fleet::default());
    let supervisor = supervisor(options, &queue, &fleet)?;
    let handle = supervisor.handle();
    let began = Instant::now();
    let work = async {
        let rows = load(options, &driver, &queue, &fleet, &handle).await;
        handle.stop();
        rows
    };
    let (report, rows) = tokio::join!(supervisor.run_until_signal(), work);
    let (report, rows) = (report?, rows?);
    println!("{report}\n");
    let is_right = settle(&rows, options, began.elapsed());
    Ok(match is_right && report.is_clean() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn job(queue: &str, n: u32) -> Result<NewJob, Failure> {
    Ok(NewJob::new("work", &n)?.queue(queue).max_crashes(100))
}

fn supervisor(options: &Options, queue: &str, fleet: &Arc<Fleet>) -> Result<Supervisor, Failure> {
    let mut builder = Supervisor::builder();
    for place in 0..options.workers as usize {
        let (queue, fleet) = (queue.to_owned(), Arc::clone(fleet));
        // A worker that has drained after SIGTERM ends well, and its place is still to be filled.
        let policy = Restart::always()
            .backoff(Duration::from_millis(10), Duration::from_millis(100))
            .limit(20, Duration::from_secs(60));
        builder = builder.service(format!("worker {place}"), policy, move || {
            let started = start(place, &queue, &fleet);
            async move { started }
        });
    }
    Ok(builder.build()?)
}

fn start(place: usize, queue: &str, fleet: &Arc<Fleet>) -> Result<Process, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--queue", queue]);
    let told = Arc::clone(fleet);
    let process = Process::builder(command)
        .own_group()
        .on_line(move |channel, line| {
            if channel == Channel::Out && line.text() == "up" {
                told.change(place, |ship| ship.ready += 1);
            }
        })
        .spawn()?;
    fleet.change(place, |ship| ship.process = Some(process.id()));
    Ok(process)
}

/// Kills and replaces while the jobs run; all rows when every one has ended.
///
/// The jobs come in portions, one more than there are strikes. Each strike falls when half of a portion has
/// ended and the next one has just been enqueued, so it always meets a fleet with work.
async fn load(
    options: &Options,
    driver: &WorkDriver,
    queue: &str,
    fleet: &Fleet,
    handle: &Handle,
) -> Result<Vec<JobRecord>, Failure> {
    let strikes = strikes(options);
    let portion = options.jobs / (strikes.len() as u32 + 1);
    let mut ids = enqueue(driver, queue, 0..portion).await?;
    for (n, (place, signal)) in strikes.iter().enumerate() {
        let half = ids.len() - portion as usize / 2;
        let rows = ended(driver, &ids, half, handle).await?;
        let from = ids.len() as u32;
        let to = if n + 1 == strikes.len() { options.jobs } else { from + portion };
        ids.extend(enqueue(driver, queue, from..to).await?);
        if handle.is_stopping() {
            return Ok(rows);
        }
        let before = fleet.ship(*place).ready;
        struck(fleet, *place, *signal).await?;
        let name = if *signal == Signal::KILL { "SIGKILL" } else { "SIGTERM" };
        println!("{:>6} jobs enqueued; {name} to worker {place}", ids.len());
        within(|| fleet.ship(*place).ready > before, "the worker is replaced").await?;
    }
    ended(driver, &ids, ids.len(), handle).await
}

async fn enqueue(
    driver: &WorkDriver,
    queue: &str,
    numbers: Range<u32>,
) -> Result<Vec<JobId>, Failure> {
    let jobs: Result<Vec<_>, _> = numbers.map(|n| job(queue, n)).collect();
    Ok(driver.enqueue_all(jobs?).await?.iter().map(|job| job.id()).collect())
}

/// All rows, once `count` of them have ended or the supervisor stops.
async fn ended(
    driver: &WorkDriver,
    ids: &[JobId],
    count: usize,
    handle: &Handle,
) -> Result<Vec<JobRecord>, Failure> {
    loop {
        let rows = driver.registry().fetch(ids.to_vec()).await?;
        let ended = rows.iter().filter(|row| row.state.is_terminal()).count();
        if ended >= count || handle.is_stopping() {
            return Ok(rows);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Which worker gets which signal: the kills, and then one SIGTERM for each place in turn.
fn strikes(options: &Options) -> Vec<(usize, Signal)> {
    let (workers, kills) = (options.workers as usize, options.kills as usize);
    let signal = |k| if k < kills { Signal::KILL } else { Signal::TERM };
    (0..kills + workers).map(|k| (k % workers, signal(k))).collect()
}

/// Signals the worker of this place, once it has said that it is ready.
async fn struck(fleet: &Fleet, place: usize, signal: Signal) -> Result<(), Failure> {
    let strikes = || {
        let ship = fleet.ship(place);
        ship.ready > 0 && strike(&ship, signal)
    };
    within(strikes, "the worker is ready").await
}

fn strike(ship: &Ship, signal: Signal) -> bool {
    let process = ship.process.filter(|process| process.is_running());
    let pid = process.and_then(|process| i32::try_from(process.pid()).ok());
    let pid = pid.and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Looks again and again; an error when `what` does not come true.
async fn within(mut is_so: impl FnMut() -> bool, what: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            return Err(format!("waited {PATIENCE:?} until {what}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Prints the account; whether it is right.
fn settle(rows: &[JobRecord], options: &Options, elapsed: Duration) -> bool {
    let succeeded = rows.iter().filter(|row| row.state == State::Succeeded).count();
    let workers: BTreeSet<_> = rows.iter().filter_map(|row| row.result.clone()).collect();
    let taken: i64 = rows.iter().map(|row| i64::from(row.crashes)).sum();
    let rate = rows.len() as f64 / elapsed.as_secs_f64();
    println!("jobs: enqueued {} = succeeded {succeeded}", options.jobs);
    println!("{} processes did them", workers.len());
    println!("{taken} jobs were taken over from those that died or were late to renew their lease");
    println!("{rate:.0} jobs a second, through {} kills and a rolling restart", options.kills);
    succeeded == options.jobs as usize
}
