//! Starts what a builder describes: the tree first, then its readers, then the pumps.

use super::builder::{Hook, ProcessBuilder};
use super::outlet::{Inlet, Outlet};
use super::source::Pipe;
use super::watcher::Watcher;
use super::{Process, Shown, stdin};
use crate::consume::Consumer;
use crate::error::SubscribeError;
use crate::lines::LineOptions;
use crate::merge::merge;
use crate::policy::{Policy, Position};
use crate::prepared::Prepared;
use crate::sequence::Sequence;
use crate::stream::Stream;
use bytes::Bytes;
use lastout_proc_tree::{SpawnError, TokioChild, Tree};
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::Instant;

impl ProcessBuilder {
    /// Starts the process; `attach` sees the streams before the first byte is read.
    pub(super) fn start<T>(
        mut self,
        attach: impl FnOnce(&Stream, &Stream) -> T,
    ) -> Result<(Process, T), SpawnError> {
        // Panics without a timer here, and not in the task that will need it.
        drop(tokio::time::sleep(Duration::ZERO));
        let begin = Instant::now();
        let program = self.program();
        if program.is_empty() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "the program has no name");
            return Err(SpawnError::Command { program: "\"\"".into(), source });
        }
        self.command.stdin(match self.stdin {
            Inlet::Null => Stdio::null(),
            Inlet::Inherit => Stdio::inherit(),
            Inlet::Bytes(_) | Inlet::Piped => Stdio::piped(),
        });
        self.command.stdout(stdio(&self.stdout));
        self.command.stderr(stdio(&self.stderr));
        let sequence = Sequence::new();
        let (stdout, idle_out) = stream(self.stdout, &sequence);
        let (stderr, idle_err) = stream(self.stderr, &sequence);
        let (tree, mut child) = Tree::spawn(&mut self.command, self.containment)
            .map_err(|error| blame(error, &self.command))?;
        let attached = attach(&stdout, &stderr);
        let hook = self.hook.map(|hook| call(hook, &stdout, &stderr));
        let (stdin, writer) = feed(&mut child, self.stdin);
        if let (Some(idle), Some(pipe)) = (idle_out, child.stdout.take()) {
            idle.start(Pipe::Stdout(pipe));
        }
        if let (Some(idle), Some(pipe)) = (idle_err, child.stderr.take()) {
            idle.start(Pipe::Stderr(pipe));
        }
        let tree = Arc::new(tree);
        let id = child.id();
        let (known, exit) = watch::channel(None);
        let watcher = Watcher {
            child,
            tree: Arc::downgrade(&tree),
            stdout: stdout.clone(),
            stderr: stderr.clone(),
            begin,
            time: self.time,
            ending: self.ending,
            linger: self.linger,
            known,
        };
        let watcher = Consumer::spawn(watcher.run());
        let shown = Shown { hook, failure: None };
        let process =
            Process { tree, id, program, stdin, writer, stdout, stderr, shown, exit, watcher };
        Ok((process, attached))
    }
}

/// A directory that is not there is no fault of the program.
fn blame(error: SpawnError, command: &Command) -> SpawnError {
    let directory = command.as_std().get_current_dir();
    match (error, directory) {
        (SpawnError::Command { program, source }, Some(directory)) if !directory.is_dir() => {
            let why = format!("its directory {} is not there: {source}", directory.display());
            SpawnError::Command { program, source: io::Error::new(source.kind(), why) }
        }
        (error, _) => error,
    }
}

fn stdio(outlet: &Outlet) -> Stdio {
    match outlet {
        Outlet::Stream(_) | Outlet::Prepared(_) => Stdio::piped(),
        Outlet::Discard => Stdio::null(),
        Outlet::Inherit => Stdio::inherit(),
    }
}

fn stream(outlet: Outlet, sequence: &Sequence) -> (Stream, Option<Prepared>) {
    let prepared = match outlet {
        Outlet::Stream(config) => Stream::prepare(*config),
        Outlet::Prepared(prepared) => prepared,
        Outlet::Discard | Outlet::Inherit => return (Stream::empty(), None),
    };
    prepared.join(sequence);
    (Stream::clone(&prepared), Some(prepared))
}

type Feed = (Option<stdin::Stdin>, Option<Consumer<stdin::StdinReport>>);

fn feed(child: &mut TokioChild, inlet: Inlet) -> Feed {
    let Some(pipe) = child.stdin.take() else {
        return (None, None);
    };
    let (first, is_open) = match inlet {
        Inlet::Bytes(bytes) => (bytes, false),
        _ => (Bytes::new(), true),
    };
    let (stdin, writer) = stdin::pump(pipe, first, is_open);
    (stdin, Some(writer))
}

/// Calls the hook with every line, unless somebody else reads an output alone.
fn call(mut hook: Hook, stdout: &Stream, stderr: &Stream) -> Consumer<Result<(), SubscribeError>> {
    let readers = (
        stdout.subscribe(Position::Start, Policy::Block),
        stderr.subscribe(Position::Start, Policy::Block),
    );
    Consumer::spawn(async move {
        let mut lines = merge(readers.0?, readers.1?).lines(LineOptions::default());
        while let Some((channel, line)) = lines.next().await {
            hook(channel, line.borrow());
        }
        Ok(())
    })
}
