//! The signals by which processes are asked to end and to reload.

use crate::supervisor::drain::{Drain, DrainFuture, EndedFuture, Until};
use crate::supervisor::stats::Counters;
use lastout_proc_tree::{Policy, Signal, Tree};

/// The part of the deadline that is kept for the kill after the request.
const KILL: u32 = 4;

/// A process or a tree as a member, with its own signals to end and to reload.
///
/// Without this, SIGTERM goes to the whole tree, and a reload does nothing. Three quarters of the deadline are
/// for the answer; what is left then is killed, and counted as forced.
///
#[cfg_attr(feature = "process", doc = "```")]
#[cfg_attr(not(feature = "process"), doc = "```ignore")]
/// use lastout::output_stream::Process;
/// use lastout::proc_tree::Signal;
/// use lastout::supervisor::{Failure, WithSignals};
/// use lastout::{Restart, Supervisor};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = Supervisor::builder()
///     .service("web", Restart::on_failure(), || async {
///         # #[cfg(any())]
///         let web = Process::shell("exec nginx -g 'daemon off;'").spawn()?;
///         # let web = Process::shell("trap 'exit 0' QUIT; while :; do sleep 0.1; done").spawn()?;
///         Ok::<_, Failure>(WithSignals::new(web).stop_root(Signal::QUIT).reload(Signal::HUP))
///     })
///     .build()?;
/// # supervisor.handle().stop();
/// assert!(supervisor.run().await.is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it is a member: give it to a supervisor"]
pub struct WithSignals<T> {
    pub(super) member: T,
    pub(super) signals: Signals,
}

impl<T> WithSignals<T> {
    /// SIGTERM to the whole tree, and no reload.
    pub fn new(member: T) -> Self {
        Self { member, signals: Signals::default() }
    }

    /// Asks every process of the tree to end by this signal.
    pub fn stop_all(mut self, signal: Signal) -> Self {
        (self.signals.stop, self.signals.stops_root) = (signal, false);
        self
    }

    /// Asks only the first process of the tree to end by this signal. Use it for a server that ends its own workers;
    /// a shell does not end its children.
    pub fn stop_root(mut self, signal: Signal) -> Self {
        (self.signals.stop, self.signals.stops_root) = (signal, true);
        self
    }

    /// Sends this signal to the first process of the tree on a reload.
    pub fn reload(mut self, signal: Signal) -> Self {
        self.signals.reload = Some(signal);
        self
    }
}

/// What is sent for a stop and for a reload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signals {
    stop: Signal,
    stops_root: bool,
    pub(super) reload: Option<Signal>,
}

impl Default for Signals {
    fn default() -> Self {
        // A shell passes no signal on: a server behind it must be asked itself.
        Self { stop: Signal::TERM, stops_root: false, reload: None }
    }
}

impl Signals {
    /// The request, and the kill in time.
    pub(super) fn policy(self, until: Until) -> Policy {
        let kill = until.remaining() / KILL;
        let patience = until.remaining().saturating_sub(kill);
        let policy = match self.stops_root {
            true => Policy::new().ask_root(self.stop, patience),
            false => Policy::new().ask_all(self.stop, patience),
        };
        policy.kill_within(kill)
    }

    /// Sends what reloads. A root that has ended is a failure of its own, seen elsewhere.
    pub(super) fn send_reload(self, tree: &Tree) -> Result<(), lastout_proc_tree::SignalError> {
        match (self.reload, tree.root()) {
            (Some(signal), Some(root)) => tree.signal_member(root, signal),
            _ => Ok(()),
        }
    }
}

impl Drain for WithSignals<Tree> {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        super::proc_tree::end(&self.member, self.signals, until)
    }

    fn force(&self, until: Until) -> DrainFuture<'_> {
        self.member.force(until)
    }

    fn reload(&self) -> EndedFuture<'_> {
        let sent = self.signals.send_reload(&self.member);
        Box::pin(std::future::ready(sent.map_err(Into::into)))
    }

    fn stats(&self) -> Counters {
        self.member.stats()
    }
}
