//! Real browsers: finding, starting, driving and ending them.
//!
//! | file | owns |
//! |---|---|
//! | `config` | what a browser is started with, and the driver value |
//! | `find` | the search for an executable |
//! | `args` | the command line |
//! | `home` | the private directories, their owners, the sweep |
//! | `process` | one process tree with its directory, to its end |
//! | `bridge` | the protocol between the pipe and chromiumoxide |
//! | `launch` | one launch, from the directory to the first answer |
//! | `live` | what the pool asks of a running browser |
//! | `adopt` | browsers that chromiumoxide launched |
//! | `popups` | pages that pages opened |
//! | `navigate` | navigation with limits of its own |
//! | `explain` | what errors of the client mean |
//! | `capture` | pictures and PDFs |
//! | `downloads` | downloads that a caller can wait for |
//! | `storage` | cookies and local storage, saved and restored |

mod adopt;
mod args;
mod bridge;
mod capture;
mod config;
mod downloads;
mod explain;
mod find;
mod home;
mod launch;
mod live;
mod memory;
mod navigate;
mod popups;
mod process;
mod remove;
mod storage;

#[cfg(fuzzing)]
pub use bridge::bridge_traffic;

#[doc(inline)]
pub use adopt::AdoptError;
#[doc(inline)]
pub use capture::{Pdf, Screenshot};
#[doc(inline)]
pub use config::{Chrome, ChromeBuilder, Sandbox, Transport};
#[doc(inline)]
pub use downloads::{Download, Downloads};
#[doc(inline)]
pub use find::{Engine, Executable};
#[doc(inline)]
pub use home::{OwnedBrowser, Owner, SweepReport};
#[doc(inline)]
pub use live::{ChromeBrowser, ChromeContext};
#[doc(inline)]
pub use navigate::{Navigation, Until};
#[doc(inline)]
pub use storage::StorageState;
