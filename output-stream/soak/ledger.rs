//! A reader that keeps books of the output of a process, whatever becomes of the process.

use crate::Sums;
use crate::dice::Dice;
use lastout_output_stream::{Event, OnStall, Policy, Position, Stream, Subscriber};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The reader, and the stream that it reads.
pub(crate) struct Ledger {
    stream: Stream,
    policy: Policy,
    reading: JoinHandle<(Subscriber, u64, u64)>,
}

/// Reads a stream before whose first byte this is called, by a random policy.
pub(crate) fn follow(stream: &Stream, dice: &mut Dice) -> Ledger {
    let policy = match dice.roll(5) {
        0 => Policy::DropOldest,
        1 => Policy::DropNewest,
        2 => Policy::block_for(Duration::from_millis(1 + dice.roll(3)), OnStall::Lossy),
        _ => Policy::Block,
    };
    let reader = stream.subscribe(Position::Start, policy).unwrap();
    let reading = tokio::spawn(read(reader, dice.split()));
    Ledger { stream: stream.clone(), policy, reading }
}

async fn read(mut reader: Subscriber, mut dice: Dice) -> (Subscriber, u64, u64) {
    let naps = dice.roll(3) == 0;
    let (mut delivered, mut lost) = (0, 0);
    while let Some(event) = reader.next().await {
        match event {
            Event::Data { bytes, .. } => delivered += bytes.len() as u64,
            Event::Gap { from, to } => lost += to - from,
            Event::End(_) => {}
        }
        if naps && dice.roll(20) == 0 {
            // SLEEP: a reader that is slow now and then is what the policies are for.
            tokio::time::sleep(Duration::from_millis(dice.roll(4))).await;
        }
    }
    (reader, delivered, lost)
}

impl Ledger {
    /// Waits for the end of the stream, and gives how many bytes it had.
    pub(crate) async fn settle(self, sums: &mut Sums) -> u64 {
        let (reader, delivered, lost) = self.reading.await.unwrap();
        let (stats, ingested) = (reader.stats(), self.stream.ingested());
        assert_eq!((stats.delivered, stats.lost), (delivered, lost), "{stats:?}");
        assert_eq!(delivered + lost, ingested, "{:?}: {stats:?}", self.policy);
        assert!(lost == 0 || self.policy != Policy::Block, "{stats:?}");
        sums.readers += 1;
        sums.delivered += delivered;
        sums.lost += lost;
        ingested
    }
}
