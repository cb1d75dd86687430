//! Byte channels: records of any length, bounded by their bytes together, written in place.
//!
//! A record is a buffer that moves from the sender to the receiver and back; its bytes are never
//! copied, and in a steady state nothing is allocated.

use super::bounded::{Bounded, Tail};
use super::permits::{Refused, Woken};
use super::store::{Acquire, HasPermits, Store};
use crate::sync::{Arc, Mutex};
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll, Waker};

/// Buffers kept for the next records.
const POOLED: usize = 64;

type State = Bounded<Vec<u8>, Waker>;
type Shared = Arc<Mutex<State>>;

/// What the ends of a byte channel share: the records, and empty buffers to write the next ones to.
#[derive(Clone)]
struct Bytes {
    records: Shared,
    pool: Arc<Mutex<Vec<Vec<u8>>>>,
    capacity: usize,
}

impl Bytes {
    fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a byte channel needs room for one byte");
        let (records, pool) = (Store::new(State::new(capacity)), Store::new(Vec::new()));
        Self { records, pool, capacity }
    }

    fn buffer(&self, len: usize) -> Vec<u8> {
        let mut buffer = Store::with(&self.pool, Vec::pop).unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    /// A record, or the claim to one, ends: its room and its buffer are free.
    fn give_back(&self, mut buffer: Vec<u8>) {
        let (len, mut woken) = (buffer.len(), Woken::default());
        buffer.clear();
        let surplus = self.pool.with(|pool| {
            let full = pool.len() >= POOLED;
            if full {
                Some(buffer)
            } else {
                pool.push(buffer);
                None
            }
        });
        drop(surplus);
        self.records.with(|state| state.permits().release(len, &mut woken));
        woken.wake();
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
            Self::Closed => f.write_str("claim room of a receiver that is gone"),
            Self::Full => f.write_str("claim room in a full byte channel"),
            Self::TooLarge { len, capacity } => {
                write!(f, "claim {len} bytes of a byte channel of {capacity}")
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
    channel: Bytes,
    buffer: Option<Vec<u8>>,
}

impl Claim {
    /// Sends the record.
    ///
    /// # Errors
    /// [`ClaimError::Closed`] when the receiver is gone.
    #[expect(clippy::missing_panics_doc, reason = "what it expects is an invariant of the type")]
    pub fn commit(mut self) -> Result<(), ClaimError> {
        let buffer = self.buffer.take().expect("a claim is committed once");
        match self.channel.records.with(|state| state.push(buffer)) {
            Ok(woken) => {
                woken.into_iter().for_each(Waker::wake);
                Ok(())
            }
            Err(_buffer) => Err(ClaimError::Closed),
        }
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
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("len", &self.len()).finish()
    }
}

/// A received record. Its room is free again when it is dropped.
pub struct Record {
    channel: Bytes,
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

/// The sending end, whichever module it is of.
struct Head(Bytes);

impl Head {
    async fn claim(&self, len: usize) -> Result<Claim, ClaimError> {
        self.check(len)?;
        let mut room = Acquire::<State, Waker, Shared>::new(self.0.records.clone(), len);
        poll_fn(|cx| room.poll(cx)).await?;
        Ok(self.claimed(len))
    }

    fn try_claim(&self, len: usize) -> Result<Claim, ClaimError> {
        self.check(len)?;
        self.0.records.with(|state| HasPermits::<Waker>::permits(state).try_take(len))?;
        Ok(self.claimed(len))
    }

    fn check(&self, len: usize) -> Result<(), ClaimError> {
        assert!(len > 0, "a record has at least one byte");
        let capacity = self.0.capacity;
        if len > capacity { Err(ClaimError::TooLarge { len, capacity }) } else { Ok(()) }
    }

    fn claimed(&self, len: usize) -> Claim {
        Claim { channel: self.0.clone(), buffer: Some(self.0.buffer(len)) }
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let woken = self.0.records.with(State::remove_sender);
        woken.into_iter().for_each(Waker::wake);
    }
}

/// The public types of a byte channel.
macro_rules! byte_channel {
    ($(#[$doc:meta])* $module:ident, cloned: $($clone:ident)?) => {
        $(#[$doc])*
        pub mod $module {
            use super::*;
            pub use super::{Claim, ClaimError, Record};

            /// A channel with room for `capacity` bytes.
            ///
            /// # Panics
            /// When `capacity` is zero.
            pub fn channel(capacity: usize) -> (Sender, Receiver) {
                let bytes = Bytes::new(capacity);
                (Sender(Head(bytes.clone())), Receiver(bytes))
            }

            /// The sending end.
            pub struct Sender(Head);

            impl Sender {
                /// Waits for room for a record of `len` bytes.
                ///
                /// # Errors
                /// When the receiver is gone, or the record larger than the channel.
                ///
                /// # Panics
                /// When `len` is zero.
                ///
                /// # Cancel safety
                /// Cancel safe: the turn of a cancelled claim goes to the next sender.
                pub async fn claim(&self, len: usize) -> Result<Claim, ClaimError> {
                    self.0.claim(len).await
                }

                /// Room for a record of `len` bytes, if it is there and nobody waits for it.
                ///
                /// # Errors
                /// When there is no room, no receiver, or the record is larger than the channel.
                ///
                /// # Panics
                /// When `len` is zero.
                pub fn try_claim(&self, len: usize) -> Result<Claim, ClaimError> {
                    self.0.try_claim(len)
                }

                /// Sends a copy of `record`, waiting for room.
                ///
                /// # Errors
                /// As [`claim`](Self::claim).
                ///
                /// # Panics
                /// When `record` is empty.
                ///
                /// # Cancel safety
                /// A send that is cancelled has sent nothing.
                pub async fn send(&self, record: &[u8]) -> Result<(), ClaimError> {
                    let mut claim = self.claim(record.len()).await?;
                    claim.copy_from_slice(record);
                    claim.commit()
                }
            }

            $(impl $clone for Sender {
                fn clone(&self) -> Self {
                    self.0.0.records.with(State::add_sender);
                    Self(Head(self.0.0.clone()))
                }
            })?

            impl fmt::Debug for Sender {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct("Sender").field("capacity", &self.0.0.capacity).finish()
                }
            }

            /// The receiving end.
            pub struct Receiver(Bytes);

            impl Receiver {
                /// The next record; `None` when every sender is gone and nothing is left.
                ///
                /// # Cancel safety
                /// Cancel safe: no record is lost.
                pub async fn recv(&mut self) -> Option<Record> {
                    poll_fn(|cx| self.poll_recv(cx)).await
                }

                /// As [`recv`](Self::recv), for hand-written futures.
                pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Record>> {
                    let tail = Tail::<Vec<u8>, Waker, Shared>(self.0.records.clone(), PhantomData);
                    let record = |buffer| Record { channel: self.0.clone(), buffer };
                    tail.poll_pop(cx).map(|popped| popped.map(record))
                }

                /// The next record, if it is there.
                pub fn try_recv(&mut self) -> Option<Record> {
                    match self.0.records.with(State::pop) {
                        Poll::Ready(Some(buffer)) => Some(Record { channel: self.0.clone(), buffer }),
                        Poll::Ready(None) | Poll::Pending => None,
                    }
                }
            }

            impl Drop for Receiver {
                fn drop(&mut self) {
                    let mut woken = Woken::default();
                    let left = self.0.records.with(|state| state.abandon(&mut woken));
                    drop(left);
                    woken.wake();
                }
            }

            impl fmt::Debug for Receiver {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct("Receiver").field("capacity", &self.0.capacity).finish()
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
    /// Records of bytes from one sender to one receiver, on any threads.
    spsc_bytes, cloned:
}
