//! An async-rt runtime as a member: its own thread drives and ends it, and its handle says when and how.

use crate::supervisor::drain::{Drain, DrainFuture, Drained, Until};
use lastout_async_rt::{Report, ShutdownHandle};

/// The thread of the runtime listens to the handle, and then ends the runtime by `shutdown_blocking`.
impl Drain for ShutdownHandle {
    fn drain(&self, _until: Until) -> DrainFuture<'_> {
        Box::pin(async move {
            self.trigger();
            drained(&self.ended().await)
        })
    }
}

fn drained(report: &Report) -> Drained {
    let mut drained =
        Drained::new().ended("tasks", report.finished()).forced("tasks", report.forced());
    for left in report.left_behind() {
        let what = match left.name() {
            Some(name) => format!("{} {name}", left.what()),
            None => left.what().to_owned(),
        };
        drained = drained.left(what, left.reason());
    }
    drained
}
