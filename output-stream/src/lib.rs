#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(lastout_docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "tokio"),
    allow(dead_code, reason = "some parts have callers only where there are tasks")
)]

mod collect;
mod config;
#[cfg(any(feature = "process", feature = "tokio"))]
mod consume;
mod contain;
mod core;
mod error;
mod event;
mod lines;
mod log;
mod merge;
#[cfg(all(test, lastout_loom))]
mod model;
mod policy;
mod prepared;
#[cfg(feature = "process")]
mod process;
#[cfg(feature = "tokio")]
mod prompts;
mod pump;
#[cfg(feature = "process")]
mod reactor;
mod sequence;
mod shared;
mod state;
mod stats;
mod stream;
mod subscriber;
mod sync;
mod text;
mod trace;
#[cfg(feature = "process")]
pub mod tree;
mod turn;
#[cfg(feature = "tokio")]
mod wait;

#[cfg(feature = "tokio")]
#[doc(inline)]
pub use collect::Collector;
#[doc(inline)]
pub use collect::{Collected, Keep, Missing, Part, Sink, TextError};
#[doc(inline)]
pub use config::{Config, ConfigBuilder, Retain};
#[cfg(any(feature = "process", feature = "tokio"))]
#[doc(inline)]
pub use consume::ConsumerError;
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use consume::{Consumer, Tee, TeeEnd};
#[doc(inline)]
pub use error::{ConfigError, SubscribeError};
#[doc(inline)]
pub use event::{End, EndReason, Event};
#[doc(inline)]
pub use lines::{
    Ending, Line, LineBytes, LineOptions, LineOptionsBuilder, LineParser, LineRef, Lines, LinesEnd,
    NextLine, OnLong, Separator, TooLong,
};
#[doc(inline)]
pub use merge::{Channel, Merge, Merged, MergedLines, merge};
#[doc(inline)]
pub use policy::{OnStall, Policy, Position};
#[doc(inline)]
pub use prepared::Prepared;
#[cfg(feature = "process")]
#[doc(inline)]
pub use process::{
    CopyFailed, Exit, ExitError, Failed, Food, Inlet, IntoCommand, Limits, Once, Outlet, Output,
    OutputError, Pipeline, PipelineError, PipelineFailed, PipelineOutput, Process, ProcessBuilder,
    Retry, StdinEnd, StdinReport,
};
#[cfg(all(feature = "process", feature = "tokio"))]
#[doc(inline)]
pub use process::{LinesBlocking, ProcessLines, RunningPipeline, Stdin, StdinClosed};
#[cfg(feature = "pty")]
#[doc(inline)]
pub use process::{Pty, Terminal};
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use prompts::{Prompt, Prompts};
#[doc(inline)]
pub use sequence::Sequence;
#[doc(inline)]
pub use stats::{Stats, SubscriberStats};
#[doc(inline)]
pub use stream::Stream;
#[doc(inline)]
pub use subscriber::{Next, NextBatch, Subscriber};
#[doc(inline)]
pub use text::{Text, TextDecoder};
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use wait::{WaitError, WaitErrorReason};
