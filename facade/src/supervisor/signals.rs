//! SIGINT and SIGTERM, heard by a thread that needs no runtime.

use crate::supervisor::stop::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals as Heard};
use std::io;
use std::sync::Arc;

/// Listens until it is dropped. The process keeps its handlers: neither signal ends it any more.
#[derive(Debug)]
pub(crate) struct Signals {
    handle: Handle,
}

impl Signals {
    /// Each signal is one step of `stop`. Signals of one kind that come at once may be one.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one thread that hears signals: it ends with this"
    )]
    pub(crate) fn listen(stop: Arc<Stop>) -> io::Result<Self> {
        let mut signals = Heard::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                stop.signalled(if signal == SIGINT { "SIGINT" } else { "SIGTERM" });
            }
        })?;
        Ok(Self { handle })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}
