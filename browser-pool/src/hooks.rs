//! What a user's own code may watch or add, called outside every lock.

use crate::contain::contain;
use crate::error::{LaunchError, Loss};
use crate::report::{BrowserReport, EndReason};
use crate::request::{LaunchProfile, UnitSpec};
use std::sync::Arc;
use std::time::Duration;

/// Called at the turns of a browser's and a lease's life. Every method has an empty default.
///
/// The calls are made in the task or thread that caused them, so they should be short. A panic is
/// contained and changes nothing.
pub trait Hooks: Send + Sync {
    /// Before a launch; may change what the browser is started with.
    fn before_launch(&self, browser: u64, profile: &mut LaunchProfile) {
        let _ = (browser, profile);
    }

    /// After a launch, with its error if it failed.
    fn after_launch(&self, browser: u64, error: Option<&LaunchError>) {
        let _ = (browser, error);
    }

    /// A lease is handed out.
    fn on_lease(&self, lease: &LeaseInfo) {
        let _ = lease;
    }

    /// A lease came back, or was revoked with this loss.
    fn on_release(&self, lease: &LeaseInfo, loss: Option<&Loss>) {
        let _ = (lease, loss);
    }

    /// A browser gets no more leases.
    fn on_retire(&self, browser: u64, reason: &EndReason) {
        let _ = (browser, reason);
    }

    /// A browser has ended.
    fn on_end(&self, report: &BrowserReport) {
        let _ = report;
    }
}

/// Which lease a hook is told about.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LeaseInfo {
    /// The number of the lease, unique in the pool.
    pub lease: u64,
    /// The browser that it is on.
    pub browser: u64,
    /// What was leased.
    pub unit: UnitSpec,
    /// How long the caller waited for it.
    pub waited: Duration,
}

/// No hooks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoHooks;

impl Hooks for NoHooks {}

/// Calls the user's hooks and contains their panics.
#[derive(Clone)]
pub(crate) struct Hooked(pub(crate) Arc<dyn Hooks>);

impl Hooked {
    /// Calls a hook; `false` when it panicked.
    pub(crate) fn call(&self, call: impl FnOnce(&dyn Hooks)) -> bool {
        let called = contain(|| call(&*self.0));
        if called.is_err() {
            crate::trace::hook_panicked();
        }
        called.is_ok()
    }
}
