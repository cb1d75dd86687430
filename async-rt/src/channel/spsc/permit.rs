//! Room in a channel that its sender holds before it has the value.

use super::super::error::SendError;
use super::{CLOSED, RESERVED, Sender};
use crate::sync::{Ordering, on};
use std::fmt;

/// Room for one value. Dropped, it is given back.
#[must_use = "room that is dropped is given back"]
pub struct Permit<'a, T> {
    pub(super) sender: &'a mut Sender<T>,
}

impl<T> Permit<'_, T> {
    /// Sends `value`, also after the receiver has closed the channel.
    ///
    /// # Errors
    /// When the receiver is gone; the value comes back.
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        self.sender.post(value).map_err(SendError)
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        let shared = &*self.sender.shared;
        // ORDERING: pairs with the load of `Receiver::is_over`: what the permit sent is seen. Models have
        // no mutant for the pair: there the exchange by which a slot ends is never early.
        let before = shared.end.fetch_and(!RESERVED, Ordering::Release);
        if before & CLOSED != 0 && on("i17.unreserved") {
            shared.receiver.wake();
        }
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
