//! One capture on one leased page.

use crate::plan::{Kind, Work};
use lastout::browser_pool::chromiumoxide::cdp::browser_protocol::page::{
    CaptureScreenshotFormat, CaptureScreenshotParams, PrintToPdfParams, Viewport,
};
use lastout::browser_pool::{BrowserPool, LeaseOptions, PageLease};
use lastout::cleanup_worker::{CleanupHandle, RemoveFile};
use lastout::supervisor::Failure;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Queueing, launch and creation of a page.
const ACQUIRE: Duration = Duration::from_secs(30);
/// A page that has not loaded by then hangs. The slow ones need less than half of it.
const LOAD: Duration = Duration::from_secs(5);
/// Reading, drawing and printing a page that has loaded.
const READ: Duration = Duration::from_secs(15);
/// Of a thumbnail, against the page.
const SCALE: f64 = 0.25;

/// The result of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Captured {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) png: u64,
    pub(crate) pdf: u64,
}

/// What a capture needs.
#[derive(Debug, Clone)]
pub(crate) struct Studio {
    pub(crate) pool: BrowserPool,
    pub(crate) cleanup: CleanupHandle,
    pub(crate) base: String,
    pub(crate) out: PathBuf,
    /// The size of the pages.
    pub(crate) window: (u32, u32),
}

impl Studio {
    /// Captures what the job names, on a page of its own.
    pub(crate) async fn capture(&self, work: &Work, attempt: u32) -> Result<Captured, Failure> {
        let page = self.pool.page_with(LeaseOptions::new().deadline(ACQUIRE)).await?;
        page.navigate(self.url(work, attempt), LOAD).await?;
        let captured = page.run(READ, self.read(&page, work.n)).await??;
        page.release();
        Ok(captured)
    }

    fn url(&self, work: &Work, attempt: u32) -> String {
        match work.kind {
            Kind::Crashes => "chrome://crash".to_owned(),
            Kind::CrashesOnce if attempt == 1 => "chrome://crash".to_owned(),
            Kind::Url => work.target.clone(),
            _ => format!("{}{}", self.base, work.target),
        }
    }

    async fn read(
        &self,
        page: &PageLease<lastout::browser_pool::Chrome>,
        n: u32,
    ) -> Result<Captured, Failure> {
        let title = page.get_title().await?.unwrap_or_default();
        let text: String = page.evaluate("document.body.innerText").await?.into_value()?;
        let png = page.screenshot(picture(None)).await?;
        let thumbnail = page.screenshot(picture(Some(self.window))).await?;
        let pdf = page.pdf(PrintToPdfParams::default()).await?;
        self.keep(&thumbnail_path(&self.out, n), &thumbnail).await?;
        self.keep(&png_path(&self.out, n), &png).await?;
        self.keep(&pdf_path(&self.out, n), &pdf).await?;
        Ok(Captured { title, text, png: png.len() as u64, pdf: pdf.len() as u64 })
    }

    /// Writes a file as a whole or not at all: should this be dropped half way, the part is removed.
    async fn keep(&self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let part = path.with_extension("part");
        let remove = self.cleanup.arm(RemoveFile::new(part.clone())).map_err(|e| e.to_string())?;
        tokio::fs::write(&part, bytes).await?;
        tokio::fs::rename(&part, path).await?;
        remove.disarm();
        Ok(())
    }
}

/// All of the window, or a small picture of a window of this size.
fn picture(small: Option<(u32, u32)>) -> CaptureScreenshotParams {
    CaptureScreenshotParams {
        format: Some(CaptureScreenshotFormat::Png),
        clip: small.map(|(width, height)| Viewport {
            x: 0.0,
            y: 0.0,
            width: f64::from(width),
            height: f64::from(height),
            scale: SCALE,
        }),
        ..CaptureScreenshotParams::default()
    }
}

pub(crate) fn png_path(out: &Path, n: u32) -> PathBuf {
    out.join(format!("pages/{n:05}.png"))
}

pub(crate) fn pdf_path(out: &Path, n: u32) -> PathBuf {
    out.join(format!("pages/{n:05}.pdf"))
}

pub(crate) fn thumbnail_path(out: &Path, n: u32) -> PathBuf {
    out.join(format!("pages/{n:05}.thumbnail.png"))
}
