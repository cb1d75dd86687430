//! Every event that the pool emits, in one place; empty functions without the `tracing` feature.

use crate::error::{LaunchError, Loss};
use crate::report::{BrowserReport, EndReason};

/// The span of one lease, or nothing.
#[derive(Debug, Clone)]
pub(crate) struct LeaseSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl LeaseSpan {
    pub(crate) fn new(lease: u64, browser: u64) -> Self {
        #[cfg(not(feature = "tracing"))]
        let _ = (lease, browser);
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::info_span!("lease", lease, browser),
        }
    }

    /// Says inside the span how the lease ended.
    pub(crate) fn ended(&self, condition: &str) {
        #[cfg(feature = "tracing")]
        self.span.in_scope(|| tracing::debug!(condition, "lease ended"));
        #[cfg(not(feature = "tracing"))]
        let _ = condition;
    }
}

macro_rules! events {
    ($($level:ident $name:ident($($arg:ident: $type:ty),*) $fields:tt $text:literal;)*) => {$(
        pub(crate) fn $name($($arg: $type),*) {
            #[cfg(feature = "tracing")]
            events!(@emit $level $fields $text);
            #[cfg(not(feature = "tracing"))]
            { $(let _ = $arg;)* }
        }
    )*};
    (@emit $level:ident { $($fields:tt)* } $text:literal) => {
        tracing::$level!($($fields)* $text)
    };
}

events! {
    info launched(browser: u64) { browser, } "browser launched";
    warn launch_failed(browser: u64, error: &LaunchError) { browser, %error, } "launch failed";
    info retired(browser: u64, reason: &EndReason) { browser, reason = reason.name(), } "browser retired";
    warn lost(browser: u64, loss: &Loss) { browser, %loss, } "browser lost";
    info ended(report: &BrowserReport) {
        browser = report.browser, killed = report.killed, left = report.left.len(),
    } "browser ended";
    warn page_lost(browser: u64, loss: &Loss) { browser, %loss, } "page lost";
    warn make_failed(browser: u64, error: &crate::error::OpError) { browser, %error, } "unit not made";
    error hook_panicked() {} "a hook panicked";
}
