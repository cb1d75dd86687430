//! What keeps a stream alive: its shared state and its pump, which stops with the last handle and reader.

use crate::shared::Shared;
use crate::state::Orders;
use std::sync::{Arc, OnceLock};

/// What handles and subscribers hold; the pump holds only the shared state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) chunk_size: usize,
    pub(crate) pump: OnceLock<Pump>,
}

/// What runs the pump; the handle is kept so that the pump never runs unowned.
#[derive(Debug)]
pub(crate) enum Pump {
    /// It ended before the stream was made, or the thread of the caller drives it.
    #[cfg(feature = "process")]
    Elsewhere,
    #[cfg(feature = "tokio")]
    Task(tokio::task::JoinHandle<()>),
    /// Never joined: it may be in a read that never returns.
    #[cfg(feature = "blocking")]
    Thread {
        #[expect(dead_code, reason = "owned, and shown by `Debug`")]
        handle: std::thread::JoinHandle<()>,
    },
}

impl Drop for Core {
    /// Nobody can read any more: the pump stops. A task ends and drops its source at its next turn;
    /// a thread ends after the read that it is in.
    fn drop(&mut self) {
        self.shared.order(Orders::Stop);
        match self.pump.get() {
            #[cfg(feature = "tokio")]
            Some(Pump::Task(task)) => task.abort(),
            _ => {}
        }
    }
}
