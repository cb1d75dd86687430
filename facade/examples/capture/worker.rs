//! The worker process: a pool of browsers and a runner of jobs under a supervisor. It may be killed at
//! any time; what it held is taken up by the next one.

use crate::browse::Studio;
use crate::events::Event;
use crate::options::Options;
use crate::plan::Work;
use crate::{digest, store};
use lastout::browser_pool::{
    BrowserPool, BrowserReport, Chrome, EndReason, Hooks, LaunchError, PoolConfig, Sandbox,
};
use lastout::cleanup_worker::CleanupWorker;
use lastout::supervisor::{Failure, Stopping, Task};
use lastout::work_runner::{
    Backoff, DurableWorker, Job, JobError, LeaseTimings, Registry, WorkRunner,
};
use lastout::{Report, Restart, Supervisor};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The size of the pages.
const WINDOW: (u32, u32) = (1024, 768);
/// How often the demo is told what there is.
const TICK: Duration = Duration::from_millis(200);
/// A dead worker on the same machine is seen at once; the lease is for those that hang.
const LEASE: Duration = Duration::from_secs(6);

/// Runs jobs until a signal comes.
pub(crate) async fn run(options: &Options) -> Result<Report, Failure> {
    let registry = store::open(options).await?;
    let pool = pool(options)?;
    let cleanup = CleanupWorker::builder().build()?;
    let studio = Studio {
        pool: pool.clone(),
        cleanup: cleanup.handle().clone(),
        base: options.base.clone(),
        out: options.out.clone(),
        window: WINDOW,
    };
    let worker = worker(registry, studio, options.browsers)?;
    let running = WorkRunner::inline(worker).poll(TICK).spawn();
    let watched = pool.clone();
    let supervisor = Supervisor::builder()
        .last("cleanup", cleanup)
        .member("browsers", pool)
        .member("jobs", running)
        .service("ticker", Restart::never(), move || {
            let pool = watched.clone();
            async move { Ok(Task::spawn(|stopping| tick(pool, stopping))) }
        })
        .build()?;
    Event::Up { pid: std::process::id() }.tell();
    Ok(supervisor.run_until_signal().await?)
}

fn pool(options: &Options) -> Result<BrowserPool, Failure> {
    // As root no browser starts with its sandbox. The pages are the demo's own, or the caller's choice.
    let sandbox = match rustix::process::geteuid().is_root() {
        true => Sandbox::Disabled,
        false => Sandbox::Required,
    };
    let mut chrome =
        Chrome::builder().root(directory()).sandbox(sandbox).window(WINDOW.0, WINDOW.1);
    for name in ["LASTOUT_CHROME_HEADLESS_SHELL", "LASTOUT_CHROME"] {
        if let Some(path) = std::env::var_os(name).filter(|path| !path.is_empty()) {
            chrome = chrome.executable(PathBuf::from(path));
            break;
        }
    }
    let config = PoolConfig::builder()
        .max_browsers(options.browsers)
        .max_contexts(2)
        .warm_browsers(1)
        .probe_interval(Duration::from_millis(500))
        .build()?;
    Ok(BrowserPool::start_with(chrome.build()?, config, Arc::new(Told))?)
}

/// Where the browsers of all demos of this user live: what a killed one left is swept by the next.
/// Browsers make sockets below it, so it must be short.
pub(crate) fn directory() -> PathBuf {
    const LONGEST: usize = 40;
    let name = format!("lastout-demo-{}", rustix::process::geteuid().as_raw());
    let path = std::env::temp_dir().join(&name);
    match path.as_os_str().len() <= LONGEST {
        true => path,
        false => PathBuf::from("/tmp").join(name),
    }
}

fn worker(
    registry: Arc<dyn Registry>,
    studio: Studio,
    browsers: usize,
) -> Result<DurableWorker, Failure> {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    let capture = move |job: Job<Work>| {
        let studio = studio.clone();
        attempt(job, async move |work, attempt| studio.capture(work, attempt).await)
    };
    let digest = |job: Job<Work>| attempt(job, async |work, _| digest::run(work.n).await);
    Ok(DurableWorker::builder(registry)
        .queue(store::CAPTURES, browsers * 2)
        .queue(store::PROCESSES, 1)
        .lease(LeaseTimings::with_ttl(LEASE)?)
        .keep_ended(None)
        .handle_with_backoff("capture", backoff, capture)
        .handle_with_backoff("digest", backoff, digest)
        .build()?)
}

/// One attempt of a job: told to the demo, and cut short when the runner says so.
async fn attempt<R>(
    job: Job<Work>,
    run: impl AsyncFnOnce(&Work, u32) -> Result<R, Failure>,
) -> Result<R, JobError> {
    let (n, attempt) = (job.n, job.attempt());
    Event::Begun { n, attempt }.tell();
    let result = tokio::select! {
        biased;
        cause = job.stopped() => Err(format!("stopped: {cause:?}").into()),
        result = run(&job, attempt) => result,
    };
    let error = result.as_ref().err().map(|error| error.to_string());
    Event::Ended { n, attempt, error }.tell();
    result.map_err(JobError::retry)
}

async fn tick(pool: BrowserPool, stopping: Stopping) -> Result<(), Failure> {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = stopping.asked() => return Ok(()),
            _ = ticks.tick() => {
                let stats = pool.stats();
                let browsers = stats.ready + stats.retiring;
                Event::Now { browsers, leases: stats.out }.tell();
            }
        }
    }
}

/// Tells the demo what happens to the browsers.
struct Told;

impl Hooks for Told {
    fn after_launch(&self, browser: u64, error: Option<&LaunchError>) {
        let (lost, text) = match error {
            None => (false, format!("browser {browser} launched")),
            Some(error) => (true, format!("browser {browser} was not launched: {error}")),
        };
        Event::Browser { lost, text }.tell();
    }

    fn on_end(&self, report: &BrowserReport) {
        let Some(EndReason::Lost(loss)) = report.reason() else {
            return;
        };
        let text = format!(
            "browser {} lost ({loss}); {} processes killed, {} left, ended in {:.0?}",
            report.browser(),
            report.killed(),
            report.left_behind().len(),
            report.elapsed()
        );
        Event::Browser { lost: true, text }.tell();
    }
}
