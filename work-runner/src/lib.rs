#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(lastout_docsrs, feature(doc_cfg))]

mod clock;
mod config;
#[cfg(feature = "test-util")]
pub mod conformance;
mod contain;
pub mod cron;
mod driver;
mod error;
mod event;
mod identity;
mod job;
mod lease;
pub mod lifecycle;
#[cfg(all(test, lastout_loom))]
mod model;
mod orders;
mod periodic;
mod poke;
#[cfg(feature = "process")]
mod process;
mod registry;
mod report;
mod retry;
mod runner;
mod signal;
mod stats;
mod store;
mod sync;
mod sys;

#[doc(inline)]
pub use clock::Clock;
#[doc(inline)]
pub use driver::WorkDriver;
#[doc(inline)]
pub use error::{BuildError, DriveError, StoreError, StoreErrorKind, WriteError};
#[doc(inline)]
pub use event::Event;
#[doc(inline)]
pub use identity::Identity;
#[doc(inline)]
pub use job::{
    Attempt, AttemptOutcome, Edit, JobId, JobRecord, MAX_ATTEMPTS_KEPT, NewJob, PRIORITY_STEP,
    PayloadError, Recovery, UniqueWhile,
};
#[doc(inline)]
pub use lease::{Fence, Lease, LeaseTimings, LeaseTimingsError, WorkerId};
#[doc(inline)]
pub use lifecycle::{LeaseLost, Outcome, State};
#[doc(inline)]
pub use orders::{OrderError, OrderedMany};
#[doc(inline)]
pub use periodic::PeriodicError;
#[doc(inline)]
pub use poke::Poke;
#[cfg(feature = "process")]
#[doc(inline)]
pub use process::{ProcessLimits, ProcessResult, ProcessSpec};
#[doc(inline)]
pub use registry::{
    Applied, Claimed, DEFAULT_MAX_BYTES, Enqueued, Keep, Order, Ordered, Overview, Page, Pause,
    Peek, Periodic, PeriodicRecord, Query, QueueCount, QueueOverview, QueueRecord, Rate, RateOf,
    RateRecord, Registry, Report, StoreFuture, Swept, Turn, TurnRequest, WorkerAbout,
    WorkerProfile, WorkerQueue, WorkerRecord,
};
#[doc(inline)]
pub use report::{LeftBehind, StopReport};
#[doc(inline)]
pub use retry::Backoff;
#[doc(inline)]
pub use runner::{
    Drive, DurableWorker, Ended, InlineRunHandle, Job, JobError, Next, RunFuture, RunHandle,
    Running, StopCause, Task, WorkRunner, WorkerBuilder,
};
#[doc(inline)]
pub use stats::Stats;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[doc(inline)]
pub use store::ClientStatement;
#[doc(inline)]
pub use store::MemoryRegistry;

/// The store in one SQLite file.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    #[doc(inline)]
    pub use crate::store::sqlite::{
        Durability, SqliteOptions, SqliteRegistry, complete_in, complete_statement, enqueue_in,
        enqueue_statement,
    };
}

/// The store in a PostgreSQL database.
#[cfg(feature = "postgres")]
pub mod postgres {
    #[doc(inline)]
    pub use crate::store::postgres::{
        ENQUEUE_SQL, PostgresOptions, PostgresRegistry, SCHEMA_VERSION, Tables, complete_in,
        enqueue_in,
    };
}
