#![doc = include_str!("../README.md")]
#![cfg_attr(lastout_docsrs, feature(doc_cfg))]

mod alarm;
mod armed;
mod blocking;
mod clock;
mod config;
mod contain;
mod context;
mod driver;
mod error;
mod event;
mod flush;
mod fork;
mod gate;
mod global;
mod handle;
mod inbox;
mod launch;
mod ledger;
mod node;
mod pool;
mod ready;
mod report;
mod shared;
mod shutdown;
mod side;
mod slots;
mod state;
mod stats;
mod sync;
mod task;
mod tasks;
mod timers;
mod wait;
mod worker;

#[cfg(all(test, lastout_loom))]
mod model;

#[doc(inline)]
pub use {
    armed::Armed,
    blocking::Blocking,
    clock::ManualClock,
    config::Builder,
    context::CleanupContext,
    error::{BlockingError, BuildError, FlushError, RejectReason, Rejected},
    event::Event,
    flush::{Flush, FlushGuard},
    global::{flush, flush_blocking, flush_guard, handle, init_worker, is_running, submit},
    handle::CleanupHandle,
    report::{LeftBehind, LeftReason, ShutdownReport},
    stats::Stats,
    task::{Cleanup, Finish, Options, Outcome},
    tasks::RemoveDirAll,
    tasks::RemoveFile,
    worker::CleanupWorker,
};

#[cfg(unix)]
#[doc(inline)]
pub use tasks::CloseFd;
