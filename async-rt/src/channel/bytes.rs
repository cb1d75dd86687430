//! Byte channels: records of any length, bounded by their bytes together, written in place.

use super::error::{CapacityError, RecvTimeoutError, TryRecvError};
use super::queue::{Queue, Tail};
use super::records::{self, RECORDS, Records};
use super::waiting;
use crate::sync::Arc;
use futures_core::Stream;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The public types of a byte channel.
macro_rules! byte_channel {
    ($(#[$doc:meta])* $module:ident, cloned: $($clone:ident)?) => {
        $(#[$doc])*
        pub mod $module {
            use super::*;
            pub use crate::channel::records::{Claim, ClaimError, Record};

            /// A channel with room for `capacity` bytes, and for 1024 records at most: each counts for
            /// at least so many bytes.
            ///
            /// # Panics
            /// Where [`try_channel`] returns an error.
            #[track_caller]
            pub fn channel(capacity: usize) -> (Sender, Receiver) {
                try_channel(capacity).unwrap_or_else(|error| panic!("{error}"))
            }

            /// A channel with room for `capacity` bytes, and for 1024 records at most: each counts for
            /// at least so many bytes.
            ///
            /// # Errors
            /// When `capacity` is zero, or more than can be counted.
            pub fn try_channel(capacity: usize) -> Result<(Sender, Receiver), CapacityError> {
                let records = Queue::with_slots(capacity, capacity.min(RECORDS), false)?;
                let records = Arc::new(records);
                let tail = Tail::new(Arc::clone(&records));
                Ok((Sender { records }, Receiver { tail }))
            }

            /// The sending end.
            pub struct Sender {
                records: Arc<Records>,
            }

            impl Sender {
                /// Waits for room for a record of `len` bytes, which may be zero.
                ///
                /// # Errors
                /// When the receiver is gone, the record is larger than the channel, or there is no
                /// memory for one of more than 1 MiB.
                ///
                /// # Cancel safety
                /// Cancel safe: the turn of a cancelled claim goes to the next sender.
                pub async fn claim(&self, len: usize) -> Result<Claim, ClaimError> {
                    records::take(&self.records, len).await?;
                    Claim::new(&self.records, len)
                }

                /// Room for a record of `len` bytes, if it is there and no other sender waits for it.
                ///
                /// # Errors
                /// When there is no room, no receiver, or no memory for one of more than 1 MiB, or the
                /// record is larger than the channel.
                pub fn try_claim(&self, len: usize) -> Result<Claim, ClaimError> {
                    records::try_take(&self.records, len)?;
                    Claim::new(&self.records, len)
                }

                /// Sends a copy of `record`, waiting for room.
                ///
                /// # Errors
                /// As [`claim`](Self::claim).
                ///
                /// # Cancel safety
                /// A send that is cancelled has sent nothing.
                pub async fn send(&self, record: &[u8]) -> Result<(), ClaimError> {
                    records::take(&self.records, record.len()).await?;
                    records::post_copy(&self.records, record)
                }

                /// Sends a copy of `record`, if there is room and no other sender waits for it.
                ///
                /// # Errors
                /// As [`try_claim`](Self::try_claim).
                pub fn try_send(&self, record: &[u8]) -> Result<(), ClaimError> {
                    records::try_take(&self.records, record.len())?;
                    records::post_copy(&self.records, record)
                }

                /// Sends a copy of `record` from a plain thread, which sleeps until there is room,
                /// for `timeout` at most if there is one.
                ///
                /// # Errors
                /// As [`claim`](Self::claim), and [`ClaimError::Full`] when the time passed.
                ///
                /// # Panics
                /// Inside a runtime.
                pub fn send_blocking(
                    &self,
                    record: &[u8],
                    timeout: Option<Duration>,
                ) -> Result<(), ClaimError> {
                    waiting::output(timeout, self.send(record)).unwrap_or(Err(ClaimError::Full))
                }

                /// Waits until the receiver is gone: nothing that is sent from then on is received.
                ///
                /// # Cancel safety
                /// Cancel safe.
                pub async fn closed(&self) {
                    self.records.room().closed().await;
                }

                /// Whether the receiver is gone.
                pub fn is_closed(&self) -> bool {
                    self.records.room().is_closed()
                }
            }

            $(impl $clone for Sender {
                fn clone(&self) -> Self {
                    self.records.add_sender();
                    Self { records: Arc::clone(&self.records) }
                }
            })?

            impl Drop for Sender {
                fn drop(&mut self) {
                    self.records.remove_sender();
                }
            }

            impl fmt::Debug for Sender {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct("Sender").field("capacity", &self.records.capacity()).finish()
                }
            }

            /// The receiving end, and a [`Stream`] of the records.
            pub struct Receiver {
                tail: Tail<Vec<u8>>,
            }

            impl Receiver {
                fn record(&self, buffer: Vec<u8>) -> Record {
                    Record::new(&self.tail.shared, buffer)
                }

                /// The next record; `None` when every sender and every claim is gone and nothing is
                /// left.
                ///
                /// # Cancel safety
                /// Cancel safe: no record is lost.
                pub async fn recv(&mut self) -> Option<Record> {
                    poll_fn(|cx| self.poll_recv(cx)).await
                }

                /// Polls what [`recv`](Self::recv) awaits, for hand-written futures.
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
                /// Inside a runtime.
                pub fn recv_blocking(
                    &mut self,
                    timeout: Option<Duration>,
                ) -> Result<Record, RecvTimeoutError> {
                    match waiting::wait(timeout, |cx| self.poll_recv(cx)) {
                        Some(record) => record.ok_or(RecvTimeoutError::Closed),
                        None => Err(RecvTimeoutError::TimedOut),
                    }
                }
            }

            impl Stream for Receiver {
                type Item = Record;

                fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Record>> {
                    self.get_mut().poll_recv(cx)
                }
            }

            impl fmt::Debug for Receiver {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct("Receiver").field("capacity", &self.tail.shared.capacity()).finish()
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
