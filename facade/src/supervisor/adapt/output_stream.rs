//! An output stream as a member.

use crate::supervisor::drain::{Drain, DrainFuture, Drained, Until};
use crate::supervisor::stats::Counters;
use lastout_output_stream::Stream;

impl Drain for Stream {
    fn drain(&self, _until: Until) -> DrainFuture<'_> {
        let before = self.end().is_none();
        Self::drain(self);
        Box::pin(async move {
            self.ended().await;
            Drained::new().ended("streams", u64::from(before))
        })
    }

    fn force(&self, _until: Until) -> DrainFuture<'_> {
        let before = self.end().is_none();
        self.close();
        Box::pin(async move {
            self.ended().await;
            Drained::new().forced("streams", u64::from(before))
        })
    }

    fn stats(&self) -> Counters {
        counters(self)
    }
}

/// What a stream and its attached subscribers count.
pub(super) fn counters(stream: &Stream) -> Counters {
    let stats = stream.stats();
    let mut counters = Counters::new().count("stream.ingested", stats.ingested);
    for subscriber in &stats.subscribers {
        let parts = subscriber.attached_at + subscriber.delivered + subscriber.lost;
        counters = counters
            .count("stream.delivered", subscriber.delivered)
            .count("stream.lost", subscriber.lost)
            .sum(
                "bytes, for each subscriber: ingested = before + delivered + lost + to come",
                stats.ingested,
                parts + subscriber.lag,
            );
    }
    counters
}
