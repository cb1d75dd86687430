//! Starts what a builder describes: the tree first, then its readers, then the pumps.

use super::builder::{Hook, ProcessBuilder};
use super::command::{Lead, Origin};
use super::outlet::{Inlet, Outlet};
use super::source::Pipe;
use super::watcher::{Known, Watcher};
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
use lastout_proc_tree::{Containment, SpawnError, SpawnStep, TokioChild};
use std::io;
use std::sync::Arc;
use std::time::Duration;
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
            let program = "\"\"".into();
            return Err(SpawnError::Invalid { program, why: "the program has no name".into() });
        }
        let containment = default_to_the_callers(self.containment);
        let inlet = self.stdin.or_else(|| self.origin.inlet());
        let stdin = match &inlet {
            None => Lead::Kept,
            Some(Inlet::Null) => Lead::Null,
            Some(Inlet::Inherit) => Lead::Inherit,
            Some(Inlet::Bytes(_) | Inlet::Piped) => Lead::Piped,
        };
        if matches!(inlet, Some(Inlet::Inherit))
            && containment.leads_group()
            && rustix::termios::isatty(io::stdin())
        {
            let why = "it would read from the terminal in a group of its own, and \
                       a background process that reads from the terminal is stopped";
            return Err(SpawnError::Invalid { program, why: why.into() });
        }
        let stdout = self.stdout.or_else(|| self.origin.outlet(1));
        let stderr = self.stderr.or_else(|| self.origin.outlet(2));
        self.origin.lead([stdin, lead(stdout.as_ref()), lead(stderr.as_ref())]);
        let sequence = Sequence::new();
        let (stdout, idle_out) = stream(stdout, &sequence, (&program, "stdout"));
        let (stderr, idle_err) = stream(stderr, &sequence, (&program, "stderr"));
        let (tree, mut child) =
            self.origin.spawn(containment).map_err(|error| blame(error, &self.origin))?;
        let attached = attach(&stdout, &stderr);
        let hook = self.hook.map(|hook| call(hook, &stdout, &stderr));
        let (known, exit) = watch::channel(None);
        let (stdin, writer) = feed(&mut child, inlet, exit.clone());
        if let (Some(idle), Some(pipe)) = (idle_out, child.stdout.take()) {
            idle.start(Pipe::Stdout(pipe));
        }
        if let (Some(idle), Some(pipe)) = (idle_err, child.stderr.take()) {
            idle.start(Pipe::Stderr(pipe));
        }
        let tree = Arc::new(tree);
        let id = child.id();
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

/// What a containment does not choose: the process dies with its caller, and is interrupted with it.
fn default_to_the_callers(containment: Containment) -> Containment {
    let outlives = containment.outlives_caller();
    let containment = match containment.chooses_group() || outlives {
        true => containment,
        false => containment.keep_group(),
    };
    if outlives { containment } else { containment.die_with_parent() }
}

/// A directory that is not there is no fault of the program. Std does not tell one from the other.
fn blame(error: SpawnError, origin: &Origin) -> SpawnError {
    match (error, origin.directory()) {
        (SpawnError::Command { program, source, .. }, Some(directory)) if !directory.is_dir() => {
            let named = format!("{}: {source}", directory.display());
            let source = io::Error::new(source.kind(), named);
            SpawnError::Command { program, step: SpawnStep::Directory, source }
        }
        (error, _) => error,
    }
}

fn lead(outlet: Option<&Outlet>) -> Lead {
    match outlet {
        None => Lead::Kept,
        Some(Outlet::Stream(_) | Outlet::Prepared(_)) => Lead::Piped,
        Some(Outlet::Discard) => Lead::Null,
        Some(Outlet::Inherit) => Lead::Inherit,
    }
}

/// A stream that was not named has the name of its process.
fn stream(
    outlet: Option<Outlet>,
    sequence: &Sequence,
    (program, channel): (&str, &str),
) -> (Stream, Option<Prepared>) {
    let prepared = match outlet {
        Some(Outlet::Stream(mut config)) => {
            config.name.get_or_insert_with(|| format!("{channel} of {program}").into());
            Stream::prepare(*config)
        }
        Some(Outlet::Prepared(prepared)) => prepared,
        Some(Outlet::Discard | Outlet::Inherit) | None => return (Stream::empty(), None),
    };
    prepared.join(sequence);
    (Stream::clone(&prepared), Some(prepared))
}

type Feed = (Option<stdin::Stdin>, Option<Consumer<stdin::StdinReport>>);

fn feed(child: &mut TokioChild, inlet: Option<Inlet>, exit: watch::Receiver<Known>) -> Feed {
    let Some(pipe) = child.stdin.take() else {
        return (None, None);
    };
    let (first, is_open) = match inlet {
        Some(Inlet::Bytes(bytes)) => (bytes, false),
        _ => (Bytes::new(), true),
    };
    let (stdin, writer) = stdin::pump(pipe, first, is_open, exit);
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
