//! Pictures and PDFs of pages, with a limit on their size, written to where the caller wants them.

use super::config::Chrome;
use super::live::ChromeBrowser;
use crate::error::OpError;
use crate::lease::{ContextPage, PageLease};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chromiumoxide::Page;
use chromiumoxide::cdp::browser_protocol::io::{CloseParams, ReadParams, StreamHandle};
use chromiumoxide::cdp::browser_protocol::page::{
    CaptureScreenshotFormat, CaptureScreenshotParams, GetLayoutMetricsParams, PrintToPdfParams,
    PrintToPdfTransferMode, Viewport,
};
use chromiumoxide::cdp::js_protocol::runtime::EvaluateParams;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Bytes of a picture or a PDF unless another limit is given.
const MOST_BYTES: u64 = 64 << 20;

/// Pixels of a picture unless another limit is given: 8 192 × 8 192.
const MOST_PIXELS: u64 = 1 << 26;

/// How much of a PDF is read at once.
const CHUNK: i64 = 1 << 20;

/// What a picture of a page shows, and how it is encoded.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a picture is taken by PageLease::capture"]
pub struct Screenshot {
    format: CaptureScreenshotFormat,
    quality: Option<u8>,
    area: Area,
    max_pixels: u64,
    max_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Area {
    Window,
    FullPage,
    Element(String),
}

impl Screenshot {
    fn new(format: CaptureScreenshotFormat, quality: Option<u8>) -> Self {
        let (max_pixels, max_bytes) = (MOST_PIXELS, MOST_BYTES);
        Self { format, quality, area: Area::Window, max_pixels, max_bytes }
    }

    /// A PNG of what the window shows.
    pub fn png() -> Self {
        Self::new(CaptureScreenshotFormat::Png, None)
    }

    /// A JPEG of what the window shows, of this quality between 0 and 100; more is taken as 100.
    pub fn jpeg(quality: u8) -> Self {
        Self::new(CaptureScreenshotFormat::Jpeg, Some(quality.min(100)))
    }

    /// A WebP of what the window shows, of this quality between 0 and 100; more is taken as 100.
    pub fn webp(quality: u8) -> Self {
        Self::new(CaptureScreenshotFormat::Webp, Some(quality.min(100)))
    }

    /// Shows the whole page, beyond the window too.
    pub fn full_page(mut self) -> Self {
        self.area = Area::FullPage;
        self
    }

    /// Shows the first element that this CSS selector matches, beyond the window too.
    pub fn element(mut self, selector: impl Into<String>) -> Self {
        self.area = Area::Element(selector.into());
        self
    }

    /// Refuses an area of more CSS pixels than this before it is drawn. Default 8 192 × 8 192. It does not bound what
    /// the window shows.
    pub fn max_pixels(mut self, pixels: u64) -> Self {
        self.max_pixels = pixels;
        self
    }

    /// Refuses a picture of more bytes than this. Default 64 MiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }
}

/// How a page is printed to a PDF. Lengths are in inches.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a page is printed by PageLease::print"]
pub struct Pdf {
    params: PrintToPdfParams,
    max_bytes: u64,
}

impl Default for Pdf {
    fn default() -> Self {
        Self::new()
    }
}

impl Pdf {
    /// The browser's defaults: letter, upright, margins of 0.4 inches, no background, no header.
    pub fn new() -> Self {
        let params = PrintToPdfParams {
            transfer_mode: Some(PrintToPdfTransferMode::ReturnAsStream),
            ..PrintToPdfParams::default()
        };
        Self { params, max_bytes: MOST_BYTES }
    }

    /// The size of the paper.
    pub fn paper(mut self, width: f64, height: f64) -> Self {
        (self.params.paper_width, self.params.paper_height) = (Some(width), Some(height));
        self
    }

    /// Lays the paper on its side.
    pub fn landscape(mut self) -> Self {
        self.params.landscape = Some(true);
        self
    }

    /// The margins: top, right, bottom, left.
    pub fn margins(mut self, top: f64, right: f64, bottom: f64, left: f64) -> Self {
        (self.params.margin_top, self.params.margin_right) = (Some(top), Some(right));
        (self.params.margin_bottom, self.params.margin_left) = (Some(bottom), Some(left));
        self
    }

    /// Prints backgrounds.
    pub fn background(mut self) -> Self {
        self.params.print_background = Some(true);
        self
    }

    /// Scales the page by this factor, between 0.1 and 2.
    pub fn scale(mut self, factor: f64) -> Self {
        self.params.scale = Some(factor);
        self
    }

    /// Prints only these pages, such as `1-3, 7`.
    pub fn pages(mut self, ranges: impl Into<String>) -> Self {
        self.params.page_ranges = Some(ranges.into());
        self
    }

    /// HTML at the top and the bottom of each sheet, within the margins. Elements of the classes `date`, `title`,
    /// `url`, `pageNumber` and `totalPages` are filled in. Give one of them a font size: the browser's is 0.
    pub fn header_and_footer(
        mut self,
        header: impl Into<String>,
        footer: impl Into<String>,
    ) -> Self {
        self.params.display_header_footer = Some(true);
        self.params.header_template = Some(header.into());
        self.params.footer_template = Some(footer.into());
        self
    }

    /// Stops at more bytes than this. Default 64 MiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }
}

impl PageLease<Chrome> {
    /// Takes a picture of the page and writes it, within `limit`. Returns how many bytes it has.
    ///
    /// ```no_run
    /// # use lastout_browser_pool::{Chrome, OpError, PageLease, Screenshot};
    /// # use std::time::Duration;
    /// # async fn picture(page: &PageLease<Chrome>) -> Result<(), OpError> {
    /// let mut file = Vec::new(); // anything that tokio can write to
    /// let picture = Screenshot::png().full_page().max_bytes(10 << 20);
    /// page.capture(&picture, &mut file, Duration::from_secs(20)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpError::TooLarge`] before anything is written, [`OpError::Write`] from the writer,
    /// [`OpError::TimedOut`] after `limit`, [`OpError::Lost`], or what the browser said: that no element matches, too.
    ///
    /// # Cancel safety
    ///
    /// A part of the picture may have been written.
    pub async fn capture(
        &self,
        picture: &Screenshot,
        to: &mut (impl AsyncWrite + Unpin),
        limit: Duration,
    ) -> Result<u64, OpError> {
        let taken = capture(self.live(), self, picture, to, limit);
        self.run_as("take a picture of a page", limit, taken).await?
    }

    /// Prints the page to a PDF and writes it piece by piece, within `limit`. Returns how many bytes it has.
    ///
    /// # Errors
    ///
    /// [`OpError::TooLarge`] when it is longer than it may be, [`OpError::Write`] from the writer,
    /// [`OpError::TimedOut`] after `limit`, [`OpError::Lost`], or what the browser said. In each case a part of it may
    /// have been written, never more than it may have.
    ///
    /// # Cancel safety
    ///
    /// A part of it may have been written.
    pub async fn print(
        &self,
        pdf: &Pdf,
        to: &mut (impl AsyncWrite + Unpin),
        limit: Duration,
    ) -> Result<u64, OpError> {
        let printed = print(self.live(), self, pdf, to, limit);
        self.run_as("print a page", limit, printed).await?
    }
}

impl ContextPage<'_, Chrome> {
    /// Takes a picture of the page, as [`PageLease::capture`] does.
    ///
    /// # Errors
    ///
    /// As [`PageLease::capture`].
    ///
    /// # Cancel safety
    ///
    /// A part of the picture may have been written.
    pub async fn capture(
        &self,
        picture: &Screenshot,
        to: &mut (impl AsyncWrite + Unpin),
        limit: Duration,
    ) -> Result<u64, OpError> {
        self.run(limit, capture(self.live(), self, picture, to, limit)).await?
    }

    /// Prints the page to a PDF, as [`PageLease::print`] does.
    ///
    /// # Errors
    ///
    /// As [`PageLease::print`].
    ///
    /// # Cancel safety
    ///
    /// A part of it may have been written.
    pub async fn print(
        &self,
        pdf: &Pdf,
        to: &mut (impl AsyncWrite + Unpin),
        limit: Duration,
    ) -> Result<u64, OpError> {
        self.run(limit, print(self.live(), self, pdf, to, limit)).await?
    }
}

async fn capture(
    live: &ChromeBrowser,
    page: &Page,
    picture: &Screenshot,
    to: &mut (impl AsyncWrite + Unpin),
    limit: Duration,
) -> Result<u64, OpError> {
    let clip = match &picture.area {
        Area::Window => None,
        Area::FullPage => {
            let known = live.call_page(page, GetLayoutMetricsParams::default(), limit).await?;
            let size = known.css_content_size;
            Some([size.x, size.y, size.width, size.height])
        }
        Area::Element(selector) => Some(place_of(live, page, selector, limit).await?),
    };
    if let Some([.., width, height]) = clip {
        let pixels = width.ceil() * height.ceil();
        // What is no number is none that the browser can draw.
        if pixels.is_nan() || pixels > picture.max_pixels as f64 {
            return Err(OpError::TooLarge {
                what: "pixels of a picture",
                most: picture.max_pixels,
            });
        }
    }
    let params = CaptureScreenshotParams {
        format: Some(picture.format.clone()),
        quality: picture.quality.map(i64::from),
        capture_beyond_viewport: clip.map(|_| true),
        clip: clip.map(|[x, y, width, height]| Viewport { x, y, width, height, scale: 1.0 }),
        ..CaptureScreenshotParams::default()
    };
    let taken = live.call_page(page, params, limit).await?;
    let bytes = decoded(taken.data.as_ref())?;
    write(&bytes, 0, picture.max_bytes, "bytes of a picture", to).await?;
    to.flush().await.map_err(OpError::Write)?;
    Ok(bytes.len() as u64)
}

/// Where the element is on the page: left, top, width and height.
async fn place_of(
    live: &ChromeBrowser,
    page: &Page,
    selector: &str,
    limit: Duration,
) -> Result<[f64; 4], OpError> {
    let selector = serde_json::json!(selector);
    let script = format!(
        "(() => {{ const found = document.querySelector({selector}); if (!found) return null;
        const {{ x, y, width, height }} = found.getBoundingClientRect();
        return [x + scrollX, y + scrollY, width, height]; }})()"
    );
    let params = EvaluateParams { return_by_value: Some(true), ..EvaluateParams::new(script) };
    let answer = live.call_page(page, params, limit).await?;
    if let Some(details) = answer.exception_details {
        return Err(OpError::driver(format!("find {selector}: {}", details.text)));
    }
    let place = answer.result.value.and_then(|value| serde_json::from_value(value).ok());
    let place: Option<[f64; 4]> = place.flatten();
    match place {
        Some(place @ [.., width, height]) if width > 0.0 && height > 0.0 => Ok(place),
        Some(_) => Err(OpError::driver(format!("the element {selector} has no size"))),
        None => Err(OpError::driver(format!("no element matches {selector}"))),
    }
}

async fn print(
    live: &ChromeBrowser,
    page: &Page,
    pdf: &Pdf,
    to: &mut (impl AsyncWrite + Unpin),
    limit: Duration,
) -> Result<u64, OpError> {
    let printed = live.call_page(page, pdf.params.clone(), limit).await?;
    let stream = printed.stream.ok_or_else(|| OpError::driver("the browser gave no stream"))?;
    let copied = copy(live, page, &stream, pdf.max_bytes, to, limit).await;
    // The stream ends with its page at the latest.
    drop(live.call_page(page, CloseParams::new(stream), limit).await);
    copied
}

async fn copy(
    live: &ChromeBrowser,
    page: &Page,
    stream: &StreamHandle,
    most: u64,
    to: &mut (impl AsyncWrite + Unpin),
    limit: Duration,
) -> Result<u64, OpError> {
    let mut written = 0;
    loop {
        let params = ReadParams { size: Some(CHUNK), ..ReadParams::new(stream.clone()) };
        let piece = live.call_page(page, params, limit).await?;
        let bytes = match piece.base64_encoded {
            Some(true) => decoded(&piece.data)?,
            _ => piece.data.into_bytes(),
        };
        write(&bytes, written, most, "bytes of a PDF", to).await?;
        written += bytes.len() as u64;
        if piece.eof {
            to.flush().await.map_err(OpError::Write)?;
            return Ok(written);
        }
    }
}

/// Writes what follows the bytes that were written already, if it may be that many.
async fn write(
    bytes: &[u8],
    written: u64,
    most: u64,
    what: &'static str,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<(), OpError> {
    if written + bytes.len() as u64 > most {
        return Err(OpError::TooLarge { what, most });
    }
    to.write_all(bytes).await.map_err(OpError::Write)
}

fn decoded(text: &str) -> Result<Vec<u8>, OpError> {
    BASE64_STANDARD.decode(text).map_err(OpError::driver)
}
