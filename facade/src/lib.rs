#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(lastout_docsrs, feature(doc_cfg))]

#[cfg(feature = "async-rt")]
#[doc(inline)]
pub use lastout_async_rt as async_rt;
#[cfg(feature = "browser-pool")]
#[doc(inline)]
pub use lastout_browser_pool as browser_pool;
#[cfg(feature = "cleanup-worker")]
#[doc(inline)]
pub use lastout_cleanup_worker as cleanup_worker;
#[cfg(feature = "output-stream")]
#[doc(inline)]
pub use lastout_output_stream as output_stream;
#[cfg(feature = "proc-tree")]
#[doc(inline)]
pub use lastout_proc_tree as proc_tree;
#[cfg(feature = "work-runner")]
#[doc(inline)]
pub use lastout_work_runner as work_runner;

#[cfg(feature = "console")]
pub mod console;
#[cfg(feature = "full")]
pub mod guide;
pub mod supervisor;
#[cfg(feature = "test-util")]
pub mod test_util;

#[doc(inline)]
pub use supervisor::drain::Drain;
#[doc(inline)]
pub use supervisor::owner::Supervisor;
#[doc(inline)]
pub use supervisor::report::Report;
#[doc(inline)]
pub use supervisor::restart::Restart;

/// The program in the README of the workspace, so that it is compiled.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../../README.md")]
mod workspace_readme {}
