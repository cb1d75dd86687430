#![doc = include_str!("../README.md")]
#![cfg_attr(lastout_docsrs, feature(doc_cfg))]

mod async_fd;
mod backoff;
mod blocking;
mod builder;
mod cancel;
pub mod channel;
mod config;
mod contain;
mod coop;
mod end;
mod error;
mod handle;
mod inbox;
#[cfg(feature = "insight")]
pub mod insight;
mod join;
mod join_set;
pub mod lock;
#[cfg(all(test, lastout_loom))]
mod model;
#[cfg(feature = "net")]
pub mod net;
mod notify;
mod owner;
mod random;
mod reactor;
mod remote;
mod report;
mod runtime;
mod scope;
mod shutdown;
mod stats;
mod sync;
mod sys;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
#[cfg(feature = "tokio-compat")]
pub mod tokio_compat;
mod trace;
mod world;

#[doc(inline)]
pub use async_fd::{AsyncFd, WatchError};
#[doc(inline)]
pub use backoff::{Backoff, Exhausted};
#[doc(inline)]
pub use blocking::{
    BlockingRefused, BlockingRefusedKind, BlockingStats, BlockingTask, RunningClosure,
    spawn_blocking,
};
#[doc(inline)]
pub use builder::Builder;
#[doc(inline)]
pub use cancel::{CancellationToken, Cancelled, DropGuard};
#[doc(inline)]
pub use config::{Idle, PanicPolicy};
#[doc(inline)]
pub use end::QuiesceTimeout;
#[doc(inline)]
pub use error::{BuildError, JoinError, SlabError, SlabErrorKind};
#[doc(inline)]
pub use handle::{
    Handle, SlabClaim, claim_slab, spawn_boxed, spawn_slab, try_claim_slab, try_spawn_slab,
};
#[doc(inline)]
pub use join::{AbortHandle, JoinHandle, TaskId};
#[doc(inline)]
pub use join_set::JoinSet;
#[doc(inline)]
pub use notify::{Notify, Permit, Semaphore, SemaphoreClosed, TooManyPermits};
#[doc(inline)]
pub use remote::{RemoteError, RemoteHandle};
#[doc(inline)]
pub use report::{LeftBehind, Report};
#[doc(inline)]
pub use runtime::Runtime;
#[doc(inline)]
pub use scope::{Scope, ScopedJoinHandle};
#[doc(inline)]
pub use shutdown::{ShutdownHandle, ShutdownSignal};
#[doc(inline)]
pub use stats::{RuntimeStats, ShutdownStats, ShutdownStatsAtomics};
#[doc(inline)]
pub use world::{World, WorldBusy, WorldCtx};
