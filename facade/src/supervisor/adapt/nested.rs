//! A supervisor as a member of another one.

use crate::Supervisor;
use crate::supervisor::apart::on_thread;
use crate::supervisor::drain::{Drain, DrainFuture, Drained, EndedFuture, Until};
use crate::supervisor::report::{Cause, Ending, Report};
use crate::supervisor::stats::Counters;
use crate::supervisor::stop::{Level, Stop};
use crate::supervisor::{Handle, IntoDrain};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct Nested {
    handle: Handle,
    run: Arc<Run>,
}

/// What the thread of the inner supervisor and the outer one share.
#[derive(Default)]
struct Run {
    /// Raised when the thread is over.
    over: Stop,
    end: Mutex<End>,
}

#[derive(Default)]
enum End {
    /// It runs, or never did.
    #[default]
    Unknown,
    Reported(Report),
    /// The report was handed on.
    Taken,
}

/// Held by the thread. It is dropped as well when there is no thread.
struct Over(Arc<Run>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.raise(Level::Drain);
    }
}

impl Run {
    fn lock(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IntoDrain for Supervisor {
    fn into_drain(self) -> Box<dyn Drain> {
        let (handle, run) = (self.handle(), Arc::new(Run::default()));
        let over = Over(Arc::clone(&run));
        #[cfg(feature = "tokio")]
        let runtime = tokio::runtime::Handle::try_current().ok();
        // Its end is known by `over`, not by the output of the thread.
        let _ = on_thread("supervisor", move || {
            #[cfg(feature = "tokio")]
            let _inside = runtime.as_ref().map(tokio::runtime::Handle::enter);
            let report = self.run_blocking();
            *over.0.lock() = End::Reported(report);
        });
        Box::new(Nested { handle, run })
    }
}

impl Nested {
    async fn drained(&self) -> Drained {
        self.run.over.reached(Level::Drain).await;
        match std::mem::replace(&mut *self.run.lock(), End::Taken) {
            End::Reported(report) => drained(report),
            End::Taken => Drained::new(),
            End::Unknown => Drained::new().left("supervisor", "it did not come to its report"),
        }
    }
}

impl Drain for Nested {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        self.handle.stop_by(until.deadline());
        Box::pin(self.drained())
    }

    fn force(&self, until: Until) -> DrainFuture<'_> {
        self.handle.stop_by(until.deadline());
        self.handle.force();
        Box::pin(self.drained())
    }

    fn ended(&self) -> EndedFuture<'_> {
        Box::pin(async {
            self.run.over.reached(Level::Drain).await;
            let failure = match &*self.run.lock() {
                End::Reported(report) => failure(report),
                End::Unknown => Some("no thread was left to run it".to_owned()),
                End::Taken => None,
            };
            match failure {
                Some(failure) => Err(failure.into()),
                None if self.run.lock().is_taken() => pending().await,
                None => Ok(()),
            }
        })
    }

    fn stats(&self) -> Counters {
        self.handle.stats().totals()
    }

    fn is_live(&self) -> bool {
        self.handle.health().live
    }

    fn reload(&self) -> EndedFuture<'_> {
        self.handle.reload();
        Box::pin(std::future::ready(Ok(())))
    }
}

impl End {
    fn is_taken(&self) -> bool {
        matches!(self, Self::Taken)
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        self.handle.force();
    }
}

/// The failure of the member that ended the inner supervisor.
fn failure(report: &Report) -> Option<String> {
    let Cause::Failed(name) = &report.cause else {
        return None;
    };
    let member = report.members.iter().find(|member| member.name == *name);
    let last = member.and_then(|member| member.failures.last());
    Some(match last {
        Some(failure) => format!("{name} failed: {failure}"),
        None => format!("{name} failed"),
    })
}

fn drained(report: Report) -> Drained {
    let mut drained = Drained::new();
    for member in report.members {
        drained = match member.ending {
            Ending::Drained => drained.ended("members", 1),
            Ending::Forced => drained.forced("members", 1),
            Ending::Stuck | Ending::Absent => drained,
        };
        let mut its = member.drained;
        for left in &mut its.left_behind {
            left.what = format!("{}: {}", member.name, left.what);
        }
        drained = drained.and(its);
    }
    drained
}
