//! The pool as its users see it.

mod end;

use crate::config::{FOREVER, PoolConfig};
use crate::driver::{Driver, LiveBrowser};
use crate::error::{AcquireError, WithPageError};
use crate::hooks::{Hooked, Hooks, NoHooks};
use crate::lease::{BrowserLease, ContextLease, Granted, PageLease};
use crate::report::{BrowserReport, EndReason};
use crate::request::{Kind, LeaseOptions, UnitSpec};
use crate::shell::Core;
use crate::state::{Event, Phase, Slot, SlotId, WaiterId};
use crate::stats::{BrowserInfo, BrowserPhase, Stats};
use crate::tasks::Tasks;
use crate::{supervisor, ticker};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

/// A pool of browsers. Clones are handles of the same pool.
///
/// When the last handle is dropped without [`drain`](Self::drain) or
/// [`destroy_all`](Self::destroy_all), every browser is killed and its directory removed before the
/// drop returns, all at once, and leases that are still out are revoked. That takes milliseconds; after
/// two seconds, on a machine that is busy with much else, the rest goes to the cleanup worker. A browser
/// that is only being launched ends with its task, when the runtime next runs or ends.
pub struct Pool<D: Driver> {
    shared: Arc<Shared<D>>,
}

/// Dropped with the last handle; leases and supervisors hold only the core.
struct Shared<D: Driver> {
    core: Arc<Core<D>>,
}

impl<D: Driver> Clone for Pool<D> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<D: Driver> Pool<D> {
    /// Starts a pool on the current tokio runtime. Browsers are launched when they are needed, or at
    /// once when the configuration says that some are kept warm.
    ///
    /// # Errors
    ///
    /// [`StartError::NoRuntime`] outside a tokio runtime.
    pub fn start(driver: D, config: PoolConfig) -> Result<Self, StartError> {
        Self::start_with(driver, config, Arc::new(NoHooks))
    }

    /// The same, with hooks.
    ///
    /// # Errors
    ///
    /// [`StartError::NoRuntime`] outside a tokio runtime.
    pub fn start_with(
        driver: D,
        config: PoolConfig,
        hooks: Arc<dyn Hooks>,
    ) -> Result<Self, StartError> {
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let core = Arc::new(Core::new(driver, config, Hooked(hooks), Tasks::new(runtime)));
        core.tasks.start(ticker::tick(Arc::downgrade(&core), core.alarm.clone()));
        core.apply(Event::Tick);
        Ok(Self { shared: Arc::new(Shared { core }) })
    }

    /// Leases a page, isolated as the pool's configuration says.
    ///
    /// # Errors
    ///
    /// See [`AcquireError`]; the deadline covers queueing, launch and creation.
    ///
    /// # Cancel safety
    ///
    /// A dropped future gives its place back, and a unit that was made for it becomes stock.
    pub async fn page(&self) -> Result<PageLease<D>, AcquireError> {
        self.page_with(LeaseOptions::new()).await
    }

    /// Leases a page with options.
    ///
    /// # Errors
    ///
    /// See [`AcquireError`]; the deadline covers queueing, launch and creation.
    ///
    /// # Cancel safety
    ///
    /// A dropped future gives its place back, and a unit that was made for it becomes stock.
    pub async fn page_with(&self, options: LeaseOptions) -> Result<PageLease<D>, AcquireError> {
        let isolation = options.isolation.unwrap_or(self.core().config.isolation);
        Ok(PageLease::new(self.acquire(Kind::Page(isolation), options).await?))
    }

    /// Leases a page from stock, without waiting; `None` when none is there, or when others wait already.
    /// Nothing is launched or made for it.
    ///
    /// # Errors
    ///
    /// See [`AcquireError`].
    pub fn try_page(&self, options: LeaseOptions) -> Result<Option<PageLease<D>>, AcquireError> {
        let isolation = options.isolation.unwrap_or(self.core().config.isolation);
        let spec = self.unit(Kind::Page(isolation), &options)?;
        let granted = self.core().try_lease(options.profile, spec)?;
        Ok(granted.map(|mut granted| {
            granted.accept(std::time::Duration::ZERO);
            PageLease::new(granted)
        }))
    }

    /// Leases a fresh browser context.
    ///
    /// # Errors
    ///
    /// See [`AcquireError`]; the deadline covers queueing, launch and creation.
    ///
    /// # Cancel safety
    ///
    /// A dropped future gives its place back, and a unit that was made for it becomes stock.
    pub async fn context(&self) -> Result<ContextLease<D>, AcquireError> {
        self.context_with(LeaseOptions::new()).await
    }

    /// Leases a fresh browser context with options.
    ///
    /// # Errors
    ///
    /// See [`AcquireError`]; the deadline covers queueing, launch and creation.
    ///
    /// # Cancel safety
    ///
    /// A dropped future gives its place back, and a unit that was made for it becomes stock.
    pub async fn context_with(
        &self,
        options: LeaseOptions,
    ) -> Result<ContextLease<D>, AcquireError> {
        Ok(ContextLease::new(self.acquire(Kind::Context, options).await?))
    }

    /// Leases a whole browser that has never been leased before.
    ///
    /// # Errors
    ///
    /// See [`AcquireError`]; the deadline covers queueing, launch and creation.
    ///
    /// # Cancel safety
    ///
    /// A dropped future gives its place back, and a browser that was launched for it serves others.
    pub async fn browser(&self) -> Result<BrowserLease<D>, AcquireError> {
        self.browser_with(LeaseOptions::new()).await
    }

    /// Leases a whole browser with options.
    ///
    /// # Errors
    ///
    /// See [`AcquireError`]; the deadline covers queueing, launch and creation.
    ///
    /// # Cancel safety
    ///
    /// A dropped future gives its place back, and a browser that was launched for it serves others.
    pub async fn browser_with(
        &self,
        options: LeaseOptions,
    ) -> Result<BrowserLease<D>, AcquireError> {
        Ok(BrowserLease::new(self.acquire(Kind::Browser, options).await?))
    }

    /// Leases a page for one piece of work: released when the work succeeds, thrown away when it
    /// fails, and the work is cut short when the page is lost.
    ///
    /// # Errors
    ///
    /// The work's own error, or why there was no page for it, or how the page was lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the work and throws the page away.
    pub async fn with_page<T, E, F>(&self, work: F) -> Result<T, WithPageError<E>>
    where
        F: AsyncFnOnce(&<D::Browser as LiveBrowser>::Page) -> Result<T, E>,
    {
        self.with_page_with(LeaseOptions::new(), work).await
    }

    /// Leases a page with options for one piece of work, as [`with_page`](Self::with_page) does.
    ///
    /// # Errors
    ///
    /// The work's own error, or why there was no page for it, or how the page was lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the work and throws the page away.
    pub async fn with_page_with<T, E, F>(
        &self,
        options: LeaseOptions,
        work: F,
    ) -> Result<T, WithPageError<E>>
    where
        F: AsyncFnOnce(&<D::Browser as LiveBrowser>::Page) -> Result<T, E>,
    {
        let lease = self.page_with(options).await.map_err(WithPageError::Acquire)?;
        let result = tokio::select! {
            biased;
            result = work(&lease) => result,
            loss = lease.lost() => return Err(WithPageError::Lost(loss)),
        };
        match result {
            Ok(value) => {
                lease.release();
                Ok(value)
            }
            Err(error) => Err(lease.loss().map_or(WithPageError::Work(error), WithPageError::Lost)),
        }
    }

    /// Closes a browser as soon as its last lease has ended; it gets no new ones.
    pub fn retire(&self, browser: u64) {
        let slot = SlotId(browser);
        self.core().apply(Event::Retire { slot, reason: EndReason::Asked });
    }

    /// What the pool is doing and has done.
    pub fn stats(&self) -> Stats {
        self.core().read(|state, tally| {
            let counts = state.counts();
            let mut stats = Stats {
                waiting: state.waiting(),
                asked: counts.asked,
                granted: counts.granted,
                returned: counts.returned,
                revoked: counts.revoked,
                out: counts.granted - counts.returned - counts.revoked,
                refused: counts.refused,
                cancelled: counts.cancelled,
                from_stock: counts.from_stock,
                launches: counts.launches,
                launch_failures: counts.launch_failures,
                made: counts.made,
                make_failures: counts.make_failures,
                quarantined: counts.quarantined,
                ended: counts.ended.clone(),
                lost: tally.lost,
                page_crashes: tally.page_crashes,
                waits: tally.waits.clone(),
                ..Stats::default()
            };
            for (_, slot) in state.slots() {
                match slot.phase {
                    Phase::Launching => stats.launching += 1,
                    Phase::Ready => stats.ready += 1,
                    Phase::Retiring { .. } => stats.retiring += 1,
                    Phase::Closing { .. } => stats.closing += 1,
                }
                stats.spares += slot.spares();
                stats.units += slot.units.len();
                stats.pages += slot.pages();
                stats.memory += slot.memory.unwrap_or(0);
            }
            stats
        })
    }

    /// Every browser that the pool has at this moment, the oldest first.
    pub fn browsers(&self) -> Vec<BrowserInfo> {
        let now = Instant::now().into_std();
        let pids = self.core().live().into_iter().map(|(slot, live)| (slot, live.pid()));
        let pids: HashMap<_, _> = pids.collect();
        let info = |(number, slot): (SlotId, &Slot)| BrowserInfo {
            number: number.0,
            pid: pids.get(&number).copied().flatten(),
            phase: match slot.phase {
                Phase::Launching => BrowserPhase::Launching,
                Phase::Ready => BrowserPhase::Ready,
                Phase::Retiring { .. } => BrowserPhase::Retiring,
                Phase::Closing { .. } => BrowserPhase::Closing,
            },
            profile: slot.profile.clone(),
            age: now.saturating_duration_since(slot.born),
            leases: slot.leases(),
            spares: slot.spares(),
            units: slot.units.len(),
            pages: slot.pages(),
            served: slot.served,
            errors: slot.errors,
            memory: slot.memory,
        };
        self.core().read(|state, _| state.slots().map(info).collect())
    }

    /// Measures the memory of every browser now; [`stats`](Self::stats) shows it. Costs milliseconds
    /// for each process.
    ///
    /// # Cancel safety
    ///
    /// Browsers that were not reached keep their last value.
    pub async fn measure(&self) {
        for (slot, live) in self.core().live() {
            supervisor::measure(self.core(), slot, &live).await;
        }
    }

    /// The browsers that ended last, with what each left behind. At most 1024 are kept.
    pub fn reports(&self) -> Vec<BrowserReport> {
        self.core().read(|_, tally| tally.reports.iter().cloned().collect())
    }

    pub(crate) fn core(&self) -> &Arc<Core<D>> {
        &self.shared.core
    }

    fn numbers(&self) -> Vec<u64> {
        self.core().read(|state, _| state.slots().map(|(id, _)| id.0).collect())
    }

    fn unit(&self, kind: Kind, options: &LeaseOptions) -> Result<UnitSpec, AcquireError> {
        if options.context.proxy.is_some() && !self.core().driver.keeps_to_proxies() {
            let reason = "the driver lets traffic such as that of WebRTC go past a proxy";
            return Err(AcquireError::BadOption { option: "proxy", reason });
        }
        Ok(options.unit(kind)?)
    }

    async fn acquire(&self, kind: Kind, options: LeaseOptions) -> Result<Granted<D>, AcquireError> {
        let spec = self.unit(kind, &options)?;
        let core = self.core();
        let checked = options.profile.as_ref().map_or(Ok(()), |profile| core.driver.check(profile));
        checked.map_err(|error| AcquireError::Launch(Arc::new(error)))?;
        let after = options.deadline.unwrap_or(core.config.acquire_timeout).min(FOREVER);
        let started = Instant::now();
        let (waiter, answer) = core.ask(options.tenant, options.profile, spec);
        // A future that is dropped here drops the answer first, which gives an unused grant back,
        // and then takes the caller out of the queue.
        let waits = Waits { core, waiter };
        let answered = timeout_at(started + after, answer).await;
        match answered {
            Ok(Ok(Ok(mut granted))) => {
                drop(waits);
                granted.accept(started.elapsed());
                Ok(granted)
            }
            Ok(Ok(Err(refusal))) => Err(core.refusal(refusal)),
            Ok(Err(_)) => Err(AcquireError::Closed),
            Err(_) => Err(AcquireError::Deadline { after, waiting: core.waiting_for(waiter) }),
        }
    }
}

/// Takes the caller out of the queue when its future is dropped.
struct Waits<'a, D: Driver> {
    core: &'a Arc<Core<D>>,
    waiter: WaiterId,
}

impl<D: Driver> Drop for Waits<'_, D> {
    fn drop(&mut self) {
        self.core.cancel(self.waiter);
    }
}

impl<D: Driver> fmt::Debug for Pool<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("Pool")
            .field("browsers", &(stats.launching + stats.ready + stats.retiring + stats.closing))
            .field("out", &stats.out)
            .field("waiting", &stats.waiting)
            .finish()
    }
}

/// Why a pool could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// There is no tokio runtime here.
    NoRuntime,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("start a pool: no tokio runtime is entered here")
    }
}

impl std::error::Error for StartError {}
