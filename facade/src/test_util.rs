//! What tests of programs that use lastout need: the helpers of the mechanisms that are on.

/// The leak auditor: processes, descriptors, sockets and files before and after.
#[cfg(feature = "proc-tree")]
#[doc(no_inline)]
pub use lastout_proc_tree::audit;

/// A scripted browser driver, so that code that uses a pool is tested without a browser.
#[cfg(feature = "browser-pool")]
#[doc(no_inline)]
pub use lastout_browser_pool::testing as browsers;

/// What every store of jobs must do, for stores of your own.
#[cfg(feature = "work-runner")]
#[doc(no_inline)]
pub use lastout_work_runner::conformance;

/// A clock that stands still and an order of tasks that repeats, for tests of tasks.
#[cfg(feature = "async-rt")]
#[doc(no_inline)]
pub use lastout_async_rt::testing as tasks;
