//! A process with its streams as a member.

use super::runtime::Home;
use super::with_signals::{Signals, WithSignals};
use super::{output_stream, proc_tree};
use crate::supervisor::IntoDrain;
use crate::supervisor::contain::{Either, race};
use crate::supervisor::drain::{Drain, DrainFuture, Drained, EndedFuture, Until};
use crate::supervisor::error::chain;
use crate::supervisor::stats::Counters;
use lastout_output_stream::{Process, Stream};
use std::time::Duration;
use tokio::sync::{Mutex, Notify};

struct Member {
    /// Held by the watch while it runs, and then by the end: never by both.
    process: Mutex<Process>,
    outputs: [Stream; 2],
    signals: Signals,
    /// Wakes the watch, which has the process, to send the signal that reloads.
    reload: Notify,
    home: Home,
}

impl IntoDrain for Process {
    fn into_drain(self) -> Box<dyn Drain> {
        WithSignals::new(self).into_drain()
    }
}

impl IntoDrain for WithSignals<Process> {
    fn into_drain(self) -> Box<dyn Drain> {
        let Self { member: process, signals } = self;
        Box::new(Member {
            outputs: [process.stdout().clone(), process.stderr().clone()],
            process: Mutex::new(process),
            signals,
            reload: Notify::new(),
            home: Home::current(),
        })
    }
}

impl Member {
    /// Waits until everything that it wrote was read and shown.
    async fn read(&self, process: &mut Process) -> u64 {
        // How it ended is of no interest: it was asked to.
        let _ = process.wait().await;
        for output in &self.outputs {
            output.ended().await;
        }
        self.outputs.len() as u64
    }

    /// As [`read`](Self::read), until this time is over: then nobody waits any more for a reader that
    /// does not read.
    async fn read_within(&self, process: &mut Process, time: Duration) -> Drained {
        if self.home.is_known() {
            if let Ok(read) = tokio::time::timeout(time, self.read(process)).await {
                return Drained::new().ended("streams", read);
            }
        }
        self.outputs.iter().for_each(Stream::close);
        Drained::new().forced("streams", self.read(process).await)
    }
}

impl Drain for Member {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        Box::pin(async move {
            let mut process = self.process.lock().await;
            let ended = process.terminate(&self.signals.policy(until)).await;
            let drained = proc_tree::drained(process.program(), ended);
            drained.ended("streams", self.read(&mut process).await)
        })
    }

    fn force(&self, until: Until) -> DrainFuture<'_> {
        self.home.inside(async move {
            let mut process = self.process.lock().await;
            let killed = process.kill(until.deadline()).await;
            let drained = proc_tree::drained(process.program(), killed);
            drained.and(self.read_within(&mut process, until.remaining() / 2).await)
        })
    }

    fn ended(&self) -> EndedFuture<'_> {
        Box::pin(async {
            let mut process = self.process.lock().await;
            loop {
                match race(process.wait(), self.reload.notified()).await {
                    Either::First(Ok(exit)) if exit.success() => return Ok(()),
                    Either::First(Ok(exit)) => {
                        return Err(format!("{} ended: {}", process.program(), exit.status).into());
                    }
                    Either::First(Err(error)) => return Err(chain(&error).into()),
                    // A root that has ended is seen at the next turn.
                    Either::Second(()) => drop(self.signals.send_reload(process.tree())),
                }
            }
        })
    }

    fn reload(&self) -> EndedFuture<'_> {
        if self.signals.reload.is_some() {
            self.reload.notify_one();
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn stats(&self) -> Counters {
        let outputs = self.outputs.iter().map(output_stream::counters);
        outputs.fold(Counters::new(), Counters::and)
    }
}
