//! A scripted driver: everything the pool does, without a browser.
//!
//! For tests of code that uses a pool, and for the pool's own race tests. The fake counts what is
//! alive, so a test can say that nothing was left.
//!
//! ```
//! use lastout_browser_pool::testing::FakeDriver;
//! use lastout_browser_pool::{Pool, PoolConfig};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fake = FakeDriver::new();
//! let pool = Pool::start(fake.clone(), PoolConfig::default())?;
//! let page = pool.page().await?;
//! assert_eq!(fake.alive().browsers, 1);
//! page.release();
//! let report = pool.drain(Duration::from_secs(5)).await;
//! assert!(report.is_clean());
//! assert_eq!(fake.alive().browsers, 0);
//! # Ok(())
//! # }
//! ```

mod browser;

pub use self::browser::{FakeBrowser, FakePage};

use crate::driver::{Driver, Launch, Launched, News};
use crate::error::{LaunchError, Loss};
use crate::request::LaunchProfile;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// What the next operations do.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Script {
    /// How long a launch takes.
    pub launch: Duration,
    /// How long making a context or a page takes.
    pub make: Duration,
    /// How long ending a context or a page takes.
    pub dispose: Duration,
    /// How long a browser takes to end when it is asked.
    pub close: Duration,
    /// How many of the next launches fail.
    pub failing_launches: u32,
    /// Whether launches that fail are hopeless.
    pub permanent: bool,
    /// How many of the next contexts and pages fail.
    pub failing_makes: u32,
    /// Whether contexts with options of their own are refused.
    pub refuse_options: bool,
    /// How many of the next contexts do not end when they are told to.
    pub stuck_disposals: u32,
    /// How many of the next resets fail.
    pub failing_resets: u32,
    /// Whether launches never return.
    pub launch_hangs: bool,
    /// Whether browsers leave a directory behind when they end.
    pub leave_directory: bool,
    /// What a browser says its memory is.
    pub memory: u64,
}

/// What is alive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alive {
    /// Browsers.
    pub browsers: usize,
    /// Contexts on living browsers.
    pub contexts: usize,
    /// Pages on living browsers.
    pub pages: usize,
}

#[derive(Debug, Default)]
struct World {
    script: Script,
    browsers: BTreeMap<u64, Machine>,
    launched: u64,
    profiles: Vec<LaunchProfile>,
    next: u64,
}

/// A fake process.
#[derive(Debug)]
struct Machine {
    fate: watch::Sender<Option<Loss>>,
    frozen: bool,
    contexts: BTreeSet<u64>,
    pages: BTreeMap<u64, u64>,
    news: mpsc::UnboundedSender<News>,
}

impl Machine {
    fn remove(&mut self, page: u64) {
        if self.pages.remove(&page).is_some() {
            drop(self.news.send(News::PageGone(page.to_string())));
        }
    }
}

/// The driver; clones share one world.
#[derive(Debug, Clone, Default)]
pub struct FakeDriver {
    world: Arc<Mutex<World>>,
}

impl FakeDriver {
    /// A world in which everything works at once.
    pub fn new() -> Self {
        Self::default()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the next operations do.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.world().script);
    }

    /// What is alive now.
    pub fn alive(&self) -> Alive {
        let world = self.world();
        let machines = || world.browsers.values();
        Alive {
            browsers: machines().count(),
            contexts: machines().map(|machine| machine.contexts.len()).sum(),
            pages: machines().map(|machine| machine.pages.len()).sum(),
        }
    }

    /// Launches that succeeded so far.
    pub fn launched(&self) -> u64 {
        self.world().launched
    }

    /// What the launches that succeeded were asked to start with, in their order.
    pub fn profiles(&self) -> Vec<LaunchProfile> {
        self.world().profiles.clone()
    }

    /// The numbers of the living browsers.
    pub fn browsers(&self) -> Vec<u64> {
        self.world().browsers.keys().copied().collect()
    }

    /// Ends a browser as `kill -9` would; `false` when it is not alive.
    pub fn crash(&self, browser: u64) -> bool {
        let machine = self.world().browsers.remove(&browser);
        let status = Some("signal 9".into());
        machine.is_some_and(|m| m.fate.send(Some(Loss::Exited { status })).is_ok())
    }

    /// Stops a browser: it lives, but answers nothing.
    pub fn freeze(&self, browser: u64) {
        if let Some(machine) = self.world().browsers.get_mut(&browser) {
            machine.frozen = true;
        }
    }

    /// Crashes the renderers of all pages of a browser.
    pub fn crash_pages(&self, browser: u64) {
        if let Some(machine) = self.world().browsers.get(&browser) {
            let crash = |page: &u64| machine.news.send(News::PageCrashed(page.to_string()));
            machine.pages.keys().for_each(|page| drop(crash(page)));
        }
    }

    /// Crashes the renderer of a page.
    pub fn crash_page(&self, page: &FakePage) {
        if let Some(machine) = self.world().browsers.get(&page.browser) {
            drop(machine.news.send(News::PageCrashed(page.id.to_string())));
        }
    }
}

impl Driver for FakeDriver {
    type Browser = FakeBrowser;

    async fn launch(&self, launch: Launch) -> Result<Launched<FakeBrowser>, LaunchError> {
        let script = self.world().script.clone();
        if script.launch_hangs {
            std::future::pending::<()>().await;
        }
        if !script.launch.is_zero() {
            sleep(script.launch).await;
        }
        let mut world = self.world();
        if world.script.failing_launches > 0 {
            world.script.failing_launches -= 1;
            return Err(if script.permanent {
                LaunchError::NotFound { searched: vec!["/nowhere".into()] }
            } else {
                LaunchError::Exited { status: Some("exit 1".into()), stderr: "scripted".into() }
            });
        }
        let (fate, mut seen) = watch::channel(None);
        let (news, told) = mpsc::unbounded_channel();
        let (contexts, pages) = Default::default();
        let machine = Machine { fate, frozen: false, contexts, pages, news };
        world.browsers.insert(launch.browser, machine);
        world.launched += 1;
        world.profiles.push(LaunchProfile::clone(&launch.profile));
        let (driven, driving) = watch::channel(());
        let drive = Box::pin(async move {
            let _driven = driven;
            let loss = seen.wait_for(Option::is_some).await.map(|loss| loss.clone());
            loss.ok().flatten().unwrap_or(Loss::Disconnected)
        });
        let browser = FakeBrowser { number: launch.browser, driver: self.clone(), driving };
        Ok(Launched { browser, drive, news: told })
    }
}
