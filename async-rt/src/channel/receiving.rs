//! What the receivers of values offer beside `poll_recv`, written once for all of them.

/// Awaits the next value, and makes the receiver a stream. `$none` says when there is no next one.
macro_rules! awaits_values {
    ($none:literal) => {
        impl<T> Receiver<T> {
            /// The next value;
            #[doc = $none]
            ///
            /// # Cancel safety
            /// Cancel safe: no value is lost.
            pub async fn recv(&mut self) -> Option<T> {
                std::future::poll_fn(|cx| self.poll_recv(cx)).await
            }
        }

        impl<T> futures_core::Stream for Receiver<T> {
            type Item = T;

            fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
                self.get_mut().poll_recv(cx)
            }
        }
    };
}

/// Waits for the next value on a plain thread.
macro_rules! blocks_for_values {
    () => {
        impl<T> Receiver<T> {
            /// The next value, for a plain thread, which sleeps until there is one; `None` as in
            /// [`recv`](Self::recv).
            ///
            /// # Panics
            /// Inside a runtime.
            #[track_caller]
            pub fn recv_blocking(&mut self) -> Option<T> {
                blocking::wait(None, |cx| self.poll_recv(cx)).flatten()
            }

            /// As [`recv_blocking`](Self::recv_blocking), for `timeout` at most.
            ///
            /// # Errors
            /// When the time passed, or no value will come.
            ///
            /// # Panics
            /// Inside a runtime.
            #[track_caller]
            pub fn recv_timeout_blocking(
                &mut self,
                timeout: std::time::Duration,
            ) -> Result<T, RecvTimeoutError> {
                match blocking::wait(Some(timeout), |cx| self.poll_recv(cx)) {
                    Some(value) => value.ok_or(RecvTimeoutError::Closed),
                    None => Err(RecvTimeoutError::TimedOut),
                }
            }
        }
    };
}

pub(super) use {awaits_values, blocks_for_values};
