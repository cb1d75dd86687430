//! SIGINT, SIGTERM and SIGHUP, heard by a thread that needs no runtime.

use crate::supervisor::reload::Reloads;
use crate::supervisor::stop::Stop;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals as Heard};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;

/// Listens until it is dropped. The process keeps its handlers: no signal that was heard ends it any more.
#[derive(Debug)]
pub(crate) struct Signals {
    handle: Handle,
    #[cfg(feature = "tokio")]
    stops: bool,
}

impl Signals {
    /// SIGINT and SIGTERM are one step of `stop` each, SIGHUP is one reload; `None` when there is nothing to
    /// hear. Signals of one kind that come at once may be one.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one thread that hears signals: it ends with this"
    )]
    pub(crate) fn listen(
        stop: Option<Arc<Stop>>,
        reloads: Option<Arc<Reloads>>,
    ) -> io::Result<Option<Self>> {
        let ends = stop.iter().flat_map(|_| [SIGINT, SIGTERM]);
        let heard: Vec<_> = ends.chain(reloads.iter().map(|_| SIGHUP)).collect();
        if heard.is_empty() {
            return Ok(None);
        }
        #[cfg(feature = "tokio")]
        let stops = stop.is_some();
        // The thread comes first: without it, no signal is taken from the process.
        let (sender, receiver) = channel::<Heard>();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let Ok(mut signals) = receiver.recv() else { return };
            for signal in signals.forever() {
                match (signal, &stop, &reloads) {
                    (SIGHUP, _, Some(reloads)) => reloads.ask(),
                    (SIGINT, Some(stop), _) => stop.signalled("SIGINT"),
                    (_, Some(stop), _) => stop.signalled("SIGTERM"),
                    _ => {}
                }
            }
        })?;
        let signals = Heard::new(heard)?;
        let handle = signals.handle();
        // The thread waits for it.
        let _ = sender.send(signals);
        Ok(Some(Self {
            handle,
            #[cfg(feature = "tokio")]
            stops,
        }))
    }

    /// Whether SIGINT and SIGTERM are among them.
    #[cfg(feature = "tokio")]
    pub(crate) fn stops(&self) -> bool {
        self.stops
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}
