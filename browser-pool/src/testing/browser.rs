//! The browsers and pages of the fake.

use super::FakeDriver;
use crate::driver::{Ending, LiveBrowser, News};
use crate::error::{Loss, OpError};
use crate::report::{BrowserReport, LeftBehind};
use crate::request::ContextOptions;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// A launched fake.
#[derive(Debug)]
pub struct FakeBrowser {
    pub(super) number: u64,
    pub(super) driver: FakeDriver,
    pub(super) driving: watch::Receiver<()>,
}

/// A page of a fake.
#[derive(Debug)]
pub struct FakePage {
    pub(super) id: u64,
    pub(super) context: u64,
    pub(super) browser: u64,
    pub(super) driver: FakeDriver,
    pub(super) driving: watch::Receiver<()>,
}

impl FakePage {
    /// The number of the page.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The number of the context that the page is in.
    pub fn context(&self) -> u64 {
        self.context
    }

    /// Opens another page in the same context, as a script of the page does; its number. `None` when the
    /// browser is gone.
    pub fn open_popup(&self) -> Option<u64> {
        let mut world = self.driver.world();
        world.next += 1;
        let page = world.next;
        let machine = world.browsers.get_mut(&self.browser)?;
        machine.pages.insert(page, self.context);
        let (context, key) = (self.context.to_string(), page.to_string());
        drop(machine.news.send(News::PopupOpened { context, page: key }));
        Some(page)
    }

    /// Closes a page that was opened so.
    pub fn close_popup(&self, page: u64) {
        if let Some(machine) = self.driver.world().browsers.get_mut(&self.browser) {
            machine.remove(page);
        }
    }

    /// A call that the browser answers after this time, or that fails when the connection goes.
    ///
    /// # Errors
    ///
    /// [`Loss::Disconnected`] when the connection goes first, or the page is not there any more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn call(&self, takes: Duration) -> Result<(), Loss> {
        answer(&self.driver, self.browser, &self.driving, takes)
            .await
            .map_err(|_| Loss::Disconnected)?;
        let world = self.driver.world();
        let there =
            world.browsers.get(&self.browser).is_some_and(|m| m.pages.contains_key(&self.id));
        if there { Ok(()) } else { Err(Loss::Disconnected) }
    }
}

/// Waits as the browser would, unless it is gone or frozen.
async fn answer(
    driver: &FakeDriver,
    browser: u64,
    driving: &watch::Receiver<()>,
    takes: Duration,
) -> Result<(), OpError> {
    let gone = || OpError::Lost(Loss::Disconnected);
    let mut driving = driving.clone();
    let work = async {
        if !takes.is_zero() {
            sleep(takes).await;
        }
        let frozen = driver.world().browsers.get(&browser).is_none_or(|machine| machine.frozen);
        if frozen {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        _ = driving.changed() => Err(gone()),
        () = work => Ok(()),
    }
}

impl FakeBrowser {
    async fn make(&self) -> Result<u64, OpError> {
        let takes = self.driver.world().script.make;
        answer(&self.driver, self.number, &self.driving, takes).await?;
        let mut world = self.driver.world();
        if world.script.failing_makes > 0 {
            world.script.failing_makes -= 1;
            return Err(OpError::driver("scripted failure"));
        }
        world.next += 1;
        Ok(world.next)
    }

    fn die(&self) -> BrowserReport {
        let mut world = self.driver.world();
        world.browsers.remove(&self.number);
        let report = BrowserReport::new();
        if world.script.leave_directory {
            let path = format!("/fake/{}", self.number).into();
            return report.with_left(LeftBehind::Directory { path, reason: "scripted".into() });
        }
        report
    }
}

impl LiveBrowser for FakeBrowser {
    type Handle = u64;
    type Page = FakePage;
    type Context = u64;

    fn handle(&self) -> &u64 {
        &self.number
    }

    fn page_key(&self, page: &FakePage) -> String {
        page.id.to_string()
    }

    fn context_key(&self, context: &u64) -> String {
        context.to_string()
    }

    fn downloads<'a>(&self, _context: &'a u64) -> Option<&'a Path> {
        None
    }

    async fn ping(&self) -> Result<(), OpError> {
        answer(&self.driver, self.number, &self.driving, Duration::ZERO).await
    }

    async fn new_context(&self, options: &ContextOptions) -> Result<u64, OpError> {
        if self.driver.world().script.refuse_options && *options != ContextOptions::default() {
            return Err(OpError::driver("scripted refusal"));
        }
        let id = self.make().await?;
        if let Some(machine) = self.driver.world().browsers.get_mut(&self.number) {
            machine.contexts.insert(id);
        }
        Ok(id)
    }

    async fn dispose_context(&self, context: &u64) -> Result<(), OpError> {
        let stuck = {
            let mut world = self.driver.world();
            let stuck = world.script.stuck_disposals > 0;
            world.script.stuck_disposals -= u32::from(stuck);
            stuck
        };
        if stuck {
            std::future::pending::<()>().await;
        }
        let takes = self.driver.world().script.dispose;
        answer(&self.driver, self.number, &self.driving, takes).await?;
        if let Some(machine) = self.driver.world().browsers.get_mut(&self.number) {
            machine.contexts.remove(context);
            machine.pages.retain(|_, owner| owner != context);
        }
        Ok(())
    }

    async fn new_page(&self, context: &u64) -> Result<FakePage, OpError> {
        let id = self.make().await?;
        if let Some(machine) = self.driver.world().browsers.get_mut(&self.number) {
            machine.pages.insert(id, *context);
        }
        let (driver, driving) = (self.driver.clone(), self.driving.clone());
        Ok(FakePage { id, context: *context, browser: self.number, driver, driving })
    }

    async fn close_page(&self, page: &FakePage) -> Result<(), OpError> {
        let takes = self.driver.world().script.dispose;
        answer(&self.driver, self.number, &self.driving, takes).await?;
        if let Some(machine) = self.driver.world().browsers.get_mut(&self.number) {
            machine.pages.remove(&page.id);
        }
        Ok(())
    }

    async fn close_popup(&self, page: &str) -> Result<(), OpError> {
        let takes = self.driver.world().script.dispose;
        answer(&self.driver, self.number, &self.driving, takes).await?;
        if let (Some(machine), Ok(page)) =
            (self.driver.world().browsers.get_mut(&self.number), page.parse::<u64>())
        {
            machine.remove(page);
        }
        Ok(())
    }

    async fn reset_page(&self, context: &u64, _used: &FakePage) -> Result<FakePage, OpError> {
        answer(&self.driver, self.number, &self.driving, Duration::ZERO).await?;
        {
            let mut world = self.driver.world();
            if world.script.failing_resets > 0 {
                world.script.failing_resets -= 1;
                return Err(OpError::driver("scripted failure"));
            }
            if let Some(machine) = world.browsers.get_mut(&self.number) {
                machine.pages.retain(|_, owner| owner != context);
            }
        }
        self.new_page(context).await
    }

    fn memory(&self) -> Option<u64> {
        Some(self.driver.world().script.memory)
    }

    async fn end(&self, how: Ending) -> BrowserReport {
        if let Ending::Graceful(bound) = how {
            let takes = self.driver.world().script.close.min(bound);
            sleep(takes).await;
        }
        self.die()
    }

    fn end_now(&self, _bound: Duration) -> BrowserReport {
        self.die()
    }
}
