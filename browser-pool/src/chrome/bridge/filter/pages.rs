//! Whose pages are whose: those that the client makes, and those that pages open.

use super::Filter;
use super::message::TargetInfo;
use crate::driver::News;

impl Filter {
    /// The pages that others opened in this context.
    pub(in crate::chrome::bridge) fn popups(&self, context: &str) -> Vec<String> {
        let here = self.popups.iter().filter(|(_, owner)| *owner == context);
        here.map(|(page, _)| page.clone()).collect()
    }

    /// Whether a session is attached to this target, and it is in this context.
    pub(in crate::chrome::bridge) fn is_in(&self, context: &str, target: &str) -> bool {
        let mut all = self.targets.values();
        all.any(|at| at.target == target && at.context.as_deref() == Some(context))
    }

    /// The context was made for a lease.
    pub(in crate::chrome::bridge) fn lend(&mut self, context: String) {
        self.lent.insert(context);
    }

    /// The context is gone.
    pub(in crate::chrome::bridge) fn forget_context(&mut self, context: &str) {
        self.lent.remove(context);
        self.auth.forget_context(context);
    }

    fn creates_in(&self, context: &str) -> bool {
        self.pending.values().any(|call| call.creates.as_deref() == Some(context))
    }

    /// No page is being made in this context any more: those without an owner were opened by pages.
    pub(super) fn claim_rest(&mut self, context: &str, news: &mut Vec<News>) {
        if self.creates_in(context) {
            return;
        }
        let here = |(_, owner): &(&String, &String)| *owner == context;
        let pages: Vec<_> =
            self.unclaimed.iter().filter(here).map(|(page, _)| page.clone()).collect();
        for page in pages {
            self.unclaimed.remove(&page);
            news.push(self.popup(context, page));
        }
    }

    fn popup(&mut self, context: &str, page: String) -> News {
        self.popups.insert(page.clone(), context.to_owned());
        News::PopupOpened { context: context.to_owned(), page }
    }

    pub(super) fn created(&mut self, info: TargetInfo) -> Vec<News> {
        let TargetInfo { target_id: page, kind, opener_id: opener, browser_context_id: context } =
            info;
        let Some(context) = context.filter(|_| kind == "page") else {
            return Vec::new();
        };
        if opener.is_none() && self.creates_in(&context) {
            self.unclaimed.insert(page, context);
            return Vec::new();
        }
        vec![self.popup(&context, page)]
    }
}
