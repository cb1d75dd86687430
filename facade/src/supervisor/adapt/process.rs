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
use lastout_proc_tree::SignalError;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::{Mutex, Notify, oneshot};

struct Member {
    /// Held by the watch while it runs, and then by the end: never by both.
    process: Mutex<Process>,
    outputs: [Stream; 2],
    signals: Signals,
    /// Wakes the watch, which has the process, to send the signal that reloads.
    reload: Notify,
    /// Where the watch tells whether it could be sent.
    asked: Asked,
    home: Home,
}

type Sent = Result<(), SignalError>;

/// The place of a reload that waits for its answer.
#[derive(Default)]
struct Asked(std::sync::Mutex<Option<oneshot::Sender<Sent>>>);

impl Asked {
    fn ask(&self) -> oneshot::Receiver<Sent> {
        let (asked, answer) = oneshot::channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        answer
    }

    /// Answers the reload with `sent`. `None` says that the process has ended.
    fn answer(&self, sent: Option<Sent>) {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(asked), Some(sent)) = (asked, sent) {
            // One that waits no more is past its deadline.
            let _ = asked.send(sent);
        }
    }
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
            asked: Asked::default(),
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
            let ended = loop {
                match race(process.wait(), self.reload.notified()).await {
                    Either::First(ended) => break ended,
                    Either::Second(()) => {
                        let sent = self.signals.send_reload(process.tree());
                        self.asked.answer(Some(sent));
                    }
                }
            };
            self.asked.answer(None);
            match ended {
                Ok(exit) if exit.success() => Ok(()),
                Ok(exit) => Err(format!("{} ended: {}", process.program(), exit.status).into()),
                Err(error) => Err(chain(&error).into()),
            }
        })
    }

    fn reload(&self) -> EndedFuture<'_> {
        Box::pin(async move {
            if self.signals.reload.is_none() {
                return Ok(());
            }
            let answer = self.asked.ask();
            self.reload.notify_one();
            // Without an answer the process has ended, or another reload came after this one.
            answer.await.unwrap_or(Ok(())).map_err(|error| chain(&error).into())
        })
    }

    fn stats(&self) -> Counters {
        let outputs = self.outputs.iter().map(output_stream::counters);
        outputs.fold(Counters::new(), Counters::and)
    }
}
