//! Records of bytes: their room, their buffers, and the values by which users hold them.
//!
//! A record is a buffer that moves from the sender to the receiver and back; its bytes are never
//! copied on the way. Buffers that came back are used again for records of about their size. Those
//! kept for that are together never larger than the channel, and one that another thread is looking
//! for at the moment is freed instead: neither side ever waits for the other's buffers.

use super::error::CapacityError;
use super::permits::Refused;
use super::queue::Queue;
use super::room::{self, Room};
use crate::sync::{Arc, Mutex};
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut, RangeInclusive};

/// Records that may wait to be received: as many as the channel has bytes, within these bounds.
const RECORDS: RangeInclusive<usize> = 16..=1024;

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
pub(super) struct Bytes {
    pub(super) records: Arc<Queue<Vec<u8>>>,
    pub(super) room: Room,
    pool: Mutex<Pool>,
    pub(super) capacity: usize,
}

impl Bytes {
    pub(super) fn new(capacity: usize) -> Result<Arc<Self>, CapacityError> {
        if capacity == 0 || capacity > room::MOST {
            return Err(CapacityError { capacity });
        }
        let records = Arc::new(Queue::new(capacity.clamp(*RECORDS.start(), *RECORDS.end()))?);
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
    pub(super) async fn take(&self, len: usize) -> Result<(), ClaimError> {
        self.check(len)?;
        let mut bytes = self.room.take(len);
        poll_fn(|cx| bytes.poll(cx)).await?;
        let held = Held { channel: self, len };
        let mut place = self.records.room().take(1);
        poll_fn(|cx| place.poll(cx)).await?;
        held.keep();
        Ok(())
    }

    pub(super) fn try_take(&self, len: usize) -> Result<(), ClaimError> {
        self.check(len)?;
        self.room.try_take(len)?;
        let held = Held { channel: self, len };
        self.records.room().try_take(1)?;
        held.keep();
        Ok(())
    }

    /// Sends a record whose bytes and place the caller has taken.
    pub(super) fn post(&self, buffer: Vec<u8>) -> Result<(), ClaimError> {
        self.records.post(buffer).map_err(|_| ClaimError::Closed)
    }

    pub(super) fn copied(&self, record: &[u8]) -> Vec<u8> {
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

    pub(super) fn close(&self) {
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
    pub(super) fn new(channel: &Arc<Bytes>, len: usize) -> Self {
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
    pub(super) channel: Arc<Bytes>,
    pub(super) buffer: Vec<u8>,
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
