//! The stores. Each keeps the same rows; `transitions` moves them, `table` is what it needs for
//! that, and `hub` passes hints on inside a process.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod client;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod counting;
mod hub;
mod memory;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod names;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod table;
mod transitions;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use client::ClientStatement;
pub use memory::MemoryRegistry;
