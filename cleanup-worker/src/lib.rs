#![doc = include_str!("../README.md")]
#![cfg_attr(lastout_docsrs, feature(doc_cfg))]

mod armed;
mod clock;
mod config;
mod contain;
mod context;
mod driver;
mod error;
mod event;
mod fork;
mod gate;
mod handle;
mod inbox;
mod node;
mod pool;
mod ready;
mod report;
mod shared;
mod shutdown;
mod state;
mod stats;
mod sweep;
mod sync;
mod task;
mod tasks;
mod waiting;
mod worker;

#[cfg(all(test, lastout_loom))]
mod model;

#[doc(inline)]
pub use {
    armed::Armed,
    clock::ManualClock,
    config::{Builder, Options},
    context::{Blocking, CleanupContext},
    error::{BlockingError, BuildError, FlushError, RejectReason, Rejected},
    event::Event,
    handle::CleanupHandle,
    report::{LeftBehind, LeftReason, Report},
    stats::Stats,
    task::{Cleanup, Finish, Outcome},
    tasks::{RemoveDirAll, RemoveFile},
    waiting::{Flush, FlushGuard},
    worker::{
        CleanupWorker, flush, flush_blocking, flush_guard, handle, init_worker, is_running, submit,
    },
};

#[cfg(unix)]
#[doc(inline)]
pub use tasks::CloseFd;
