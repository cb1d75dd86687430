//! Browsers that chromiumoxide launched: taken into the pool with their processes.

use super::config::Chrome;
use super::live::{ChromeBrowser, drive};
use super::process::Process;
use crate::driver::{Launched, News};
use crate::error::LaunchError;
use crate::pool::Pool;
use chromiumoxide::cdp::browser_protocol::target::EventTargetCrashed;
use chromiumoxide::{Browser, Handler};
use futures_util::StreamExt;
use lastout_proc_tree::Tree;
use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Browsers that wait for the launch that takes them in, by their pool and the number that it gave them:
/// the pools that share this driver count alike.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<BTreeMap<(u64, u64), Adopted>>);

impl Queue {
    pub(super) fn take(&self, pool: u64, browser: u64) -> Option<Adopted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(pool, browser))
    }

    fn put(&self, pool: u64, browser: u64, adopted: Adopted) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((pool, browser), adopted);
    }
}

/// A browser that somebody else launched.
#[derive(Debug)]
pub(super) struct Adopted {
    browser: Browser,
    handler: Handler,
    process: Arc<Process>,
}

impl Adopted {
    /// Connects what is connected already to the pool.
    pub(super) async fn launch(self) -> Result<Launched<ChromeBrowser>, LaunchError> {
        let Self { browser, handler, process } = self;
        let mut drive: std::pin::Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(drive(handler, pending()));
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| LaunchError::Connect {
            source: error,
            stderr: process.last_words(),
        };
        let listened = tokio::select! {
            events = browser.event_listener::<EventTargetCrashed>() => events,
            loss = &mut drive => return Err(failed(loss.to_string().into())),
        };
        let mut events = listened.map_err(|error| failed(Box::new(error)))?;
        let browser = ChromeBrowser::new(browser, None, process.clone());
        tokio::select! {
            answer = browser.first_answer() => answer.map_err(|error| failed(Box::new(error)))?,
            loss = &mut drive => return Err(failed(loss.to_string().into())),
        }
        let (news, told) = mpsc::unbounded_channel();
        let drive = Box::pin(async move {
            let told = async {
                while let Some(event) = events.next().await {
                    drop(news.send(News::PageCrashed(event.target_id.as_ref().to_owned())));
                }
                pending().await
            };
            tokio::select! {
                loss = drive => loss,
                never = told => never,
            }
        });
        Ok(Launched { browser, drive, news: told })
    }
}

impl Pool<Chrome> {
    /// Takes in a browser that `chromiumoxide` launched, with its handler. It serves and ends like one
    /// of the pool's own: at its end its whole process tree is killed, and `profile_dir`, when given,
    /// is removed with everything in it.
    ///
    /// What the pool's own browsers have beyond that does not hold for it: it opened a port, it does
    /// not end when this process is killed, its temporary files are where they are, it serves no lease that asks for
    /// a proxy or downloads, and a call on a page that crashed fails only after the client's own limit (use
    /// [`PageLease::run`](crate::PageLease::run), which does not wait for it).
    ///
    /// Returns the number that the pool gave it.
    ///
    /// # Errors
    ///
    /// [`AdoptError`]. When the pool is full or closed the browser is ended with its whole tree; in the
    /// other cases it is dropped, which kills its main process.
    pub fn adopt(
        &self,
        mut browser: Browser,
        handler: Handler,
        profile_dir: Option<PathBuf>,
    ) -> Result<u64, AdoptError> {
        if self.core().config.profile.proxy.is_some() {
            return Err(AdoptError::Proxy);
        }
        let child = browser.get_mut_child();
        let pid = child.and_then(|child| child.as_mut_inner().id()).ok_or(AdoptError::NoProcess)?;
        let tree =
            Tree::adopt(pid).map_err(|error| AdoptError::Tree { pid, source: Box::new(error) })?;
        let home = self.core().driver.inner.home.clone();
        let pool = self.core().id;
        let process = Arc::new(Process::adopted(pool, tree, profile_dir, home));
        let queue = &self.core().driver.inner.adopted;
        self.core()
            .adopt(|number| {
                queue.put(pool, number, Adopted { browser, handler, process });
            })
            .ok_or(AdoptError::Full)
    }
}

/// Why a browser was not taken in.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdoptError {
    /// It was not launched here, or has ended.
    NoProcess,
    /// Its process tree could not be taken over.
    Tree {
        /// Its pid.
        pid: u32,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The pool has `max_browsers` already, or is closed.
    Full,
    /// The pool's launch profile has a proxy, and nothing shows that the browser uses it.
    Proxy,
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProcess => f.write_str("adopt a browser: it has no process of this program"),
            Self::Tree { pid, .. } => write!(f, "adopt the browser with pid {pid}"),
            Self::Full => f.write_str("adopt a browser: the pool is full or closed"),
            Self::Proxy => f.write_str(
                "adopt a browser: the pool's launch profile has a proxy that it may not use",
            ),
        }
    }
}

impl std::error::Error for AdoptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tree { source, .. } => Some(&**source),
            Self::NoProcess | Self::Full | Self::Proxy => None,
        }
    }
}
