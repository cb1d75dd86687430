//! The limits of a pool, checked before anything is launched.

use crate::request::{Isolation, LaunchProfile};
use std::fmt;
use std::time::Duration;

/// Browsers, contexts and pages above which a configuration is a mistake and not a wish.
const MOST: usize = 10_000;

/// Longer times are taken as this one, thirty years, so that no sum of an instant and a time overflows.
pub(crate) const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// How many browsers a pool keeps, what it gives out, and when each of them ends.
///
/// Built by [`PoolConfig::builder`]; the default is a pool of at most four browsers.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    pub(crate) max_browsers: usize,
    pub(crate) max_contexts: usize,
    pub(crate) max_pages: usize,
    pub(crate) max_queue: usize,
    pub(crate) warm_browsers: usize,
    pub(crate) spares: usize,
    pub(crate) isolation: Isolation,
    pub(crate) profile: LaunchProfile,
    pub(crate) acquire_timeout: Duration,
    pub(crate) launch_timeout: Duration,
    pub(crate) op_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) probe_interval: Duration,
    pub(crate) probe_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_leases: Option<u64>,
    pub(crate) max_lease: Option<Duration>,
    pub(crate) max_memory: Option<u64>,
    pub(crate) max_errors: u32,
    pub(crate) retire_limit: Option<Duration>,
    pub(crate) min_free_memory: Option<u64>,
    pub(crate) backoff_first: Duration,
    pub(crate) backoff_most: Duration,
    pub(crate) circuit_after: u32,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_browsers: 4,
            max_contexts: 8,
            max_pages: 64,
            max_queue: 1024,
            warm_browsers: 0,
            spares: 1,
            isolation: Isolation::Context,
            profile: LaunchProfile::default(),
            acquire_timeout: Duration::from_secs(30),
            launch_timeout: Duration::from_secs(20),
            op_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_secs(5),
            idle_timeout: Some(Duration::from_secs(30 * 60)),
            max_age: None,
            max_leases: None,
            max_lease: None,
            max_memory: None,
            max_errors: 3,
            retire_limit: None,
            min_free_memory: None,
            backoff_first: Duration::from_millis(250),
            backoff_most: Duration::from_secs(30),
            circuit_after: 3,
        }
    }
}

impl PoolConfig {
    /// Starts from the defaults.
    pub fn builder() -> PoolConfigBuilder {
        PoolConfigBuilder(Self::default())
    }

    fn within_reason(mut self) -> Self {
        let always = [
            &mut self.acquire_timeout,
            &mut self.launch_timeout,
            &mut self.op_timeout,
            &mut self.close_timeout,
            &mut self.probe_interval,
            &mut self.probe_timeout,
            &mut self.backoff_first,
            &mut self.backoff_most,
        ];
        let perhaps = [
            &mut self.idle_timeout,
            &mut self.max_age,
            &mut self.max_lease,
            &mut self.retire_limit,
        ];
        for span in always.into_iter().chain(perhaps.into_iter().flatten()) {
            *span = (*span).min(FOREVER);
        }
        self
    }
}

/// Collects a [`PoolConfig`]; [`build`](Self::build) checks it.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct PoolConfigBuilder(PoolConfig);

/// Defines one setter for each knob, with its documentation.
macro_rules! knobs {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.0.$name = $name;
            self
        }
    )*};
}

impl PoolConfigBuilder {
    knobs! {
        /// Browser processes at most, those that are launching and closing included. Default 4.
        max_browsers: usize;
        /// Contexts or shared pages in one browser at most, spares included. Default 8.
        max_contexts: usize;
        /// Pages in one browser at most, those that a context lease opens included. Default 64.
        max_pages: usize;
        /// Callers that may wait at a time; the next one is refused. Default 1024.
        max_queue: usize;
        /// Browsers of the default profile that are kept running without any lease. Default 0.
        warm_browsers: usize;
        /// Units of the default kind made ahead on running browsers. Default 1.
        spares: usize;
        /// How far one lease is from the next. Default [`Isolation::Context`].
        isolation: Isolation;
        /// What browsers are started with unless a lease asks for something else.
        profile: LaunchProfile;
        /// Bound of queueing, launch and creation together, unless a lease brings its own. Default 30 s.
        acquire_timeout: Duration;
        /// Bound of one launch, until the browser has answered. Default 20 s.
        launch_timeout: Duration;
        /// Bound of every command that a page or a browser is asked. Default 30 s.
        op_timeout: Duration;
        /// Bound of the graceful part of closing one browser. Default 5 s.
        close_timeout: Duration;
        /// Pause between two health probes of a browser. Default 1 s.
        probe_interval: Duration;
        /// A browser that leaves a probe unanswered for so long is taken for hung. Default 5 s.
        probe_timeout: Duration;
        /// A browser without any lease for so long is closed; `None` keeps it. Default 30 min.
        idle_timeout: Option<Duration>;
        /// A browser of this age gets no new leases and is closed after its last one.
        max_age: Option<Duration>;
        /// A browser is retired after so many leases.
        max_leases: Option<u64>;
        /// A lease that is out for so long is revoked, and what it stands on is ended: for work that may hang
        /// and whose holder does not see it. Default: no limit.
        max_lease: Option<Duration>;
        /// A browser whose processes together use more than this many bytes (PSS) is retired.
        max_memory: Option<u64>;
        /// A browser is retired after so many failed leases or creations. Default 3.
        max_errors: u32;
        /// A retired browser is closed after this time even when a lease is still out.
        retire_limit: Option<Duration>;
        /// Nothing is launched or made ahead while fewer bytes of memory can be had: on the machine, or
        /// within the limits of this process's control groups (version 2).
        min_free_memory: Option<u64>;
        /// Pause after a first failed launch; doubled by each further one. Default 250 ms.
        backoff_first: Duration;
        /// The longest pause between two launches that fail. Default 30 s.
        backoff_most: Duration;
        /// After so many failed launches in a row waiting callers get the error at once. Default 3.
        circuit_after: u32;
    }

    /// Checks every limit. Times of more than thirty years, such as `Duration::MAX`, mean thirty years.
    ///
    /// # Errors
    ///
    /// Names the first knob whose value cannot work, and why.
    pub fn build(self) -> Result<PoolConfig, ConfigError> {
        let config = self.0.within_reason();
        let wrong = |knob, reason| Err(ConfigError { knob, reason });
        let counts = [
            ("max_browsers", config.max_browsers),
            ("max_contexts", config.max_contexts),
            ("max_pages", config.max_pages),
        ];
        for (knob, value) in counts {
            if value == 0 || value > MOST {
                return wrong(knob, "must be between 1 and 10000");
            }
        }
        let spans = [
            ("acquire_timeout", config.acquire_timeout),
            ("launch_timeout", config.launch_timeout),
            ("op_timeout", config.op_timeout),
            ("close_timeout", config.close_timeout),
            ("probe_interval", config.probe_interval),
            ("probe_timeout", config.probe_timeout),
            ("backoff_first", config.backoff_first),
            ("backoff_most", config.backoff_most),
            ("idle_timeout", config.idle_timeout.unwrap_or(Duration::MAX)),
            ("max_age", config.max_age.unwrap_or(Duration::MAX)),
            ("max_lease", config.max_lease.unwrap_or(Duration::MAX)),
            ("retire_limit", config.retire_limit.unwrap_or(Duration::MAX)),
        ];
        for (knob, value) in spans {
            if value < Duration::from_millis(1) {
                return wrong(knob, "must be at least one millisecond");
            }
        }
        if let Err(bad) = config.profile.check() {
            return wrong("profile", bad.reason);
        }
        if config.warm_browsers > config.max_browsers {
            return wrong("warm_browsers", "must not be more than max_browsers");
        }
        if config.spares > config.max_browsers.saturating_mul(config.max_contexts) {
            return wrong("spares", "must fit into max_browsers times max_contexts");
        }
        if config.max_leases == Some(0) {
            return wrong("max_leases", "must be at least 1");
        }
        if config.max_memory == Some(0) {
            return wrong("max_memory", "must be more than 0 bytes");
        }
        if config.max_errors == 0 || config.circuit_after == 0 {
            return wrong("max_errors, circuit_after", "must be at least 1");
        }
        if config.backoff_most < config.backoff_first {
            return wrong("backoff_most", "must not be less than backoff_first");
        }
        Ok(config)
    }
}

/// A limit that cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    knob: &'static str,
    reason: &'static str,
}

impl ConfigError {
    /// The knob that is wrong, by the name of its setter.
    pub fn knob(&self) -> &'static str {
        self.knob
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configure the pool: {} {}", self.knob, self.reason)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert!(PoolConfig::builder().build().is_ok());
    }

    #[test]
    fn each_impossible_limit_is_named() {
        let wrong = [
            (PoolConfig::builder().max_browsers(0), "max_browsers"),
            (PoolConfig::builder().max_contexts(0), "max_contexts"),
            (PoolConfig::builder().max_pages(MOST + 1), "max_pages"),
            (PoolConfig::builder().profile(LaunchProfile::new().proxy("")), "profile"),
            (PoolConfig::builder().warm_browsers(5), "warm_browsers"),
            (PoolConfig::builder().spares(33), "spares"),
            (PoolConfig::builder().max_leases(Some(0)), "max_leases"),
            (PoolConfig::builder().max_lease(Some(Duration::ZERO)), "max_lease"),
            (PoolConfig::builder().op_timeout(Duration::ZERO), "op_timeout"),
            (PoolConfig::builder().idle_timeout(Some(Duration::ZERO)), "idle_timeout"),
            (PoolConfig::builder().backoff_most(Duration::from_millis(1)), "backoff_most"),
        ];
        for (builder, knob) in wrong {
            assert_eq!(builder.build().unwrap_err().knob(), knob);
        }
    }
}
