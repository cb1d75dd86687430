//! When a service that has ended is started again: pure, with `now` as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Whether, when and how often a service is started again.
///
/// | policy | after `Ok` | after a failure |
/// |---|---|---|
/// | [`always`](Self::always) | started again | started again |
/// | [`on_failure`](Self::on_failure) | it is done | started again |
/// | [`once`](Self::once) | it is done | it is done, and the report says that it failed |
/// | [`never`](Self::never) | it is done | everything is ended |
///
/// The pause doubles with each start inside the window and is forgotten with it. More than `limit`
/// starts inside the window are given up: the supervisor then ends everything.
///
/// ```
/// use lastout::Restart;
/// use std::time::Duration;
///
/// let policy = Restart::on_failure()
///     .backoff(Duration::from_millis(100), Duration::from_secs(10))
///     .limit(5, Duration::from_secs(60));
/// # let _ = policy;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a policy does nothing by itself"]
pub struct Restart {
    kind: Kind,
    limit: u32,
    window: Duration,
    first: Duration,
    most: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Always,
    OnFailure,
    Once,
    Never,
}

impl Restart {
    /// Started again however it ended, with the pauses and the limit of [`on_failure`](Self::on_failure).
    pub fn always() -> Self {
        Self { kind: Kind::Always, ..Self::on_failure() }
    }

    /// Started again after 100 ms, doubled up to 10 s, and given up at the sixth failure within a
    /// minute. A service that ends without a failure is done.
    pub fn on_failure() -> Self {
        Self {
            kind: Kind::OnFailure,
            limit: 5,
            window: Duration::from_secs(60),
            first: Duration::from_millis(100),
            most: Duration::from_secs(10),
        }
    }

    /// Started once. The others go on, however it ends.
    pub fn once() -> Self {
        Self { kind: Kind::Once, ..Self::on_failure() }
    }

    /// Started once. A failure ends everything.
    pub fn never() -> Self {
        Self { kind: Kind::Never, ..Self::on_failure() }
    }

    /// Whether it may start a service more than once.
    pub(crate) fn starts_again(&self) -> bool {
        matches!(self.kind, Kind::Always | Kind::OnFailure)
    }

    /// The first pause, and the longest. A `most` below `first` counts as `first`.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.first = first;
        self.most = most.max(first);
        self
    }

    /// Starts again at most so many times within any window of this length.
    pub fn limit(mut self, restarts: u32, window: Duration) -> Self {
        self.limit = restarts;
        self.window = window;
        self
    }

    /// Never given up: for a service that outlives an outage of what it leans on.
    pub fn unlimited(mut self) -> Self {
        self.limit = u32::MAX;
        self
    }
}

/// Which services are started again together.
///
/// ```
/// use lastout::supervisor::{Strategy, Thread};
/// use lastout::{Restart, Supervisor};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let wait = |name: &'static str| move || async move {
///     Ok(Thread::spawn(name, |stopping| {
///         stopping.asked_blocking();
///         Ok(())
///     })?)
/// };
/// let supervisor = Supervisor::builder()
///     .strategy(Strategy::RestForOne) // a server leans on its pool: a new pool, a new server
///     .service("pool", Restart::on_failure(), wait("pool"))
///     .service("server", Restart::on_failure(), wait("server"))
///     .build()?;
/// # supervisor.handle().stop();
/// assert!(supervisor.run_blocking().is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// The one that ended, alone.
    #[default]
    OneForOne,
    /// The one that ended, and every service that was added after it.
    RestForOne,
    /// All services.
    OneForAll,
}

/// More starts than these make no pause longer: older ones are forgotten when there is no limit.
const REMEMBERED: usize = 64;

/// The ends of one service that still count.
#[derive(Debug, Clone)]
pub(crate) struct History {
    policy: Restart,
    /// Ascending, all within the window of the last one, at most `limit` of them.
    recent: VecDeque<Instant>,
}

/// What an end leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Start again after this pause.
    After(Duration),
    /// It is not started again, and the others go on.
    Done,
    /// Everything is to end.
    GiveUp,
}

impl History {
    pub(crate) fn new(policy: Restart) -> Self {
        Self { policy, recent: VecDeque::new() }
    }

    /// An end at `now`, and whether it was a failure; calls come with an ascending `now`.
    pub(crate) fn ended(&mut self, failed: bool, now: Instant) -> Decision {
        match self.policy.kind {
            Kind::OnFailure | Kind::Never if !failed => Decision::Done,
            Kind::Once => Decision::Done,
            Kind::Never => Decision::GiveUp,
            Kind::Always | Kind::OnFailure => self.again(now),
        }
    }

    fn again(&mut self, now: Instant) -> Decision {
        let window = self.policy.window;
        self.recent.retain(|at| now.saturating_duration_since(*at) < window);
        if self.recent.len() >= self.policy.limit as usize {
            return Decision::GiveUp;
        }
        if self.policy.limit == u32::MAX && self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        let doublings = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        self.recent.push_back(now);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        Decision::After(self.policy.first.saturating_mul(factor).min(self.policy.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The obvious rule: look at the whole history each time.
    fn oracle(policy: &Restart, granted: &[Duration], now: Duration) -> Decision {
        let counted = granted.iter().filter(|at| now - **at < policy.window).count();
        if counted >= policy.limit as usize {
            return Decision::GiveUp;
        }
        let mut pause = policy.first;
        for _ in 0..counted {
            pause = (pause * 2).min(policy.most);
        }
        Decision::After(pause.min(policy.most))
    }

    proptest! {
        #[test]
        fn agrees_with_a_look_at_the_whole_history(
            limit in 0_u32..12,
            window in 0_u64..5_000,
            first in 0_u64..500,
            most in 0_u64..20_000,
            gaps in prop::collection::vec(0_u64..2_000, 0..60),
        ) {
            let policy = Restart::on_failure()
                .backoff(Duration::from_millis(first), Duration::from_millis(most))
                .limit(limit, Duration::from_millis(window));
            let start = Instant::now();
            let (mut history, mut granted) = (History::new(policy.clone()), Vec::new());
            let mut now = Duration::ZERO;
            for gap in gaps {
                now += Duration::from_millis(gap);
                let expected = oracle(&policy, &granted, now);
                prop_assert_eq!(history.ended(true, start + now), expected);
                if expected != Decision::GiveUp {
                    granted.push(now);
                }
                prop_assert!(history.recent.len() <= limit as usize);
            }
        }

        #[test]
        fn never_more_restarts_in_a_window_than_the_limit(
            limit in 0_u32..8,
            window in 1_u64..3_000,
            gaps in prop::collection::vec(0_u64..700, 1..80),
        ) {
            let policy = Restart::on_failure().limit(limit, Duration::from_millis(window));
            let start = Instant::now();
            let mut history = History::new(policy);
            let (mut now, mut restarts) = (Duration::ZERO, Vec::new());
            for gap in gaps {
                now += Duration::from_millis(gap);
                if let Decision::After(_) = history.ended(true, start + now) {
                    restarts.push(now);
                }
            }
            for at in &restarts {
                let inside = restarts.iter().filter(|other| {
                    **other >= *at && **other - *at < Duration::from_millis(window)
                });
                prop_assert!(inside.count() <= limit as usize);
            }
        }
    }

    #[test]
    fn each_policy_tells_an_end_from_a_failure() {
        let decide = |policy: Restart, failed| History::new(policy).ended(failed, Instant::now());
        let again = Decision::After(Duration::from_millis(100));
        assert_eq!([false, true].map(|failed| decide(Restart::always(), failed)), [again, again]);
        let on_failure = [false, true].map(|failed| decide(Restart::on_failure(), failed));
        assert_eq!(on_failure, [Decision::Done, again]);
        let once = [false, true].map(|failed| decide(Restart::once(), failed));
        assert_eq!(once, [Decision::Done, Decision::Done]);
        let never = [false, true].map(|failed| decide(Restart::never(), failed));
        assert_eq!(never, [Decision::Done, Decision::GiveUp]);
    }

    #[test]
    fn one_without_a_limit_is_never_given_up_and_remembers_little() {
        let mut history = History::new(Restart::always().unlimited());
        let now = Instant::now();
        for _ in 0..1_000 {
            assert!(matches!(history.ended(true, now), Decision::After(_)));
        }
        assert_eq!(history.recent.len(), REMEMBERED);
        assert_eq!(history.ended(false, now), Decision::After(Duration::from_secs(10)));
    }

    #[test]
    fn never_gives_up_at_once() {
        let mut history = History::new(Restart::never());
        assert_eq!(history.ended(true, Instant::now()), Decision::GiveUp);
    }

    #[test]
    fn the_longest_durations_do_not_overflow() {
        let policy = Restart::on_failure()
            .backoff(Duration::MAX, Duration::MAX)
            .limit(u32::MAX, Duration::MAX);
        let (mut history, now) = (History::new(policy), Instant::now());
        for _ in 0..70 {
            assert_eq!(history.ended(true, now), Decision::After(Duration::MAX));
        }
    }
}
