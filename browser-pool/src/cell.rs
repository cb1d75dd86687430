//! What stands behind a lease, and how its loss is told.

use crate::driver::LiveBrowser;
use crate::error::Loss;
use crate::request::UnitSpec;
use crate::state::SlotId;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::watch;

/// A made unit: what the leases of it stand on.
pub(crate) struct UnitCell<B: LiveBrowser> {
    pub(crate) slot: SlotId,
    pub(crate) spec: UnitSpec,
    pub(crate) context: Option<B::Context>,
    pub(crate) page: Option<B::Page>,
    pub(crate) live: Arc<B>,
    /// Set once, when the unit is lost; leases watch it.
    pub(crate) fate: watch::Sender<Option<Loss>>,
    /// The pages that the holder of a context lease opened.
    pub(crate) pages: Mutex<Vec<Weak<PageFate<B>>>>,
}

impl<B: LiveBrowser> UnitCell<B> {
    pub(crate) fn new(
        slot: SlotId,
        spec: UnitSpec,
        context: Option<B::Context>,
        page: Option<B::Page>,
        live: Arc<B>,
    ) -> Self {
        let fate = watch::Sender::new(None);
        Self { slot, spec, context, page, live, fate, pages: Mutex::default() }
    }

    pub(crate) fn add_page(&self, page: &Arc<PageFate<B>>) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.retain(|page| page.strong_count() > 0);
        pages.push(Arc::downgrade(page));
    }

    /// Whether the unit has this context.
    pub(crate) fn is_in(&self, context: &str) -> bool {
        self.context.as_ref().is_some_and(|own| self.live.context_key(own) == context)
    }

    /// Whether the page that the unit was made with has this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.page.as_ref().is_some_and(|page| self.live.page_key(page) == key)
    }

    /// The fate of the page with this key, if the page is in this unit.
    pub(crate) fn fate_of(&self, key: &str) -> Option<watch::Sender<Option<Loss>>> {
        if self.has(key) {
            return Some(self.fate.clone());
        }
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut opened = pages.iter().filter_map(Weak::upgrade);
        let found = opened.find(|page| self.live.page_key(&page.page) == key);
        found.map(|page| page.fate.clone())
    }
}

/// A page that the holder of a context lease opened.
pub(crate) struct PageFate<B: LiveBrowser> {
    pub(crate) page: B::Page,
    pub(crate) fate: watch::Sender<Option<Loss>>,
}

/// Seals a fate; the first loss is the one that counts.
pub(crate) fn doom(fate: &watch::Sender<Option<Loss>>, loss: &Loss) {
    fate.send_if_modified(|fate| {
        let first = fate.is_none();
        fate.get_or_insert_with(|| loss.clone());
        first
    });
}

impl<B: LiveBrowser> fmt::Debug for UnitCell<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnitCell").field("slot", &self.slot).field("spec", &self.spec).finish()
    }
}
