//! Records of bytes: what they take of a channel's room, and the values by which users hold them.
//!
//! A record is a buffer that moves from the sender to the receiver; its bytes are never copied on the
//! way, and its memory is freed when it is dropped. So a channel holds no more memory than the records
//! that have room in it.

use super::permits::Refused;
use super::queue::Queue;
use crate::coop;
use crate::sync::Arc;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};

/// Records that may have room at once, at most: what bounds the slots.
pub(super) const RECORDS: usize = 1024;

/// A queue whose values are buffers and whose room is bytes.
pub(super) type Records = Queue<Vec<u8>>;

/// What a record of `len` bytes takes of the room: its bytes, and at least so many that no more than
/// [`RECORDS`] have room.
fn charge(records: &Records, len: usize) -> usize {
    len.max(records.capacity().div_ceil(RECORDS))
}

fn check(records: &Records, len: usize) -> Result<usize, ClaimError> {
    let capacity = records.capacity();
    if len > capacity {
        return Err(ClaimError::TooLarge { len, capacity });
    }
    Ok(charge(records, len))
}

/// Waits for the room of a record.
pub(super) async fn take(records: &Records, len: usize) -> Result<(), ClaimError> {
    let mut room = records.take(check(records, len)?);
    Ok(poll_fn(|cx| room.poll(cx)).await?)
}

/// Takes the room of a record, if it is there and no other sender waits for it.
pub(super) fn try_take(records: &Records, len: usize) -> Result<(), ClaimError> {
    records.room().try_take(check(records, len)?)?;
    coop::made_progress();
    Ok(())
}

/// Sends a copy of a record that has its room, which comes back when there is no memory.
pub(super) fn post_copy(records: &Records, record: &[u8]) -> Result<(), ClaimError> {
    let mut buffer = Vec::new();
    if buffer.try_reserve_exact(record.len()).is_err() {
        return Err(no_memory(records, record.len()));
    }
    buffer.extend_from_slice(record);
    post(records, buffer)
}

fn post(records: &Records, buffer: Vec<u8>) -> Result<(), ClaimError> {
    records.post(buffer).map_err(|_| ClaimError::Closed)
}

#[cold]
fn no_memory(records: &Records, len: usize) -> ClaimError {
    records.room().give(charge(records, len));
    ClaimError::NoMemory { len }
}

/// Above this a buffer of zeros is asked for before it is made: where there is no memory, `vec!` ends
/// the process, and where there is, it takes pages that are zeros already.
const LARGE: usize = 1 << 20;

fn zeros(len: usize) -> Option<Vec<u8>> {
    if len > LARGE {
        Vec::<u8>::new().try_reserve_exact(len).ok()?;
    }
    Some(vec![0; len])
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
    /// The channel has room, and the machine has no memory for the record.
    NoMemory {
        /// Bytes asked for.
        len: usize,
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
            Self::NoMemory { len } => write!(f, "there is no memory for a record of {len} bytes"),
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
///
/// It sends by itself: the channel does not end before its claims, even if its senders do.
#[must_use = "a claim that is dropped sends nothing"]
pub struct Claim {
    records: Arc<Records>,
    /// `None` once the record is sent.
    buffer: Option<Vec<u8>>,
}

impl Claim {
    /// The claim of a record that has its room, which comes back when there is no memory.
    pub(super) fn new(records: &Arc<Records>, len: usize) -> Result<Self, ClaimError> {
        let buffer = zeros(len).ok_or_else(|| no_memory(records, len))?;
        records.add_sender();
        Ok(Self { records: Arc::clone(records), buffer: Some(buffer) })
    }

    /// Sends the record.
    ///
    /// # Errors
    /// [`ClaimError::Closed`] when the receiver is gone.
    pub fn commit(mut self) -> Result<(), ClaimError> {
        self.buffer.take().map_or(Err(ClaimError::Closed), |buffer| post(&self.records, buffer))
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
            self.records.room().give(charge(&self.records, buffer.len()));
        }
        self.records.remove_sender();
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("len", &self.len()).finish()
    }
}

/// A received record. Its bytes count for the channel until it is dropped.
pub struct Record {
    records: Arc<Records>,
    buffer: Vec<u8>,
}

impl Record {
    pub(super) fn new(records: &Arc<Records>, buffer: Vec<u8>) -> Self {
        Self { records: Arc::clone(records), buffer }
    }
}

impl Deref for Record {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let len = self.buffer.len();
        // Freed before its room is: what has room bounds the memory.
        drop(std::mem::take(&mut self.buffer));
        self.records.room().give(charge(&self.records, len));
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("len", &self.len()).finish()
    }
}
