//! Starts a process whose streams, input and end are tasks of tokio.

use super::builder::ProcessBuilder;
use super::copy::task::Copy;
use super::shown::Shown;
use super::source::Pipe;
use super::start::{Ready, blame, show};
use super::watcher::{Root, Watcher};
use super::{ExitError, Process, output::Exit, stdin};
use crate::consume::Consumer;
use crate::merge::Channel;
use crate::stream::Stream;
use lastout_proc_tree::{SpawnError, TokioChild};
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::ChildStdout;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

/// What the watcher knows of the end of its process.
pub(super) type Known = Option<Result<Exit, ExitError>>;

/// A root that the runtime waits for.
struct OnTokio(TokioChild);

impl Root for OnTokio {
    type Sleep = Sleep;

    async fn exit(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    fn sleep_until(&self, time: std::time::Instant) -> Sleep {
        sleep_until(time.into())
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

impl ProcessBuilder {
    /// Starts the process; `attach` sees the streams before the first byte is read.
    pub(super) fn start<T>(
        self,
        attach: impl FnOnce(&Stream, &Stream) -> T,
    ) -> Result<(Process, T), SpawnError> {
        // Panics without a timer here, and not in the task that will need it.
        drop(tokio::time::sleep(Duration::ZERO));
        self.start_by(|ready| ready.on_tokio(attach))
    }
}

impl Ready {
    /// Starts the tree, then its readers, then the pumps.
    fn on_tokio<T>(
        self,
        attach: impl FnOnce(&Stream, &Stream) -> T,
    ) -> Result<(Process, T), SpawnError> {
        let begin = self.begin.unwrap_or_else(|| Instant::now().into_std());
        let (tree, mut child) = self
            .origin
            .spawn_on_tokio(self.containment)
            .map_err(|error| blame(error, self.directory.as_deref()))?;
        let (stdout, stderr) = (self.out.stream, self.err.stream);
        let attached = attach(&stdout, &stderr);
        let hook =
            self.hook.map(|hook| Consumer::spawn(show(hook, self.line_options, &stdout, &stderr)));
        let copies = (self.out.copies.into_iter())
            .map(|target| Copy::start(Channel::Out, &stdout, target))
            .chain(self.err.copies.into_iter().map(|to| Copy::start(Channel::Err, &stderr, to)))
            .collect();
        let (known, exit) = watch::channel(None);
        let lost = |source| SpawnError::Lost { source };
        let joined = self.joined.map(std::process::ChildStdout::from).map(ChildStdout::from_std);
        let joined = joined.transpose().map_err(lost)?;
        let output = joined.or(child.stdout.take()).map(Pipe::Stdout);
        let (input, end_of_file) = (child.stdin.take(), None);
        #[cfg(feature = "pty")]
        let (input, end_of_file, output) = match &self.pty {
            None => (input, end_of_file, output),
            Some(pty) => {
                let output = Pipe::Terminal(pty.output().map_err(lost)?);
                (Some(pty.input().map_err(lost)?), Some(pty.end_of_file()), Some(output))
            }
        };
        let fed = Arc::default();
        let pumped = input.zip(self.feed.food).map(|(pipe, food)| {
            let fed = Arc::clone(&fed);
            stdin::pump(pipe, food, self.feed.is_open, end_of_file, fed, exit.clone())
        });
        let (stdin, writer) = pumped.unzip();
        if let (Some(idle), Some(pipe)) = (self.out.idle, output) {
            idle.start(pipe);
        }
        if let (Some(idle), Some(pipe)) = (self.err.idle, child.stderr.take()) {
            idle.start(Pipe::Stderr(pipe));
        }
        let (tree, id) = (Arc::new(tree), child.id());
        let watcher = Watcher {
            root: OnTokio(child),
            tree: Arc::downgrade(&tree),
            stdout: stdout.clone(),
            stderr: stderr.clone(),
            begin,
            time: self.time,
            ending: self.ending,
            linger: self.linger,
        };
        let watching = watcher.run(self.cancel);
        let process = Process {
            tree,
            id,
            program: self.program,
            shown: self.shown,
            #[cfg(feature = "pty")]
            pty: self.pty,
            is_measured: self.is_measured,
            line_options: self.line_options,
            stdin: stdin.flatten(),
            writer,
            fed,
            stdout,
            stderr,
            after: Shown { hook, failure: None, copies, failed: Vec::new() },
            exit,
            watcher: Consumer::spawn(async move {
                let ended = watching.await;
                known.send_replace(Some(ended));
            }),
        };
        Ok((process, attached))
    }
}
