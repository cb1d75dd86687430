//! What a worker counted, as a plain snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// What a worker did since it was built. Every claimed job is in exactly one of the ends:
        /// `claimed == succeeded + retried + failed + cancelled + dead + abandoned + snoozed +
        /// released + lost + in_flight`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Claimed and without a written end: waiting, running, or on the way to the store.
            pub in_flight: u64,
        }

        impl Counters {
            pub(crate) fn snapshot(&self, in_flight: u64) -> Stats {
                Stats { $($name: self.$name.count(),)* in_flight }
            }
        }
    };
}

counters! {
    /// Jobs claimed.
    claimed,
    /// Written as succeeded.
    succeeded,
    /// Written as failed attempts that are tried again.
    retried,
    /// Written as failed.
    failed,
    /// Written as cancelled.
    cancelled,
    /// Written as dead letters.
    dead,
    /// Written as abandoned.
    abandoned,
    /// Put off: by the handler, or because the kind is unknown here.
    snoozed,
    /// Given back uncharged.
    released,
    /// Not written, because the lease was lost: another worker answers for them.
    lost,
    /// Of all: handlers that panicked.
    panicked,
    /// Of all: payloads that do not decode.
    rejected,
    /// Of all: jobs of a kind without a handler here, from a store that does not heed the kinds of a turn.
    unknown_kind,
    /// Of all: handlers that block a thread and could not be stopped; their jobs were written off.
    stuck,
    /// Rows that could not be read and were set aside; never claimed.
    unreadable,
    /// Jobs that the store took for held by this worker, and that it did not hold: a claim whose answer
    /// was lost, or that was committed late. They were given back.
    reconciled,
    /// Turns: transactions that complete and claim.
    turns,
    /// Looks for work that found the time to look, not counted as turns.
    peeks,
    /// Renewals of the lease.
    beats,
    /// Renewals that failed and were tried again.
    failed_beats,
    /// Times the worker stopped itself because its lease was about to lapse, or was found lapsed.
    fenced,
    /// Jobs of dead workers taken back by this one.
    recovered,
    /// Calls to the store that failed.
    store_errors,
    /// Periodic runs enqueued by this worker.
    fired,
    /// Ended jobs deleted by this worker.
    pruned,
}

impl Stats {
    /// The sum of all ends.
    pub fn ended(&self) -> u64 {
        self.succeeded
            + self.retried
            + self.failed
            + self.cancelled
            + self.dead
            + self.abandoned
            + self.snoozed
            + self.released
            + self.lost
    }
}
