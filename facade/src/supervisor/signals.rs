//! SIGINT and SIGTERM through tokio.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for both signals.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The name of the next signal. Signals of one kind that come before the next call are one.
    pub(crate) async fn next(&mut self) -> &'static str {
        poll_fn(|cx| {
            if self.interrupt.poll_recv(cx).is_ready() {
                return Poll::Ready("SIGINT");
            }
            self.terminate.poll_recv(cx).map(|_| "SIGTERM")
        })
        .await
    }
}
