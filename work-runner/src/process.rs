//! Process work: a job that is a child process. Its tree is owned by `proc-tree`, its output is read
//! by `output-stream`; whatever ends the job ends the whole tree.

use crate::error::WriteError;
use crate::runner::{Job, JobError, StopCause, WorkerBuilder};
use lastout_output_stream::{Exit, Keep, Process};
use lastout_proc_tree::{Deadline, Pid, Policy, ProcId, Program, Tree};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long the tree has to end by itself after it was asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long killing a tree may take.
const KILL_WITHIN: Duration = Duration::from_secs(10);

/// The payload of a job that is a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ProcessSpec {
    /// The program: a path, or a name that is looked up in `PATH`.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables set beside those of the worker, or alone with `clear_env`.
    pub env: BTreeMap<String, String>,
    /// Start without the variables of the worker.
    pub clear_env: bool,
    /// The directory it starts in.
    pub current_dir: Option<PathBuf>,
    /// What it reads from standard input.
    pub stdin: String,
    /// How much of the start and of the end of each output is kept with the result, in bytes.
    pub keep_bytes: u64,
    /// Exit codes that are a success.
    pub success: Vec<i32>,
    /// What each of its processes may use.
    pub limits: ProcessLimits,
}

/// What each process of a job may use; as far as the system allows unless set. They are the resource
/// limits of the shell (`ulimit`): every process of the tree inherits them, and counts for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ProcessLimits {
    /// Address space, in bytes; allocations beyond it fail.
    pub memory_bytes: Option<u64>,
    /// Time on a processor, in seconds; beyond it the process is killed.
    pub cpu_seconds: Option<u64>,
    /// Open files at a time.
    pub open_files: Option<u64>,
}

impl ProcessLimits {
    /// The commands that set them in a shell, each ended by `&&`; empty without limits.
    fn in_shell(self) -> String {
        // The shell counts memory in units of 1024 bytes.
        let memory = self.memory_bytes.map(|bytes| bytes.div_ceil(1024));
        let limits = [('v', memory), ('t', self.cpu_seconds), ('n', self.open_files)];
        let set = limits.into_iter().filter_map(|(flag, value)| Some((flag, value?)));
        set.map(|(flag, value)| format!("ulimit -{flag} {value} && ")).collect()
    }
}

impl Default for ProcessSpec {
    fn default() -> Self {
        Self::new("true")
    }
}

impl ProcessSpec {
    /// `program` without arguments, with 8 KiB of each end of each output kept.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            clear_env: false,
            current_dir: None,
            stdin: String::new(),
            keep_bytes: 8 << 10,
            success: vec![0],
            limits: ProcessLimits::default(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Starts in this directory.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(directory.into());
        self
    }

    /// Address space of each of its processes, in bytes; see [`ProcessLimits`].
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.limits.memory_bytes = Some(bytes);
        self
    }

    /// Processor time of each of its processes, in seconds; see [`ProcessLimits`].
    #[must_use]
    pub fn cpu_seconds(mut self, seconds: u64) -> Self {
        self.limits.cpu_seconds = Some(seconds);
        self
    }

    /// Files that each of its processes may have open; see [`ProcessLimits`].
    #[must_use]
    pub fn open_files(mut self, files: u64) -> Self {
        self.limits.open_files = Some(files);
        self
    }

    fn start_from(&self) -> Program {
        let limits = self.limits.in_shell();
        let mut program = if limits.is_empty() {
            Program::new(&self.program)
        } else {
            // A shell sets them and becomes the program: no limit of the worker is ever changed.
            let mut shell = Program::new("/bin/sh");
            shell.args(["-c", &format!("{limits}exec \"$0\" \"$@\""), &self.program]);
            shell
        };
        program.args(&self.args);
        if self.clear_env {
            program.env_clear();
        }
        program.envs(&self.env);
        if let Some(directory) = &self.current_dir {
            program.current_dir(directory);
        }
        program
    }
}

/// The result of a job that is a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessResult {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output: start and end.
    pub stdout: String,
    /// What it wrote to standard error: start and end.
    pub stderr: String,
    /// Bytes of both that it wrote in all.
    pub written: u64,
    /// Processes of its tree that outlived its root and were ended with the job.
    pub ended_with_it: usize,
    /// How its tree was held together, and with which gaps: the words of
    /// [`Guarantee`](lastout_proc_tree::Guarantee).
    pub held_by: String,
}

/// The root of the tree that an attempt started, written down so that the next attempt can make
/// sure of its end. Pid and start time name it within a boot of a machine.
#[derive(Debug, Serialize, Deserialize)]
struct Started {
    host: String,
    boot: String,
    pid: Pid,
    start: u64,
}

/// A process that ended without success, with the end of what it said.
#[derive(Debug)]
struct Unsuccessful(String);

impl fmt::Display for Unsuccessful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsuccessful {}

impl WorkerBuilder {
    /// Runs jobs of `kind` as processes: their payload is a [`ProcessSpec`], their result a
    /// [`ProcessResult`]. Another exit code than those of success is a failed attempt.
    ///
    /// Cancellation, timeout, a lost lease and a stop end the whole tree, first by asking. A worker
    /// that is killed takes the tree with it, as far as the machine allows to hold it together; the
    /// next attempt makes sure of that before it starts anew.
    pub fn handle_process(self, kind: &str) -> Self {
        self.handle_process_watched(kind, |_, _| ())
    }

    /// As [`handle_process`](Self::handle_process); `watch` is called for each process that was
    /// started and can subscribe to its [`stdout`](Process::stdout) and [`stderr`](Process::stderr):
    /// a subscription from here misses nothing, and what it does is no part of the job.
    pub fn handle_process_watched(
        self,
        kind: &str,
        watch: impl Fn(&Job<ProcessSpec>, &Process) + Send + Sync + 'static,
    ) -> Self {
        let watch: Arc<Watch> = Arc::new(watch);
        self.handle(kind, move |job| run(job, Arc::clone(&watch)))
    }
}

/// Who sees each process that is started.
type Watch = dyn Fn(&Job<ProcessSpec>, &Process) + Send + Sync;

async fn run(job: Job<ProcessSpec>, watch: Arc<Watch>) -> Result<ProcessResult, JobError> {
    end_earlier(&job).await?;
    let keep = Keep::head_tail(job.keep_bytes, job.keep_bytes);
    // A drain decides what becomes of it, and not the terminal.
    let builder = Process::builder(job.start_from()).own_group();
    let mut process = match job.stdin.is_empty() {
        true => builder.spawn(),
        false => builder.stdin(job.stdin.clone().into_bytes()).spawn(),
    }?;
    let stdout = process.stdout().collect(keep)?;
    let stderr = process.stderr().collect(keep)?;
    watch(&job, &process);
    note(&job, process.id()).await?;
    let exit = tokio::select! {
        exit = process.wait() => exit?,
        cause = job.stopped() => {
            return Err(end(&process, cause).await);
        }
    };
    let (mut stdout, mut stderr) = (stdout, stderr);
    let (stdout, stderr) = (stdout.wait().await, stderr.wait().await);
    let held_by = process.tree().guarantee().to_string();
    let rest = process.kill(Deadline::after(KILL_WITHIN)).await?;
    let result = ProcessResult {
        code: exit.status.code(),
        stdout: stdout.text(),
        stderr: stderr.text(),
        written: stdout.total() + stderr.total(),
        ended_with_it: rest.killed,
        held_by,
    };
    judge(&job, &exit, result)
}

fn judge(
    job: &Job<ProcessSpec>,
    exit: &Exit,
    result: ProcessResult,
) -> Result<ProcessResult, JobError> {
    if result.code.is_some_and(|code| job.success.contains(&code)) {
        return Ok(result);
    }
    let said = result.stderr.trim_end().lines().rev().take(5).collect::<Vec<_>>();
    let said: Vec<_> = said.into_iter().rev().collect();
    let text = format!("{} ended with {}: {}", job.program, exit.status, said.join("\n"));
    Err(JobError::retry(Unsuccessful(text)))
}

/// Ends the tree of a job that is to stop; returns what is written about it.
async fn end(process: &Process, cause: StopCause) -> JobError {
    let policy = Policy::term(GRACE).kill_within(KILL_WITHIN);
    let ended = process.terminate(&policy).await;
    match ended {
        Ok(_) => JobError::retry(Unsuccessful(format!("ended with its tree: {cause:?}"))),
        Err(survived) => JobError::retry(survived),
    }
}

async fn note(job: &Job<ProcessSpec>, root: ProcId) -> Result<(), WriteError> {
    let here = crate::Identity::current();
    let started =
        Started { host: here.host, boot: here.boot, pid: root.pid(), start: root.start() };
    job.save(&started).await
}

/// Makes sure that nothing of an earlier attempt runs on this machine.
async fn end_earlier(job: &Job<ProcessSpec>) -> Result<(), JobError> {
    let Some(earlier) = job.checkpoint::<Started>() else {
        return Ok(());
    };
    let here = crate::Identity::current();
    if earlier.host != here.host || earlier.boot != here.boot || here.host.is_empty() {
        return Ok(());
    }
    let pid = earlier.pid;
    if ProcId::of(pid).is_none_or(|id| id.start() != earlier.start || !id.is_running()) {
        return Ok(());
    }
    let tree = match Tree::adopt(pid) {
        Ok(tree) => tree,
        // It ended between the look and the call.
        Err(_) if ProcId::of(pid).is_none_or(|id| id.start() != earlier.start) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    tree.kill(Deadline::after(KILL_WITHIN)).await?;
    Ok(())
}
