//! Channels: on one thread ([`local`]), and between threads ([`mpsc`], [`spsc`], [`oneshot`], and of
//! bytes [`mpsc_bytes`], [`spsc_bytes`]).
//!
//! All of them are bounded and fair: senders get room in the order in which they asked, a send that
//! is cancelled passes its turn on, and no waker or value is called or dropped under a lock. They
//! work under any executor, on any thread; only those that name a thread stay on it.

pub(crate) mod bounded;
mod bytes;
pub mod oneshot;
pub(crate) mod permits;
pub(crate) mod store;

#[doc(inline)]
pub use bytes::{mpsc_bytes, spsc_bytes};
pub use error::{RecvError, SendError, TryRecvError, TrySendError};

mod error;

/// The public types of a bounded channel over one kind of storage.
macro_rules! bounded_channel {
    ($(#[$doc:meta])* $module:ident, $waker:ty, $store:ty, cloned: $($clone:ident)?) => {
        $(#[$doc])*
        pub mod $module {
            use super::bounded::{Bounded, Tail};
            use super::permits::{Refused, Woken};
            use super::store::{Acquire, Store};
            use super::{SendError, TryRecvError, TrySendError};
            #[allow(unused_imports, reason = "one storage is for one thread, one for many")]
            use crate::{sync::{Arc, Mutex}, task::raw::WakerSlot};
            use std::fmt;
            use std::future::poll_fn;
            use std::marker::PhantomData;
            #[allow(unused_imports, reason = "as above")]
            use std::{cell::RefCell, rc::Rc};
            #[allow(unused_imports, reason = "as above")]
            use std::task::{Context, Poll, Waker, ready};

            type State<T> = Bounded<T, $waker>;
            type Shared<T> = $store;

            /// A channel with room for `capacity` values.
            ///
            /// # Panics
            /// When `capacity` is zero.
            pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
                assert!(capacity > 0, "a channel needs room for one value");
                let shared: Shared<T> = Store::new(State::new(capacity));
                let tail = Tail(shared.clone(), PhantomData);
                (Sender { shared }, Receiver { tail })
            }

            /// The sending end.
            pub struct Sender<T> {
                shared: Shared<T>,
            }

            impl<T> Sender<T> {
                /// Sends `value`, waiting for room.
                ///
                /// # Errors
                /// When the receiver is gone or closed; the value comes back.
                ///
                /// # Cancel safety
                /// A send that is cancelled has sent nothing; its value is dropped with it, and its
                /// turn goes to the next sender.
                pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
                    match self.wait().await {
                        Ok(()) => self.push(value),
                        Err(_) => Err(SendError(value)),
                    }
                }

                async fn wait(&self) -> Result<(), Refused> {
                    let mut room = Acquire::<State<T>, $waker, Shared<T>>::new(self.shared.clone(), 1);
                    poll_fn(|cx| room.poll(cx)).await
                }

                fn push(&self, value: T) -> Result<(), SendError<T>> {
                    let woken = self.shared.with(|state| state.push(value)).map_err(SendError)?;
                    woken.into_iter().for_each(<$waker>::wake);
                    Ok(())
                }

                /// Sends `value`, if there is room and nobody waits for it.
                ///
                /// # Errors
                /// When there is no room, or no receiver; the value comes back.
                pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
                    match self.shared.with(|state| state.try_push(value)) {
                        Ok(woken) => {
                            woken.into_iter().for_each(<$waker>::wake);
                            Ok(())
                        }
                        Err((Refused::Full, value)) => Err(TrySendError::Full(value)),
                        Err((Refused::Closed, value)) => Err(TrySendError::Closed(value)),
                    }
                }

                /// Whether the receiver is gone or closed.
                pub fn is_closed(&self) -> bool {
                    self.shared.with(|state| state.permits.is_closed())
                }

                /// Room that nobody has taken.
                pub fn room(&self) -> usize {
                    self.shared.with(|state| state.permits.available())
                }
            }

            $(impl<T> $clone for Sender<T> {
                fn clone(&self) -> Self {
                    self.shared.with(State::add_sender);
                    Self { shared: self.shared.clone() }
                }
            })?

            impl<T> Drop for Sender<T> {
                fn drop(&mut self) {
                    let woken = self.shared.with(State::remove_sender);
                    woken.into_iter().for_each(<$waker>::wake);
                }
            }

            impl<T> fmt::Debug for Sender<T> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct("Sender").field("closed", &self.is_closed()).finish()
                }
            }

            /// The receiving end.
            pub struct Receiver<T> {
                tail: Tail<T, $waker, Shared<T>>,
            }

            impl<T> Receiver<T> {
                /// The next value; `None` when every sender is gone, or after [`close`](Self::close),
                /// and nothing is left.
                ///
                /// # Cancel safety
                /// Cancel safe: no value is lost.
                pub async fn recv(&mut self) -> Option<T> {
                    poll_fn(|cx| self.poll_recv(cx)).await
                }

                /// As [`recv`](Self::recv), for hand-written futures.
                pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
                    let value = ready!(self.tail.poll_pop(cx));
                    if value.is_some() {
                        self.make_room();
                    }
                    Poll::Ready(value)
                }

                /// The next value, if it is there.
                ///
                /// # Errors
                /// When there is none now, or none will come.
                pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
                    match self.tail.0.with(State::pop) {
                        Poll::Ready(Some(value)) => {
                            self.make_room();
                            Ok(value)
                        }
                        Poll::Ready(None) => Err(TryRecvError::Closed),
                        Poll::Pending => Err(TryRecvError::Empty),
                    }
                }

                fn make_room(&self) {
                    let mut woken = Woken::default();
                    self.tail.0.with(|state| state.permits.release(1, &mut woken));
                    woken.wake();
                }

                /// Takes no more values; those sent before can still be received.
                pub fn close(&mut self) {
                    let mut woken = Woken::default();
                    self.tail.0.with(|state| state.close(&mut woken));
                    woken.wake();
                }

                /// Values that wait to be received.
                pub fn len(&self) -> usize {
                    self.tail.0.with(|state| state.len())
                }

                /// Whether no value waits to be received.
                pub fn is_empty(&self) -> bool {
                    self.len() == 0
                }
            }

            impl<T> Drop for Receiver<T> {
                fn drop(&mut self) {
                    let mut woken = Woken::default();
                    let left = self.tail.0.with(|state| state.abandon(&mut woken));
                    drop(left);
                    woken.wake();
                }
            }

            impl<T> fmt::Debug for Receiver<T> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.debug_struct("Receiver").field("len", &self.len()).finish()
                }
            }

        }
    };
}

bounded_channel! {
    /// Many senders, one receiver, all on one thread; values need not be `Send`.
    local, WakerSlot, Rc<RefCell<State<T>>>, cloned: Clone
}

bounded_channel! {
    /// Many senders, one receiver, on any threads.
    mpsc, Waker, Arc<Mutex<State<T>>>, cloned: Clone
}

bounded_channel! {
    /// One sender, one receiver, on any threads. The sender is not `Clone`, which is the only
    /// difference from `mpsc`.
    spsc, Waker, Arc<Mutex<State<T>>>, cloned:
}
