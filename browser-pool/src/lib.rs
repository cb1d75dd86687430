#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(lastout_docsrs, feature(doc_cfg))]

#[cfg(all(feature = "chrome", not(target_os = "linux")))]
compile_error!("lastout-browser-pool: the feature `chrome` needs Linux");

mod cell;
#[cfg(feature = "chrome")]
#[cfg_attr(lastout_docsrs, doc(cfg(feature = "chrome")))]
mod chrome;
mod config;
mod contain;
mod driver;
mod error;
mod free_memory;
mod hooks;
mod jobs;
mod lease;
mod pool;
mod proxy;
mod report;
mod request;
mod shell;
mod state;
mod stats;
mod supervisor;
mod tasks;
mod ticker;
mod trace;

#[cfg(feature = "test-util")]
#[cfg_attr(lastout_docsrs, doc(cfg(feature = "test-util")))]
pub mod testing;

#[cfg(all(fuzzing, feature = "chrome"))]
#[doc(hidden)]
pub use chrome::bridge_traffic;
#[cfg(feature = "chrome")]
#[doc(inline)]
pub use chrome::{
    AdoptError, Chrome, ChromeBrowser, ChromeBuilder, ChromeContext, Download, Downloads, Engine,
    Executable, Navigation, OwnedBrowser, Owner, Pdf, Sandbox, Screenshot, StorageState,
    SweepReport, Transport, Until,
};

/// The client whose types the leases of real browsers deref to, in the version that this crate uses.
#[cfg(feature = "chrome")]
pub use chromiumoxide;
#[doc(inline)]
pub use config::{ConfigError, PoolConfig, PoolConfigBuilder};
#[doc(inline)]
pub use driver::{Allowed, Driver, Ending, Launch, Launched, LiveBrowser, News};
#[doc(inline)]
pub use error::{AcquireError, LaunchError, Loss, OpError, Waiting, WithPageError};
#[doc(inline)]
pub use hooks::{Hooks, LeaseInfo};
#[doc(inline)]
pub use lease::{BrowserLease, ContextLease, ContextPage, PageLease};
#[doc(inline)]
pub use pool::{Pool, StartError};
#[doc(inline)]
pub use report::{BrowserReport, EndReason, LeftBehind, PoolReport};
#[doc(inline)]
pub use request::{ContextOptions, Isolation, LaunchProfile, LeaseOptions, UnitSpec};
#[doc(inline)]
pub use stats::{BrowserInfo, BrowserPhase, Stats, Waits};

/// A pool of real browsers.
#[cfg(feature = "chrome")]
#[cfg_attr(lastout_docsrs, doc(cfg(feature = "chrome")))]
pub type BrowserPool = Pool<Chrome>;
