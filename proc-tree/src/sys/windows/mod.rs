//! Windows: a job object holds the tree, and processes are held by handles.
//!
//! The public types that Linux has at the top of the crate stand here, because a job does what the engine does there.
//! The data goes one way: [`tree`] asks [`inner`], which strikes and waits through [`job`] and [`held`].

mod adopt;
mod ask;
mod child;
mod containment;
mod held;
mod inner;
mod job;
mod later;
#[cfg(feature = "tokio")]
mod on_tokio;
pub(crate) mod signal;
mod spawn;
mod table;
mod tree;
mod uptime;

pub use child::Child;
pub use containment::Containment;
#[cfg(feature = "tokio")]
pub use on_tokio::TokioChild;
pub use spawn::Spawn;
pub use tree::Tree;
pub use uptime::uptime;
