//! Downloads that a caller can wait for, with the names that sites gave them.

use super::config::Chrome;
use super::live::{ChromeBrowser, ChromeContext, driver};
use crate::error::OpError;
use crate::lease::{ContextLease, PageLease};
use chromiumoxide::cdp::browser_protocol::browser::{
    DownloadProgressState, EventDownloadProgress, EventDownloadWillBegin, GetVersionParams,
};
use chromiumoxide::listeners::EventStream;
use futures_util::StreamExt;
use futures_util::stream::Fuse;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file that a page of the lease has downloaded. It is removed with the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    path: PathBuf,
    name: String,
    url: String,
}

impl Download {
    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name that the site suggested, such as `report.pdf`, without any folder. It comes from the site: look at it
    /// before you use it as the name of a file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it came from.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The downloads of one lease, from the moment at which this was made.
#[derive(Debug)]
pub struct Downloads<'a> {
    run: Lease<'a>,
    folder: PathBuf,
    begun: HashMap<String, Begun>,
    begins: Fuse<EventStream<EventDownloadWillBegin>>,
    goes: Fuse<EventStream<EventDownloadProgress>>,
}

#[derive(Debug)]
struct Begun {
    frame: String,
    name: String,
    url: String,
}

#[derive(Debug)]
enum Lease<'a> {
    Page(&'a PageLease<Chrome>),
    Context(&'a ContextLease<Chrome>),
}

impl Lease<'_> {
    fn live(&self) -> &ChromeBrowser {
        match self {
            Self::Page(lease) => lease.live(),
            Self::Context(lease) => lease.live(),
        }
    }

    fn context(&self) -> Option<&ChromeContext> {
        match self {
            Self::Page(lease) => lease.context(),
            Self::Context(lease) => Some(lease),
        }
    }

    async fn run<T>(
        &self,
        limit: Duration,
        operation: impl Future<Output = T>,
    ) -> Result<T, OpError> {
        match self {
            Self::Page(lease) => lease.run_as("wait for a download", limit, operation).await,
            Self::Context(lease) => lease.run(limit, operation).await,
        }
    }
}

impl PageLease<Chrome> {
    /// Watches the downloads of this lease from now on. Begin before the page is asked for one.
    ///
    /// ```no_run
    /// # use lastout_browser_pool::{Chrome, PageLease};
    /// # use std::time::Duration;
    /// # async fn report(page: &PageLease<Chrome>) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut downloads = page.watch_downloads().await?;
    /// page.find_element("#export").await?.click().await?;
    /// let file = downloads.next(Duration::from_secs(60)).await?;
    /// println!("{} is at {}", file.name(), file.path().display());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpError::Driver`] when the lease was not asked for with
    /// [`LeaseOptions::downloads`](crate::LeaseOptions::downloads), [`OpError::Lost`], or what the client said.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn watch_downloads(&self) -> Result<Downloads<'_>, OpError> {
        watch(Lease::Page(self), self.downloads()).await
    }
}

impl ContextLease<Chrome> {
    /// Watches the downloads of every page of this context, as [`PageLease::watch_downloads`] does.
    ///
    /// # Errors
    ///
    /// As [`PageLease::watch_downloads`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn watch_downloads(&self) -> Result<Downloads<'_>, OpError> {
        watch(Lease::Context(self), self.downloads()).await
    }
}

impl ChromeBrowser {
    /// What the browser says of downloads, from now on.
    async fn listen_to_downloads(
        &self,
    ) -> Result<(EventStream<EventDownloadWillBegin>, EventStream<EventDownloadProgress>), OpError>
    {
        let begins = self.client.event_listener().await.map_err(driver)?;
        let goes = self.client.event_listener().await.map_err(driver)?;
        // The client answers what it was sent in turn: when it answers this, it listens.
        self.client.execute(GetVersionParams::default()).await.map_err(driver)?;
        Ok((begins, goes))
    }

    /// Whether this is the main frame of a page of the context.
    fn is_page_of(&self, context: &ChromeContext, frame: &str) -> bool {
        self.router.as_ref().is_some_and(|router| router.is_page_of(context.id().as_ref(), frame))
    }
}

async fn watch<'a>(run: Lease<'a>, folder: Option<&Path>) -> Result<Downloads<'a>, OpError> {
    let folder = folder.ok_or_else(|| OpError::driver("the lease keeps no downloads"))?.to_owned();
    let (begins, goes) = run.live().listen_to_downloads().await?;
    let (begins, goes) = (begins.fuse(), goes.fuse());
    Ok(Downloads { run, folder, begun: HashMap::new(), begins, goes })
}

impl Downloads<'_> {
    /// The next file that is complete, within `limit`.
    ///
    /// # Errors
    ///
    /// [`OpError::TimedOut`] after `limit`, [`OpError::Lost`], and [`OpError::Driver`] when a page's own download was
    /// cancelled. Downloads go on after an error, and this can be called again.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    pub async fn next(&mut self, limit: Duration) -> Result<Download, OpError> {
        let Self { run, folder, begun, begins, goes } = self;
        let own = |frame: &str| match run.context() {
            Some(context) => run.live().is_page_of(context, frame),
            None => false,
        };
        let next = async {
            loop {
                tokio::select! {
                    biased;
                    Some(begin) = begins.next() => {
                        let EventDownloadWillBegin { guid, url, suggested_filename: name, frame_id } =
                            &*begin;
                        let (frame, url) = (frame_id.as_ref().to_owned(), url.clone());
                        // A site may suggest a path.
                        let name = name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
                        begun.insert(guid.clone(), Begun { frame, name, url });
                    }
                    gone = goes.next() => {
                        let Some(gone) = gone else {
                            return Err(OpError::driver("the browser is gone"));
                        };
                        if gone.state == DownloadProgressState::InProgress {
                            continue;
                        }
                        let Some(Begun { frame, name, url }) = begun.remove(&gone.guid) else {
                            continue;
                        };
                        let path = folder.join(&gone.guid);
                        match gone.state {
                            DownloadProgressState::Completed if path.exists() => {
                                return Ok(Download { path, name, url });
                            }
                            DownloadProgressState::Canceled if own(&frame) => {
                                return Err(OpError::driver(format!("the download of {url} was cancelled")));
                            }
                            // That of another lease.
                            _ => {}
                        }
                    }
                }
            }
        };
        run.run(limit, next).await?
    }
}
