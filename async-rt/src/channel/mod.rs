//! Channels: on one thread ([`local`]), and between threads.
//!
//! | between threads | carries | when it is full |
//! |---|---|---|
//! | [`mpsc`], [`spsc`] | values | the sender waits |
//! | [`mpsc_bytes`], [`spsc_bytes`] | records of bytes, bounded by their bytes together | the sender waits |
//! | [`unbounded`] | values | it is never full |
//! | [`oneshot`] | one value | |
//! | [`broadcast`] | each value to every receiver | the oldest value is lost, and counted |
//! | [`watch`] | the latest value | the older value is replaced |
//!
//! The channels in which a sender waits are fair: senders get room in the order in which they asked,
//! and a send that is cancelled passes its turn on. No waker, value or closure is called or dropped
//! under a lock. All of them work under any executor, and those between threads also on plain threads,
//! through the methods with the suffix `_blocking`; the ends of a [`local`] channel stay on their thread.

mod bounded;
pub mod broadcast;
mod bytes;
mod error;
pub mod local;
pub mod mpsc;
pub mod oneshot;
pub(crate) mod permits;
mod queue;
mod records;
mod room;
mod sleepers;
mod slots;
pub mod spsc;
pub(crate) mod store;
pub mod unbounded;
mod waiting;
pub mod watch;

#[doc(inline)]
pub use bytes::{mpsc_bytes, spsc_bytes};
#[doc(inline)]
pub use error::{
    CapacityError, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};
