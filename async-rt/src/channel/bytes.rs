//! Byte channels: records of any length, bounded by their bytes together, written in place.
//!
//! A record is a buffer that moves from the sender to the receiver and back; its bytes are never
//! copied on the way. Buffers that came back are used again for records of about their size. Those
//! kept for that are together never larger than the channel, and one that another thread is looking
//! for at the moment is freed instead: neither side ever waits for the other's buffers.

use super::blocking;
use super::error::{CapacityError, RecvTimeoutError, TryRecvError};
use super::mpsc::{Shared as Records, Tail};
use super::permits::Refused;
use super::room::{self, Room};
use crate::sync::{Arc, Mutex};
use futures_core::Stream;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Records that wait to be received, at most, however small they are.
const RECORDS: usize = 1024;

/// Buffers kept for the next records, at most.
const POOLED: usize = 64;

/// A buffer of up to this many bytes is used for any record.
const SMALL: usize = 64;

/// Empty buffers.
#[derive(Default)]
struct Pool {
    buffers: Vec<Vec<u8>>,
    /// Their sizes together.
    bytes: usize,
}

/// What the ends of a byte channel, its claims and its records share.
struct Bytes {
    records: Arc<Records<Vec<u8>>>,
    room: Room,
    pool: Mutex<Pool>,
    capacity: usize,
}

impl Bytes {
    fn new(capacity: usize) -> Result<Arc<Self>, CapacityError> {
        if capacity == 0 || capacity > room::MOST {
            return Err(CapacityError { capacity });
        }
        let records = Arc::new(Records::new(capacity.min(RECORDS))?);
        let (room, pool) = (Room::new(capacity), Mutex::default());
        Ok(Arc::new(Self { records, room, pool, capacity }))
    }

    /// An empty buffer for a record of `len` bytes.
    fn buffer(&self, len: usize) -> Vec<u8> {
        let kept = match self.pool.try_lock() {
            Ok(mut pool) => pool.buffers.pop().inspect(|buffer| pool.bytes -= buffer.capacity()),
            Err(_) => None,
        };
        // A large buffer for a small record would hold more memory than the record has room.
        let fits = |size: usize| size >= len && (size <= SMALL || size / 2 <= len);
        match kept {
            Some(buffer) if fits(buffer.capacity()) => buffer,
            _ => Vec::with_capacity(len),
        }
    }

    fn keep(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let Ok(mut pool) = self.pool.try_lock() else { return };
        let bytes = pool.bytes + buffer.capacity();
        if pool.buffers.len() < POOLED && bytes <= self.capacity {
            pool.bytes = bytes;
            pool.buffers.push(buffer);
        }
    }

    fn check(&self, len: usize) -> Result<(), ClaimError> {
        let capacity = self.capacity;
        if len > capacity { Err(ClaimError::TooLarge { len, capacity }) } else { Ok(()) }
    }

    /// Waits for the bytes first, and for a place among the records then.
    async fn take(&self, len: usize) -> Result<(), ClaimError> {
        self.check(len)?;
        let mut bytes = self.room.take(len);
        poll_fn(|cx| bytes.poll(cx)).await?;
        let held = Held { channel: self, len };
        let mut place = self.records.room().take(1);
        poll_fn(|cx| place.poll(cx)).await?;
        held.keep();
        Ok(())
    }

    fn try_take(&self, len: usize) -> Result<(), ClaimError> {
        self.check(len)?;
        self.room.try_take(len)?;
        let held = Held { channel: self, len };
        self.records.room().try_take(1)?;
        held.keep();
        Ok(())
    }

    /// Sends a record whose bytes and place the caller has taken.
    fn post(&self, buffer: Vec<u8>) -> Result<(), ClaimError> {
        self.records.post(buffer).map_err(|_| ClaimError::Closed)
    }

    fn copied(&self, record: &[u8]) -> Vec<u8> {
        let mut buffer = self.buffer(record.len());
        buffer.extend_from_slice(record);
        buffer
    }

    fn zeroed(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.buffer(len);
        buffer.resize(len, 0);
        buffer
    }

    /// A record, or the claim to one, ends: its bytes and its buffer are free.
    fn give_back(&self, buffer: Vec<u8>) {
        let len = buffer.len();
        self.keep(buffer);
        self.room.give(len);
    }

    fn close(&self) {
        self.room.close();
        self.records.room().close();
    }
}

/// Bytes that were taken while the place is still waited for.
struct Held<'a> {
    channel: &'a Bytes,
    len: usize,
}

impl Held<'_> {
    /// The bytes stay taken.
    fn keep(mut self) {
        self.len = 0;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.len > 0 {
            self.channel.room.give(self.len);
        }
    }
}

/// Why there is no room for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimError {
    /// The receiver is gone.
    Closed,
    /// No room now, or others wait for it.
    Full,
    /// The record is larger than the channel.
    TooLarge {
        /// Bytes asked for.
        len: usize,
        /// Bytes of the channel.
        capacity: usize,
    },
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the receiver of the channel is gone"),
            Self::Full => f.write_str("the byte channel is full"),
            Self::TooLarge { len, capacity } => {
                write!(f, "a record of {len} bytes is larger than the channel of {capacity}")
            }
        }
    }
}

impl Error for ClaimError {}

impl From<Refused> for ClaimError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Closed => Self::Closed,
            Refused::Full => Self::Full,
        }
    }
}

/// Room for a record, zeroed: write to it, then [`commit`](Self::commit). Dropped, it is given back.
#[must_use = "a claim that is dropped sends nothing"]
pub struct Claim {
    channel: Arc<Bytes>,
    /// `None` once the record is sent.
    buffer: Option<Vec<u8>>,
}

impl Claim {
    fn new(channel: &Arc<Bytes>, len: usize) -> Self {
        Self { channel: Arc::clone(channel), buffer: Some(channel.zeroed(len)) }
    }

    /// Sends the record.
    ///
    /// # Errors
    /// [`ClaimError::Closed`] when the receiver is gone.
    pub fn commit(mut self) -> Result<(), ClaimError> {
        self.buffer.take().map_or(Err(ClaimError::Closed), |buffer| self.channel.post(buffer))
    }
}

impl Deref for Claim {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Claim {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.buffer.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.channel.give_back(buffer);
            self.channel.records.give_room();
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("len", &self.len()).finish()
    }
}

/// A received record. Its bytes count for the channel until it is dropped.
pub struct Record {
    channel: Arc<Bytes>,
    buffer: Vec<u8>,
}

impl Deref for Record {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.channel.give_back(std::mem::take(&mut self.buffer));
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("len", &self.len()).finish()
    }
}

/// The public types of a byte channel.
macro_rules! byte_channel {
    ($(#[$doc:meta])* $module:ident, cloned: $($clone:ident)?) => {
        $(#[$doc])*
        pub mod $module {
            use super::*;
            pub use super::{Claim, ClaimError, Record};

            /// A channel with room for `capacity` bytes, and for 1024 records at most.
            ///
            /// # Panics
            /// Where [`try_channel`] returns an error.
            #[track_caller]
            pub fn channel(capacity: usize) -> (Sender, Receiver) {
                try_channel(capacity).unwrap_or_else(|error| panic!("{error}"))
            }

            /// A channel with room for `capacity` bytes, and for 1024 records at most.
            ///
            /// # Errors
            /// When `capacity` is zero, or more than can be counted.
            pub fn try_channel(capacity: usize) -> Result<(Sender, Receiver), CapacityError> {
                let channel = Bytes::new(capacity)?;
                let tail = Tail::new(Arc::clone(&channel.records));
                Ok((Sender { channel: Arc::clone(&channel) }, Receiver { channel, tail }))
            }

            /// The sending end.
            pub struct Sender {
                channel: Arc<Bytes>,
            }

            impl Sender {
                /// Waits for room for a record of `len` bytes, which may be zero.
                ///
                /// # Errors
                /// When the receiver is gone, or the record larger than the channel.
                ///
                /// # Cancel safety
                /// Cancel safe: the turn of a cancelled claim goes to the next sender.
                pub async fn claim(&self, len: usize) -> Result<Claim, ClaimError> {
                    self.channel.take(len).await?;
                    Ok(Claim::new(&self.channel, len))
                }

                /// Room for a record of `len` bytes, if it is there and no other sender waits for it.
                ///
                /// # Errors
                /// When there is no room, no receiver, or the record is larger than the channel.
                pub fn try_claim(&self, len: usize) -> Result<Claim, ClaimError> {
                    self.channel.try_take(len)?;
                    Ok(Claim::new(&self.channel, len))
                }

                /// Sends a copy of `record`, waiting for room.
                ///
                /// # Errors
                /// As [`claim`](Self::claim).
                ///
                /// # Cancel safety
                /// A send that is cancelled has sent nothing.
                pub async fn send(&self, record: &[u8]) -> Result<(), ClaimError> {
                    self.channel.take(record.len()).await?;
                    self.channel.post(self.channel.copied(record))
                }

                /// Sends a copy of `record`, if there is room and no other sender waits for it.
                ///
                /// # Errors
                /// As [`try_claim`](Self::try_claim).
                pub fn try_send(&self, record: &[u8]) -> Result<(), ClaimError> {
                    self.channel.try_take(record.len())?;
                    self.channel.post(self.channel.copied(record))
                }

                /// Sends a copy of `record` from a plain thread, which sleeps until there is room,
                /// for `timeout` at most if there is one.
                ///
                /// # Errors
                /// As [`claim`](Self::claim), and [`ClaimError::Full`] when the time passed.
                ///
                /// # Panics
                /// On the thread of a runtime.
                pub fn send_blocking(
                    &self,
                    record: &[u8],
                    timeout: Option<Duration>,
                ) -> Result<(), ClaimError> {
                    blocking::output(timeout, self.send(record)).unwrap_or(Err(ClaimError::Full))
                }

                /// Whether the receiver is gone or closed.
                pub fn is_closed(&self) -> bool {
                    self.channel.room.is_closed()
                }
            }

            $(impl $clone for Sender {
                fn clone(&self) -> Self {
                    self.channel.records.add_sender();
                    Self { channel: Arc::clone(&self.channel) }
                }
            })?

            impl Drop for Sender {
                fn drop(&mut self) {
                    self.channel.records.remove_sender();
                }
            }

            impl fmt::Debug for Sender {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct("Sender").field("capacity", &self.channel.capacity).finish()
                }
            }

            /// The receiving end, and a [`Stream`] of the records.
            pub struct Receiver {
                channel: Arc<Bytes>,
                tail: Tail<Vec<u8>>,
            }

            impl Receiver {
                fn record(&self, buffer: Vec<u8>) -> Record {
                    Record { channel: Arc::clone(&self.channel), buffer }
                }

                /// The next record; `None` when every sender is gone, or after
                /// [`close`](Self::close), and nothing is left.
                ///
                /// # Cancel safety
                /// Cancel safe: no record is lost.
                pub async fn recv(&mut self) -> Option<Record> {
                    poll_fn(|cx| self.poll_recv(cx)).await
                }

                /// As [`recv`](Self::recv), for hand-written futures.
                pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Record>> {
                    self.tail.poll_pop(cx).map(|popped| popped.map(|buffer| self.record(buffer)))
                }

                /// The next record, if it is there.
                ///
                /// # Errors
                /// When there is none now, or none will come.
                pub fn try_recv(&mut self) -> Result<Record, TryRecvError> {
                    self.tail.try_pop().map(|buffer| self.record(buffer))
                }

                /// The next record, for a plain thread, which sleeps until there is one, for `timeout`
                /// at most if there is one.
                ///
                /// # Errors
                /// When the time passed, or no record will come.
                ///
                /// # Panics
                /// On the thread of a runtime.
                pub fn recv_blocking(
                    &mut self,
                    timeout: Option<Duration>,
                ) -> Result<Record, RecvTimeoutError> {
                    match blocking::wait(timeout, |cx| self.poll_recv(cx)) {
                        Some(record) => record.ok_or(RecvTimeoutError::Closed),
                        None => Err(RecvTimeoutError::TimedOut),
                    }
                }

                /// Takes no more records; those sent before, and claims that are out, can still be
                /// received.
                pub fn close(&mut self) {
                    self.channel.close();
                }
            }

            impl Stream for Receiver {
                type Item = Record;

                fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Record>> {
                    self.get_mut().poll_recv(cx)
                }
            }

            impl Drop for Receiver {
                fn drop(&mut self) {
                    self.channel.close();
                }
            }

            impl fmt::Debug for Receiver {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct("Receiver").field("capacity", &self.channel.capacity).finish()
                }
            }
        }
    };
}

byte_channel! {
    /// Records of bytes from many senders to one receiver, on any threads.
    mpsc_bytes, cloned: Clone
}

byte_channel! {
    /// Records of bytes from one sender to one receiver, on any threads. The sender is not `Clone`,
    /// which is the only difference from `mpsc_bytes`.
    spsc_bytes, cloned:
}
