//! Pauses between launches that fail, for each launch profile; a run of failures opens the circuit.

use crate::error::LaunchError;
use crate::request::LaunchProfile;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The profiles whose last launch failed. A success removes the entry, so it stays short.
#[derive(Debug)]
pub(super) struct Circuits {
    first: Duration,
    most: Duration,
    open_after: u32,
    failing: Vec<Failing>,
}

#[derive(Debug)]
struct Failing {
    profile: Arc<LaunchProfile>,
    /// In a row, those of browsers that died young included: the pause grows with them.
    failures: u32,
    /// Those of them that gave nobody anything: they open the circuit.
    fruitless: u32,
    blocked_until: Instant,
    last: Arc<LaunchError>,
}

/// Profiles remembered at a time; the one whose pause ends first is forgotten for a new one.
const MOST_PROFILES: usize = 64;

impl Circuits {
    pub(super) fn new(first: Duration, most: Duration, open_after: u32) -> Self {
        Self { first, most, open_after, failing: Vec::new() }
    }

    /// Counts a failure; `true` when the circuit is open now. A browser that died young, but had given
    /// leases, only makes the pause longer.
    pub(super) fn failed(
        &mut self,
        profile: &Arc<LaunchProfile>,
        error: Arc<LaunchError>,
        is_fruitless: bool,
        now: Instant,
    ) -> bool {
        let before = self.find(profile).map_or((0, 0), |entry| (entry.failures, entry.fruitless));
        let failures = before.0.saturating_add(1);
        let fruitless = before.1.saturating_add(u32::from(is_fruitless));
        self.succeeded(profile);
        if self.failing.len() >= MOST_PROFILES {
            let soonest = self.failing.iter().map(|entry| entry.blocked_until).min();
            self.failing.retain(|entry| Some(entry.blocked_until) != soonest);
        }
        let doubled =
            self.first.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        let permanent = error.is_permanent();
        self.failing.push(Failing {
            profile: profile.clone(),
            failures,
            fruitless: if permanent { fruitless.max(self.open_after) } else { fruitless },
            blocked_until: now + doubled.min(self.most),
            last: error,
        });
        permanent || fruitless >= self.open_after
    }

    pub(super) fn is_empty(&self) -> bool {
        self.failing.is_empty()
    }

    /// Forgets the failures of a profile.
    pub(super) fn succeeded(&mut self, profile: &LaunchProfile) {
        self.failing.retain(|entry| *entry.profile != *profile);
    }

    /// Whether a launch of this profile may start now.
    pub(super) fn allows(&self, profile: &LaunchProfile, now: Instant) -> bool {
        self.find(profile).is_none_or(|entry| entry.blocked_until <= now)
    }

    /// Whether the last launch of this profile failed: then only one is tried at a time.
    pub(super) fn is_failing(&self, profile: &LaunchProfile) -> bool {
        self.find(profile).is_some()
    }

    /// The last error, while the circuit of this profile is open.
    pub(super) fn open(&self, profile: &LaunchProfile, now: Instant) -> Option<Arc<LaunchError>> {
        self.find(profile)
            .filter(|entry| entry.fruitless >= self.open_after && entry.blocked_until > now)
            .map(|entry| entry.last.clone())
    }

    /// The next moment at which a blocked profile may try again.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        self.failing.iter().map(|entry| entry.blocked_until).filter(|until| *until > now).min()
    }

    fn find(&self, profile: &LaunchProfile) -> Option<&Failing> {
        self.failing.iter().find(|entry| *entry.profile == *profile)
    }
}
