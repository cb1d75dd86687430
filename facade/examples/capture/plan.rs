//! What is captured and what goes wrong, decided beforehand from a seed: pure.

use crate::options::Faults;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a job is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A page that is there at once.
    Normal,
    /// A page that takes a second or two.
    Slow,
    /// A page whose renderer crashes at the first attempt.
    CrashesOnce,
    /// A page whose renderer always crashes.
    Crashes,
    /// A page that never answers at the first attempt.
    HangsOnce,
    /// A page that never answers.
    Hangs,
    /// A URL of the caller's.
    Url,
    /// No page: a process whose output is read as it comes.
    Digest,
}

impl Kind {
    /// Whether the job can end well.
    pub(crate) fn is_curable(self) -> bool {
        !matches!(self, Self::Crashes | Self::Hangs)
    }

    /// Whether it captures a page.
    pub(crate) fn is_capture(self) -> bool {
        self != Self::Digest
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Slow => "slow",
            Self::CrashesOnce => "crashes once",
            Self::Crashes => "crashes",
            Self::HangsOnce => "hangs once",
            Self::Hangs => "hangs",
            Self::Url => "url",
            Self::Digest => "process",
        })
    }
}

/// The payload of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    /// The run that enqueued it; later starts go on with it.
    pub(crate) batch: i64,
    /// Its number in the batch, from 1.
    pub(crate) n: u32,
    /// What it is about.
    pub(crate) kind: Kind,
    /// A path on the server of the demo, or a URL.
    pub(crate) target: String,
}

/// Small, fast and the same everywhere: enough for choices that only need to look random.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, in `0..bound`; `bound` is at least 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

/// The jobs of a batch on pages of its own: `jobs` captures, and a process job for every ten of them.
pub(crate) fn pages(batch: i64, jobs: u32, seed: u64) -> Vec<Work> {
    let mut dice = Dice::new(seed);
    let captures = (1..=jobs).map(|n| {
        let kind = match (n, dice.below(100)) {
            // A small batch shows each kind, too.
            (4, _) | (_, 0..12) => Kind::Slow,
            (3, _) | (_, 12..19) => Kind::CrashesOnce,
            (7, _) | (_, 19..25) => Kind::HangsOnce,
            (9, _) | (_, 25..27) => Kind::Crashes,
            (11, _) | (_, 27..29) => Kind::Hangs,
            _ => Kind::Normal,
        };
        work(batch, n, kind, format!("/{}/{n}", path(kind)))
    });
    let processes = (1..=jobs.div_ceil(10)).map(|k| {
        let n = jobs + k;
        work(batch, n, Kind::Digest, format!("digest {n}"))
    });
    captures.chain(processes).collect()
}

/// The jobs of a batch on the caller's URLs: the lines that are not empty and no comment.
pub(crate) fn urls(batch: i64, text: &str) -> Vec<Work> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.zip(1..).map(|(line, n)| work(batch, n, Kind::Url, line.to_owned())).collect()
}

fn work(batch: i64, n: u32, kind: Kind, target: String) -> Work {
    Work { batch, n, kind, target }
}

fn path(kind: Kind) -> &'static str {
    match kind {
        Kind::Slow => "slow",
        Kind::HangsOnce => "hangs-once",
        Kind::Hangs => "hangs",
        _ => "page",
    }
}

/// One thing that is done to the running demo when so many jobs have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9` of one Chrome, chosen by this number.
    Chrome(u64),
    /// `kill -9` of the worker process.
    Worker,
}

/// The faults, each with the number of ended jobs after which it strikes; ascending.
pub(crate) fn faults(faults: Faults, jobs: u32, seed: u64) -> Vec<(u32, Fault)> {
    let mut dice = Dice::new(seed ^ 0xfa17);
    let (chromes, workers) = match faults {
        Faults::Off => return Vec::new(),
        Faults::On => (jobs.div_ceil(15).clamp(2, 40), 2),
        Faults::Storm => (jobs.div_ceil(4).clamp(4, 400), jobs.div_ceil(12).clamp(4, 60)),
    };
    let end = jobs.max(2) - 1;
    let mut all: Vec<_> =
        (1..=workers).map(|k| (jobs * k / (workers + 1), Fault::Worker)).collect();
    for _ in 0..chromes {
        let after = u32::try_from(dice.below(u64::from(end))).unwrap_or(0) + 1;
        all.push((after, Fault::Chrome(dice.below(1 << 32))));
    }
    all.sort_by_key(|(after, _)| *after);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_plan_and_each_kind_is_in_it() {
        let plan = pages(1, 60, 7);
        assert_eq!(plan, pages(1, 60, 7));
        assert_ne!(plan, pages(1, 60, 8));
        for kind in [
            Kind::Normal,
            Kind::Slow,
            Kind::CrashesOnce,
            Kind::Crashes,
            Kind::HangsOnce,
            Kind::Hangs,
            Kind::Digest,
        ] {
            assert!(pages(1, 12, 7).iter().any(|work| work.kind == kind), "{kind}");
        }
        assert_eq!(plan.len(), 66);
        assert!(plan.iter().zip(1..).all(|(work, n)| work.n == n));
    }

    #[test]
    fn faults_strike_in_order_while_jobs_are_left() {
        assert!(faults(Faults::Off, 60, 7).is_empty());
        for (kind, workers) in [(Faults::On, 2), (Faults::Storm, 5)] {
            let plan = faults(kind, 60, 7);
            assert!(plan.is_sorted_by_key(|(after, _)| *after));
            assert!(plan.iter().all(|(after, _)| *after < 60));
            let kills = plan.iter().filter(|(_, fault)| *fault == Fault::Worker);
            assert_eq!(kills.count(), workers);
        }
        assert_eq!(faults(Faults::On, 1, 7).len(), 4);
    }

    #[test]
    fn a_url_file_may_hold_comments_and_blank_lines() {
        let plan = urls(3, "# mine\nhttps://a.example/\n\n  https://b.example/x \n");
        let targets: Vec<_> = plan.iter().map(|work| (work.n, work.target.as_str())).collect();
        assert_eq!(targets, [(1, "https://a.example/"), (2, "https://b.example/x")]);
    }
}
