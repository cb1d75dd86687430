//! How a run went: the data of both reports, and the verdict.

use crate::plan::Kind;

/// Everything that the reports show.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    /// One line about what was run.
    pub(crate) what: String,
    pub(crate) elapsed_ms: u64,
    pub(crate) jobs: Vec<JobLine>,
    pub(crate) timeline: Vec<Moment>,
    pub(crate) sums: Vec<SumLine>,
    pub(crate) left: Left,
    /// The table of each supervisor that ended, with whose it is.
    pub(crate) reports: Vec<(String, String)>,
}

/// One job.
#[derive(Debug, Clone)]
pub(crate) struct JobLine {
    pub(crate) n: u32,
    pub(crate) kind: Kind,
    pub(crate) target: String,
    /// The word of the store for its state.
    pub(crate) state: String,
    /// Whether that is the right end for a job of this kind.
    pub(crate) as_it_should: bool,
    pub(crate) attempts: u32,
    /// Workers that died while they held it.
    pub(crate) crashes: u32,
    /// From when it was due to its last start, and from there to its end; since the start of the run.
    pub(crate) began_ms: u64,
    pub(crate) wait_ms: u64,
    pub(crate) run_ms: u64,
    pub(crate) title: String,
    pub(crate) error: Option<String>,
    /// A small PNG.
    pub(crate) thumbnail: Option<Vec<u8>>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since the start of the run.
    pub(crate) at_ms: u64,
    pub(crate) sort: Sort,
    pub(crate) text: String,
}

/// Whether it was meant to hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Injected by the demo.
    Fault,
    /// The answer to one.
    Recovery,
    /// Neither.
    Note,
}

/// What came in, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SumLine {
    pub(crate) what: String,
    pub(crate) left: u64,
    pub(crate) right: u64,
}

impl SumLine {
    pub(crate) fn new(what: impl Into<String>, left: u64, right: u64) -> Self {
        Self { what: what.into(), left, right }
    }

    pub(crate) fn holds(&self) -> bool {
        self.left == self.right
    }
}

/// What is still there, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) processes: Vec<String>,
    pub(crate) directories: Vec<String>,
    pub(crate) jobs: Vec<String>,
}

impl Left {
    /// The line that everything is about.
    pub(crate) fn line(&self) -> String {
        format!(
            "left behind: {} processes, {} directories, {} jobs",
            self.processes.len(),
            self.directories.len(),
            self.jobs.len()
        )
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let all = [&self.processes, &self.directories, &self.jobs];
        all.into_iter().flatten().map(String::as_str)
    }
}

impl Summary {
    /// What is wrong, in words; empty when nothing is.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        all.extend(self.left.names().map(|name| format!("left behind: {name}")));
        let off = self.sums.iter().filter(|sum| !sum.holds());
        all.extend(off.map(|sum| format!("{}: {} ≠ {}", sum.what, sum.left, sum.right)));
        let wrong = self.jobs.iter().filter(|job| !job.as_it_should);
        all.extend(wrong.map(|job| {
            let error = job.error.as_deref().unwrap_or("no error");
            format!("job {} ({}) ended as {}: {error}", job.n, job.kind, job.state)
        }));
        all
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.complaints().is_empty()
    }

    /// How many moments are of a sort.
    pub(crate) fn count(&self, sort: Sort) -> usize {
        self.timeline.iter().filter(|moment| moment.sort == sort).count()
    }

    /// Ascending times of the jobs that ran.
    pub(crate) fn times(&self, of: impl Fn(&JobLine) -> u64) -> Vec<u64> {
        let ran = self.jobs.iter().filter(|job| job.attempts > 0);
        let mut times: Vec<u64> = ran.map(of).collect();
        times.sort_unstable();
        times
    }
}

/// The value that this share of the ascending times does not exceed.
pub(crate) fn quantile(times: &[u64], share: f64) -> u64 {
    let rank = (share * times.len() as f64).ceil() as usize;
    let place = rank.clamp(1, times.len().max(1)) - 1;
    times.get(place).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_that_is_left_or_off_is_said() {
        let mut summary = Summary::default();
        assert!(summary.is_clean());
        summary.sums.push(SumLine::new("jobs", 3, 3));
        assert!(summary.is_clean());
        summary.sums.push(SumLine::new("bytes", 3, 2));
        summary.left.processes.push("chrome".into());
        assert_eq!(summary.complaints(), ["left behind: chrome", "bytes: 3 ≠ 2"]);
        assert_eq!(summary.left.line(), "left behind: 1 processes, 0 directories, 0 jobs");
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        assert_eq!(quantile(&[], 0.5), 0);
        assert_eq!(quantile(&[4], 0.99), 4);
        assert_eq!(quantile(&[1, 2, 3, 4], 0.5), 2);
        assert_eq!(quantile(&[1, 2, 3, 4], 1.0), 4);
    }
}
