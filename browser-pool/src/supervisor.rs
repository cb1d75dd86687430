//! One task for each browser: it launches it, drives it, watches it, and tears it down.
//!
//! The task owns the connection. Whatever ends the browser, the connection is dropped first, so every
//! pending call on the browser and its pages fails at once, and only then is the rest torn down.

use crate::driver::{Driver, Ending, IN_A_DROP, Launch, Launched, LiveBrowser, News};
use crate::error::{LaunchError, Loss, OpError};
use crate::jobs::{self, Command, Done};
use crate::report::{BrowserReport, EndReason};
use crate::request::LaunchProfile;
use crate::shell::Core;
use crate::state::{Event, SlotId};
use crate::tasks;
use crate::trace;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

/// How much longer than its limit a driver may take to give up a launch.
const MARGIN: Duration = Duration::from_secs(1);

/// Why the browser ends.
enum End {
    Ordered(EndReason),
    Lost(Loss),
}

/// The whole life of one browser. A future that is dropped before its first poll, by a runtime that
/// ends, frees the slot like any other.
pub(crate) fn supervise<D: Driver>(
    core: Arc<Core<D>>,
    slot: SlotId,
    profile: Arc<LaunchProfile>,
    commands: UnboundedReceiver<Command<D::Browser>>,
) -> impl Future<Output = ()> + Send + 'static {
    let guard = Guard { core, slot, live: None, done: false };
    live(guard, profile, commands)
}

async fn live<D: Driver>(
    mut guard: Guard<D>,
    profile: Arc<LaunchProfile>,
    mut commands: UnboundedReceiver<Command<D::Browser>>,
) {
    let (core, slot) = (guard.core.clone(), guard.slot);
    let launched = match launch(&core, slot, profile, &mut commands).await {
        Ok(launched) => launched,
        Err(error) => {
            guard.done = true;
            core.driver.called_off(core.id, slot.0);
            core.launch_failed(slot, error);
            return;
        }
    };
    let Launched { browser, mut drive, mut news } = launched;
    let live = Arc::new(browser);
    guard.live = Some(live.clone());
    trace::launched(slot.0);
    core.hooks.call(|hooks| hooks.after_launch(slot.0, None));
    core.launched(slot, &live);

    let mut jobs: FuturesUnordered<BoxFuture<'static, Done<D::Browser>>> = FuturesUnordered::new();
    let mut health = Box::pin(health(&core, slot, live.clone()));
    let end = loop {
        tokio::select! {
            loss = &mut drive => break End::Lost(loss),
            () = &mut health => break End::Lost(Loss::Unresponsive),
            Some(news) = news.recv() => match news {
                News::PageCrashed(page) => core.page_lost(slot, &page, &Loss::PageCrashed),
                News::PageFlooded(page) => core.page_lost(slot, &page, &Loss::PageFlooded),
                News::PopupOpened { context, page } => core.popup_opened(slot, &context, page),
                News::PageGone(page) => core.page_gone(slot, page),
            },
            Some(done) = jobs.next(), if !jobs.is_empty() => settle(&core, slot, done),
            command = commands.recv() => match command {
                Some(Command::Close { reason }) => break End::Ordered(reason),
                Some(command) => {
                    let job = jobs::run(live.clone(), slot, command, core.config.op_timeout);
                    jobs.push(Box::pin(job));
                }
                // The pool forgot this browser: it cannot be leased, so it must not live.
                None => break End::Ordered(EndReason::PoolEnded),
            },
        }
    };
    let started = tokio::time::Instant::now();
    let (reason, report) = match end {
        End::Lost(loss) => {
            drop((drive, jobs, health));
            core.lost(slot, &loss);
            (EndReason::Lost(loss), live.end(Ending::Kill).await)
        }
        End::Ordered(reason) => {
            drop((jobs, health));
            let asked = drive_through(drive, live.end(core.ending()));
            let report = tokio::select! {
                report = asked => report,
                () = core.hurried() => live.end(Ending::Kill).await,
            };
            (reason, report)
        }
    };
    guard.finish(reason, report, started.elapsed());
}

/// Launches, unless the pool calls it off.
async fn launch<D: Driver>(
    core: &Arc<Core<D>>,
    slot: SlotId,
    profile: Arc<LaunchProfile>,
    commands: &mut UnboundedReceiver<Command<D::Browser>>,
) -> Result<Launched<D::Browser>, LaunchError> {
    let mut changed = LaunchProfile::clone(&profile);
    // What a hook that panics has changed by then is half a change.
    let is_whole = core.hooks.call(|hooks| hooks.before_launch(slot.0, &mut changed));
    let profile = if is_whole { changed } else { LaunchProfile::clone(&profile) };
    let limit = core.config.launch_timeout;
    // The driver knows more about what was late, so it comes first.
    let hard = limit + MARGIN;
    let mut launch = Launch::new(slot.0, profile);
    launch.pool = core.id;
    launch.timeout = limit;
    launch.op_timeout = core.config.op_timeout;
    let called_off = async {
        loop {
            match commands.recv().await {
                Some(Command::Close { .. }) | None => return,
                // Nothing else is ordered before the browser is there.
                Some(_) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = called_off => Err(LaunchError::CalledOff),
        launched = timeout(hard, core.driver.launch(launch)) => launched.unwrap_or_else(|_| {
            Err(LaunchError::TimedOut { phase: "the launch", after: limit, stderr: String::new() })
        }),
    }
}

/// Resolves when the browser left a probe unanswered. Measures its memory on the way.
async fn health<D: Driver>(core: &Arc<Core<D>>, slot: SlotId, live: Arc<D::Browser>) {
    loop {
        sleep(core.config.probe_interval).await;
        match timeout(core.config.probe_timeout, answered(&*live)).await {
            Ok(Ok(())) => {}
            // An error is an answer: only silence, or a lost connection, means that it is gone.
            Ok(Err(OpError::Driver(_))) => {}
            Ok(Err(_)) | Err(_) => return,
        }
        if core.config.max_memory.is_some() {
            measure(core, slot, &live).await;
        }
    }
}

/// Resolves when the browser has answered, or is lost. A single call may have less time than the caller:
/// when it was not answered in it, that is no answer, and the browser is asked again.
pub(crate) async fn answered<B: LiveBrowser>(live: &B) -> Result<(), OpError> {
    loop {
        match live.ping().await {
            Err(OpError::TimedOut { .. }) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

/// Measures one browser and tells the state.
pub(crate) async fn measure<D: Driver>(core: &Arc<Core<D>>, slot: SlotId, live: &Arc<D::Browser>) {
    let live = live.clone();
    if let Some(Some(memory)) = tasks::blocking(move || live.memory()).await {
        core.apply(Event::Measured { slot, memory });
    }
}

/// Tells the state what a job came to.
fn settle<D: Driver>(core: &Arc<Core<D>>, slot: SlotId, done: Done<D::Browser>) {
    match done {
        Done::Made(unit, cell) => core.made(unit, cell),
        Done::NotMade { unit, error, hung } => {
            trace::make_failed(slot.0, &error);
            core.apply(Event::MakeFailed { slot, unit, error: Arc::new(error), hung });
        }
        Done::Reset(unit, cell) => core.was_reset(unit, cell),
        Done::Disposed { unit, well } => core.apply(Event::Disposed { slot, unit, well }),
        Done::PageClosed(place) => core.page_closed(place),
        Done::Nothing => {}
    }
}

/// Keeps the connection going while the browser ends, as long as there is one.
async fn drive_through(
    drive: impl Future<Output = Loss>,
    ending: impl Future<Output = BrowserReport>,
) -> BrowserReport {
    tokio::pin!(ending);
    {
        tokio::pin!(drive);
        tokio::select! {
            report = &mut ending => return report,
            _ = &mut drive => {}
        }
    }
    ending.await
}

/// Ends the browser when its task is dropped or panics before it has.
struct Guard<D: Driver> {
    core: Arc<Core<D>>,
    slot: SlotId,
    live: Option<Arc<D::Browser>>,
    done: bool,
}

impl<D: Driver> Guard<D> {
    fn finish(&mut self, reason: EndReason, mut report: BrowserReport, elapsed: Duration) {
        self.done = true;
        report.browser = self.slot.0;
        report.reason = Some(reason);
        report.elapsed = elapsed;
        self.core.closed(self.slot, report);
    }
}

impl<D: Driver> Drop for Guard<D> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let panicked = std::thread::panicking();
        if !panicked {
            self.core.lose_runtime();
        }
        let Some(live) = self.live.take() else {
            self.core.driver.called_off(self.core.id, self.slot.0);
            let error = if panicked { LaunchError::Panicked } else { LaunchError::CalledOff };
            self.core.launch_failed(self.slot, error);
            return;
        };
        let loss = if panicked { Loss::Client("its task panicked".into()) } else { Loss::Closed };
        self.core.lost(self.slot, &loss);
        let report = live.end_now(IN_A_DROP);
        let reason = if panicked { EndReason::Lost(loss) } else { EndReason::PoolEnded };
        self.finish(reason, report, Duration::ZERO);
    }
}
