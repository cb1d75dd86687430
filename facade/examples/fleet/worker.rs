//! One worker process of the fleet.

use crate::database;
use lastout::Supervisor;
use lastout::supervisor::Failure;
use lastout::work_runner::postgres::PostgresRegistry;
use lastout::work_runner::{DurableWorker, Job, JobError, LeaseTimings, WorkRunner};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Jobs that one process runs at once.
const PLACES: usize = 8;

/// Works until SIGTERM; says so on its standard output when it is ready, and who did each job.
pub(crate) async fn run(queue: &str) -> Result<ExitCode, Failure> {
    let registry = Arc::new(PostgresRegistry::connect(&database()?).await?);
    let worker = DurableWorker::builder(registry)
        .queue(queue, PLACES)
        .lease(LeaseTimings::with_ttl(Duration::from_secs(3))?)
        .handle("work", |job: Job<u32>| async move {
            // A request to somebody else: it takes time, and no CPU.
            tokio::select! {
                _ = job.stopped() => return Err(JobError::retry("stopped")),
                () = tokio::time::sleep(Duration::from_millis(5 + u64::from(*job % 20))) => {}
            }
            Ok(std::process::id())
        })
        .build()?;
    let running = WorkRunner::inline(worker).spawn();
    let supervisor =
        Supervisor::builder().deadline(Duration::from_secs(5)).member("jobs", running).build()?;
    println!("up");
    let report = supervisor.run_until_signal().await?;
    eprintln!("{report}");
    Ok(ExitCode::from(&report))
}
