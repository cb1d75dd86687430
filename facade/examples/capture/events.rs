//! What the worker tells the demo, one line of JSON each on its standard output.

use serde::{Deserialize, Serialize};
use std::io::Write;

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The worker runs.
    Up {
        /// Its pid.
        pid: u32,
    },
    /// A job was begun.
    Begun { n: u32, attempt: u32 },
    /// An attempt of a job has ended.
    Ended {
        n: u32,
        attempt: u32,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// Something happened to a browser.
    Browser { lost: bool, text: String },
    /// A line of the output of a process job.
    Line { n: u32, text: String },
    /// How many browsers there are and how many leases are out.
    Now { browsers: usize, leases: u64 },
    /// The supervisor of the worker has ended everything.
    Report { report: Box<lastout::Report> },
}

impl Event {
    /// The event of a line; `None` when it is something else.
    pub(crate) fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// Prints it as one line. A demo that is gone is not told.
    pub(crate) fn tell(&self) {
        if let Ok(line) = serde_json::to_string(self) {
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_and_noise_is_not_an_event() {
        let line = serde_json::to_string(&Event::Begun { n: 3, attempt: 2 }).unwrap();
        assert!(matches!(Event::read(&line), Some(Event::Begun { n: 3, attempt: 2 })));
        assert!(Event::read("thread 'main' panicked").is_none());
    }
}
