//! Workers as processes of their own: this test binary again, started with a job to do. They are
//! what gets killed, stopped and woken.
#![allow(
    clippy::disallowed_methods,
    reason = "real processes, killed and waited for by their guard"
)]

use lastout_work_runner::{DurableWorker, Job, LeaseTimings, NewJob, Registry, WorkRunner};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

const ROLE: &str = "LASTOUT_TEST_ROLE";
const STORE: &str = "LASTOUT_TEST_STORE";

/// What a child process is to do, if this process is one.
pub(crate) fn role() -> Option<(String, String)> {
    Some((std::env::var(ROLE).ok()?, std::env::var(STORE).ok()?))
}

/// A child that is killed when the test ends.
pub(crate) struct WorkerProcess(Child);

impl WorkerProcess {
    /// Starts this binary again, to run only the test `entry`, which asks for its [`role`].
    pub(crate) fn start(entry: &str, role: &str, store: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", entry, "--nocapture"]);
        command.env(ROLE, role).env(STORE, store);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Stops it where it stands, like a machine that hangs.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits until it has aborted itself.
    pub(crate) async fn aborts(&mut self, what: &str) {
        let until = std::time::Instant::now() + super::PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert!(has_aborted(status), "{what}: {status}");
                return;
            }
            assert!(std::time::Instant::now() < until, "the worker dies: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

#[cfg(unix)]
fn has_aborted(status: ExitStatus) -> bool {
    const SIGABRT: i32 = 6;
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGABRT)
}

/// The abort of std is a fast fail.
#[cfg(windows)]
fn has_aborted(status: ExitStatus) -> bool {
    const STATUS_STACK_BUFFER_OVERRUN: i32 = 0xC000_0409_u32 as i32;
    status.code() == Some(STATUS_STACK_BUFFER_OVERRUN)
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Appends one line to a file that all processes share: what really ran, and when.
pub(crate) fn note(file: &Path, line: &str) {
    use std::io::Write;
    let mut file = std::fs::File::options().create(true).append(true).open(file).unwrap();
    // One write of less than a page: lines of different processes do not mix.
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

pub(crate) fn notes(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A lease short enough for a test.
pub(crate) fn short_lease() -> LeaseTimings {
    LeaseTimings::new(Duration::from_millis(1500), Duration::from_millis(400)).unwrap()
}

/// A lease that no stall of a disk outlasts, renewed as often.
pub(crate) fn long_lease() -> LeaseTimings {
    LeaseTimings::new(Duration::from_secs(120), Duration::from_millis(400)).unwrap()
}

/// A job that notes its start and its end in the file of its payload, `ms` apart.
pub(crate) fn noting_job(file: &Path, ms: u64) -> NewJob {
    NewJob::new("note", &(file.to_str().unwrap(), ms)).unwrap()
}

/// A runner whose jobs note when they start and end.
pub(crate) fn noting_runner(
    registry: Arc<dyn Registry>,
    name: &str,
) -> (WorkRunner, DurableWorker) {
    leased_runner(registry, name, short_lease())
}

/// The same with a lease of its own.
pub(crate) fn leased_runner(
    registry: Arc<dyn Registry>,
    name: &str,
    lease: LeaseTimings,
) -> (WorkRunner, DurableWorker) {
    let name = name.to_owned();
    let worker = DurableWorker::builder(registry)
        .lease(lease)
        .wedged_after(Duration::from_secs(60))
        .queue("default", 8)
        .handle("note", move |job: Job<(String, u64)>| {
            let name = name.clone();
            async move {
                let file = std::path::PathBuf::from(&job.payload.0);
                let (id, fence) = (job.id(), job.lease().fence.0);
                note(&file, &format!("start {id} {fence} {name}"));
                tokio::time::sleep(Duration::from_millis(job.payload.1)).await;
                note(&file, &format!("end {id} {fence} {name}"));
                Ok(())
            }
        })
        .build()
        .unwrap();
    (WorkRunner::inline(worker.clone()).poll(Duration::from_millis(100)), worker)
}
