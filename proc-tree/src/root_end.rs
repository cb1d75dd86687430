//! How it comes to be known how and why a root has ended: its status, and the signals that its tree has sent.

use crate::deadline::Deadline;
use crate::end::{Cause, End, RootEnd};
use crate::error::WaitError;
use crate::inner::Inner;
use crate::signal::Signal;
use crate::tree::Tree;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};

/// The signals that a tree has sent to its root while the root ran, one bit each.
#[derive(Debug, Default)]
pub(crate) struct SentSignals(AtomicU64);

impl SentSignals {
    /// Remembers a signal; called before it is sent.
    pub(crate) fn note(&self, signal: Signal) {
        self.0.fetch_or(Self::bit(signal.as_raw()), Ordering::Relaxed);
    }

    fn contains(&self, number: i32) -> bool {
        self.0.load(Ordering::Relaxed) & Self::bit(number) != 0
    }

    fn bit(number: i32) -> u64 {
        let place = u32::try_from(number).ok().and_then(|number| number.checked_sub(1));
        place.and_then(|place| 1u64.checked_shl(place)).unwrap_or(0)
    }
}

impl Tree {
    /// Waits until no member is left, and tells how the root ended. It runs on any executor.
    ///
    /// # Errors
    ///
    /// When a member is alive at the deadline.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing: it only looks.
    pub async fn wait(&self, deadline: impl Into<Deadline>) -> Result<End, WaitError> {
        self.wait_empty(deadline).await?;
        Ok(self.inner().end())
    }

    /// [`wait`](Self::wait), blocking the calling thread.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_blocking(&self, deadline: impl Into<Deadline>) -> Result<End, WaitError> {
        self.wait_empty_blocking(deadline)?;
        Ok(self.inner().end())
    }

    /// How and why the root ended; `None` while it runs, and as for [`End::root`].
    pub fn root_end(&self) -> Option<RootEnd> {
        self.inner().root_end()
    }
}

impl Inner {
    fn end(&self) -> End {
        End { root: self.root_end(), usage: self.usage_at_the_end() }
    }

    fn root_end(&self) -> Option<RootEnd> {
        let status = self.process.as_ref()?.try_wait().ok()??;
        Some(RootEnd { status, cause: self.cause_of(status) })
    }

    fn cause_of(&self, status: ExitStatus) -> Cause {
        match status.signal() {
            None => Cause::Exit,
            Some(number) if self.sent.contains(number) => Cause::Tree,
            Some(libc::SIGKILL) if self.means.controls.memory_kills() > Some(0) => {
                Cause::MemoryKiller
            }
            Some(_) => Cause::Signal,
        }
    }

    /// Remembers that the root is about to get this signal from us, if it still runs.
    pub(crate) fn note_signal(&self, signal: Signal) {
        if self.pidfd.as_ref().is_some_and(|root| !root.is_dead()) {
            self.sent.note(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_a_bit_and_no_other_number_has_one() {
        let sent = SentSignals::default();
        for number in [i32::MIN, -1, 0, 65, i32::MAX] {
            assert_eq!(SentSignals::bit(number), 0, "{number}");
        }
        assert!(!sent.contains(15) && !sent.contains(64));
        sent.note(Signal::TERM);
        sent.note(Signal::from_raw(64).unwrap());
        assert!(sent.contains(15) && sent.contains(64) && !sent.contains(9));
    }
}
