//! The demo itself: starts everything, injects the faults, waits for the last job, ends everything.

use crate::chaos::Chaos;
use crate::hub::Hub;
use crate::options::Options;
use crate::progress::Progress;
use crate::summary::Sort;
use crate::{Result, child, html, plan, plot, server, settle, store, terminal};
use lastout::supervisor::{Handle, Task};
use lastout::work_runner::{JobId, WorkDriver};
use lastout::{Restart, Supervisor};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// Between two looks at the queue.
const LOOK: Duration = Duration::from_millis(50);

/// The jobs of a run.
pub(crate) struct Batch {
    pub(crate) ids: Vec<JobId>,
    pub(crate) resumed: bool,
}

pub(crate) async fn run(options: &Options) -> Result<ExitCode> {
    std::fs::create_dir_all(options.out.join("pages"))?;
    let driver = WorkDriver::producer(store::open(options).await?);
    let batch = batch(&driver, options).await?;
    let hub = Arc::new(Hub::new());
    if batch.resumed {
        println!("resuming {} jobs of a run that was cut short", batch.ids.len());
        hub.note(Sort::Recovery, "the queue of an earlier run was resumed");
    }
    let supervisor = supervisor(options, &hub).await?;
    let handle = supervisor.handle();
    // The signals and the worker are looked after while the jobs are: both in this task.
    let (report, watched) =
        tokio::join!(supervisor.run_until_signal(), watch(&driver, &batch, options, &hub, &handle));
    let (report, interrupted) = (report?, watched?);
    if interrupted {
        for moment in hub.moments() {
            println!("{:>9}  {}", plot::time(moment.at_ms), moment.text);
        }
        println!("{report}\ninterrupted: the next start goes on with the same queue");
        return Ok(ExitCode::from(130));
    }
    let summary = settle::summary(&driver, &batch, options, &hub, &report).await?;
    let path = options.out.join("report.html");
    std::fs::write(&path, html::page(&summary))?;
    terminal::print(&summary, &path);
    Ok(match summary.is_clean() && report.is_clean() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The batch that was not finished, or a new one.
async fn batch(driver: &WorkDriver, options: &Options) -> Result<Batch> {
    if let Some((_, ids)) = store::unfinished(driver).await? {
        return Ok(Batch { ids, resumed: true });
    }
    forget_pages(&options.out.join("pages"))?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let number = i64::try_from(since.as_millis())?;
    let plan = match &options.url_file {
        Some(path) => plan::urls(number, &std::fs::read_to_string(path)?),
        None => plan::pages(number, options.jobs, options.seed),
    };
    if plan.is_empty() {
        return Err("there is no URL in the file".into());
    }
    let ids = store::enqueue(driver, &plan).await?;
    Ok(Batch { ids, resumed: false })
}

/// Removes the captures of earlier batches, and nothing else.
fn forget_pages(pages: &Path) -> Result<()> {
    for entry in std::fs::read_dir(pages)? {
        let path = entry?.path();
        let ours = path.extension().is_some_and(|e| e == "png" || e == "pdf" || e == "part");
        if ours {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

async fn supervisor(options: &Options, hub: &Arc<Hub>) -> Result<Supervisor> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let base = format!("http://{}", listener.local_addr()?);
    let args = options.for_worker(&base);
    let hub = Arc::clone(hub);
    // However often it is killed, it is started again: that is what the demo is about.
    let policy = Restart::on_failure()
        .backoff(Duration::from_millis(20), Duration::from_millis(200))
        .limit(100, Duration::from_secs(60));
    Ok(Supervisor::builder()
        .member("pages", Task::spawn(|stopping| server::serve(listener, stopping)))
        .deadline(Duration::from_secs(20))
        .service("worker", policy, move || {
            let process = child::start(&args, &hub);
            async move { process }
        })
        .build()?)
}

/// Strikes, shows, and stops everything when the last job has ended; whether somebody else did.
async fn watch(
    driver: &WorkDriver,
    batch: &Batch,
    options: &Options,
    hub: &Hub,
    handle: &Handle,
) -> Result<bool> {
    let total = u32::try_from(batch.ids.len())?;
    let mut chaos = Chaos::new(plan::faults(options.faults, total, options.seed));
    let mut progress = Progress::new(total);
    let looked = loop {
        if handle.is_stopping() {
            break Ok(true);
        }
        let rows = match store::rows(driver, &batch.ids).await {
            Ok(rows) => rows,
            Err(error) => break Err(error),
        };
        let ended = rows.iter().filter(|row| row.state.is_terminal());
        let ended = u32::try_from(ended.count())?;
        progress.show(ended, &hub.now());
        if ended == total {
            break Ok(false);
        }
        chaos.strike(ended, hub);
        tokio::time::sleep(LOOK).await;
    };
    progress.end();
    if chaos.left() > 0 && matches!(looked, Ok(false)) {
        let text = format!("{} faults found no victim in time", chaos.left());
        hub.note(Sort::Note, text);
    }
    handle.stop();
    looked
}
