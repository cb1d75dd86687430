//! A process with its streams as a member.

use super::runtime::Home;
use super::{output_stream, proc_tree};
use crate::supervisor::IntoDrain;
use crate::supervisor::drain::{Drain, DrainFuture, Drained, EndedFuture, Until};
use crate::supervisor::error::chain;
use crate::supervisor::stats::Counters;
use lastout_output_stream::{Process, Stream};
use std::time::Duration;
use tokio::sync::Mutex;

struct Member {
    /// Held by the watch while it runs, and then by the end: never by both.
    process: Mutex<Process>,
    outputs: [Stream; 2],
    home: Home,
}

impl IntoDrain for Process {
    fn into_drain(self) -> Box<dyn Drain> {
        Box::new(Member {
            outputs: [self.stdout().clone(), self.stderr().clone()],
            process: Mutex::new(self),
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
            let policy = proc_tree::policy(until);
            let ended = process.terminate(&policy).await;
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
            match process.wait().await {
                Ok(exit) if exit.success() => Ok(()),
                Ok(exit) => Err(format!("{} ended: {}", process.program(), exit.status).into()),
                Err(error) => Err(chain(&error).into()),
            }
        })
    }

    fn stats(&self) -> Counters {
        let outputs = self.outputs.iter().map(output_stream::counters);
        outputs.fold(Counters::new(), Counters::and)
    }
}
