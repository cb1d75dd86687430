//! The progress of a run: a bar on a terminal, a line now and then elsewhere.

use crate::hub::Now;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;

/// A line elsewhere for every so many per cent.
const STEP: u32 = 10;

#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: u32,
    said: Option<u32>,
}

impl Progress {
    pub(crate) fn new(total: u32) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{elapsed_precise} [{bar:32}] {pos}/{len} jobs  {wide_msg}";
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(u64::from(total)).with_style(style.progress_chars("=> "))
        });
        Self { bar, total, said: None }
    }

    pub(crate) fn show(&mut self, ended: u32, now: &Now) {
        let Now { browsers, leases, faults, workers, last } = now;
        let restarts = workers.saturating_sub(1);
        let counts =
            format!("{browsers} browsers, {leases} leases, {faults} faults, {restarts} restarts");
        if let Some(bar) = &self.bar {
            bar.set_position(u64::from(ended));
            bar.set_message(format!("{counts} | {last}"));
            return;
        }
        let step = ended * 100 / self.total.max(1) / STEP;
        if self.said != Some(step) {
            self.said = Some(step);
            println!("{ended:>5} of {} jobs ended; {counts}", self.total);
        }
    }

    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
