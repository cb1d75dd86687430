//! The work that a supervisor does on its browser: making, resetting and ending units.
//!
//! Callers never do it themselves, so a caller that goes away leaves nothing half made: the unit
//! becomes stock.

use crate::cell::{PageFate, UnitCell};
use crate::driver::LiveBrowser;
use crate::error::OpError;
use crate::report::EndReason;
use crate::request::{ContextOptions, UnitSpec};
use crate::state::{Place, SlotId, UnitId};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// Takes a page that was opened for the holder of a context lease.
pub(crate) type PageReply<B> = Box<dyn FnOnce(Result<Arc<PageFate<B>>, OpError>) + Send>;

/// What the pool orders.
pub(crate) enum Command<B: LiveBrowser> {
    Make { unit: UnitId, spec: UnitSpec },
    Reset { unit: UnitId, cell: Arc<UnitCell<B>> },
    Dispose { unit: UnitId, cell: Arc<UnitCell<B>> },
    OpenPage { place: Place, cell: Arc<UnitCell<B>>, reply: PageReply<B> },
    ClosePopup { page: String },
    ClosePage { place: Place, page: Arc<PageFate<B>> },
    Close { reason: EndReason },
}

/// What a job came to.
pub(crate) enum Done<B: LiveBrowser> {
    Made(UnitId, UnitCell<B>),
    NotMade {
        unit: UnitId,
        error: OpError,
        /// Something may have been made that nobody knows of: the browser must not be kept.
        hung: bool,
    },
    Reset(UnitId, UnitCell<B>),
    Disposed {
        unit: UnitId,
        well: bool,
    },
    PageClosed(Place),
    Nothing,
}

/// Does what was ordered.
pub(crate) async fn run<B: LiveBrowser>(
    live: Arc<B>,
    slot: SlotId,
    command: Command<B>,
    limit: Duration,
) -> Done<B> {
    match command {
        Command::Make { unit, spec } => match make(&*live, &spec, limit).await {
            Ok((context, page)) => Done::Made(unit, UnitCell::new(slot, spec, context, page, live)),
            Err((error, hung)) => Done::NotMade { unit, error, hung },
        },
        Command::Reset { unit, cell } => reset(&live, slot, unit, cell, limit).await,
        Command::Dispose { unit, cell } => {
            Done::Disposed { unit, well: dispose(&*live, &cell, limit).await }
        }
        Command::OpenPage { place, cell, reply } => {
            let Some(context) = &cell.context else {
                return Done::PageClosed(place);
            };
            match within("open a page", limit, live.new_page(context)).await {
                Ok(page) => {
                    let page = Arc::new(PageFate { page, fate: watch::Sender::new(None) });
                    cell.add_page(&page);
                    reply(Ok(page));
                    Done::Nothing
                }
                Err((error, _)) => {
                    reply(Err(error));
                    Done::PageClosed(place)
                }
            }
        }
        Command::ClosePopup { page } => {
            // It is closed, is gone by itself, or ends with its context.
            drop(within("close a page", limit, live.close_popup(&page)).await);
            Done::Nothing
        }
        Command::ClosePage { place, page } => {
            // A page that does not close ends with its context.
            drop(within("close a page", limit, live.close_page(&page.page)).await);
            Done::PageClosed(place)
        }
        Command::Close { .. } => Done::Nothing,
    }
}

type Parts<B> = (Option<<B as LiveBrowser>::Context>, Option<<B as LiveBrowser>::Page>);

async fn make<B: LiveBrowser>(
    live: &B,
    spec: &UnitSpec,
    limit: Duration,
) -> Result<Parts<B>, (OpError, bool)> {
    match spec {
        UnitSpec::Context(options) => Ok((Some(context(live, options, limit).await?), None)),
        UnitSpec::Page(options) | UnitSpec::Browser { page: Some(options) } => {
            page(live, options, limit).await
        }
        UnitSpec::Browser { page: None } => Ok((None, None)),
        UnitSpec::SharedPage => page(live, &ContextOptions::default(), limit).await,
    }
}

async fn page<B: LiveBrowser>(
    live: &B,
    options: &ContextOptions,
    limit: Duration,
) -> Result<Parts<B>, (OpError, bool)> {
    let context = context(live, options, limit).await?;
    let page = page_or_undo(live, &context, limit).await?;
    Ok((Some(context), Some(page)))
}

async fn context<B: LiveBrowser>(
    live: &B,
    options: &ContextOptions,
    limit: Duration,
) -> Result<B::Context, (OpError, bool)> {
    within("make a context", limit, live.new_context(options)).await
}

/// Opens a page in a context of its own, which ends with the page when that fails.
async fn page_or_undo<B: LiveBrowser>(
    live: &B,
    context: &B::Context,
    limit: Duration,
) -> Result<B::Page, (OpError, bool)> {
    match within("open a page", limit, live.new_page(context)).await {
        Ok(page) => Ok(page),
        Err((error, _)) => {
            let undone = within("end a context", limit, live.dispose_context(context)).await;
            Err((error, undone.is_err()))
        }
    }
}

/// Bounds an operation; the second part of the error is whether it may still come to something.
async fn within<T>(
    what: &'static str,
    after: Duration,
    operation: impl Future<Output = Result<T, OpError>>,
) -> Result<T, (OpError, bool)> {
    match timeout(after, operation).await {
        Ok(result) => result.map_err(|error| {
            let late = matches!(error, OpError::TimedOut { .. });
            (error, late)
        }),
        Err(_) => Err((OpError::TimedOut { what, after }, true)),
    }
}

async fn reset<B: LiveBrowser>(
    live: &Arc<B>,
    slot: SlotId,
    unit: UnitId,
    cell: Arc<UnitCell<B>>,
    limit: Duration,
) -> Done<B> {
    let lost = cell.fate.borrow().is_some();
    let fresh = match (&cell.context, &cell.page, lost) {
        (Some(context), Some(used), false) => {
            within("reset a page", limit, live.reset_page(context, used)).await.ok()
        }
        _ => None,
    };
    let Some(page) = fresh else {
        return Done::Disposed { unit, well: dispose(&**live, &cell, limit).await };
    };
    let (spec, context) = (cell.spec.clone(), cell.context.clone());
    Done::Reset(unit, UnitCell::new(slot, spec, context, Some(page), live.clone()))
}

/// Ends a unit; `false` when the browser did not manage.
async fn dispose<B: LiveBrowser>(live: &B, cell: &UnitCell<B>, limit: Duration) -> bool {
    let Some(context) = &cell.context else {
        return true;
    };
    within("end a context", limit, live.dispose_context(context)).await.is_ok()
}
