//! The sections of the overview: queues and workers of a store, members of a supervisor, panels.

use super::html::{Html, Table, cut, span};
use super::panel::Panel;
use super::source::Seen;
use super::{Shared, Snapshot};
use crate::supervisor::contain::{Boxed, all_of};
use crate::supervisor::{MemberStats, Phase, Stats, Sum};
use std::sync::PoisonError;
use std::time::Instant;

/// The longest text of one cell, in bytes.
const TEXT: usize = 2_000;
/// The most facts, sums and lines of one panel.
const ROWS: usize = 200;

impl Shared {
    /// Looks at everything at the same time.
    pub(super) async fn take(&self) -> Snapshot {
        let supervisor = {
            let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner);
            supervisor.clone()
        };
        let mut looks: Vec<Boxed<'_, ()>> = Vec::new();
        if let Some(supervisor) = supervisor {
            looks.push(Box::pin(self.members.look_apart(move || supervisor.stats())));
        }
        for part in &self.parts {
            let look = std::sync::Arc::clone(&part.look);
            looks.push(Box::pin(part.source.look_apart(move || look())));
        }
        #[cfg(feature = "work-runner")]
        if let Some(store) = &self.store {
            looks.push(Box::pin(store.look()));
        }
        all_of(looks).await;
        let mut sections = Vec::new();
        #[cfg(feature = "work-runner")]
        if let Some(store) = &self.store {
            sections.extend(store.sections(&self.base, self.guard.may_order));
        }
        sections.push(("members", self.members()));
        if !self.parts.is_empty() {
            sections.push(("panels", self.panels()));
        }
        Snapshot { taken: Instant::now(), sections }
    }

    fn members(&self) -> Html {
        let mut html = Html::new();
        if self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            // The place is kept for a supervisor that is watched later, while the page is open.
            return html;
        }
        html.raw("<h2>Members</h2>");
        shown(&mut html, &self.members.seen(), |html, stats: &Stats| {
            let mut table = Table::new(&["member", "phase", "restarts", "counts"]);
            for member in &stats.members {
                table.row(row(member));
            }
            html.add(&table.or("The supervisor has no members."));
        });
        html
    }

    fn panels(&self) -> Html {
        let mut html = Html::new();
        for part in &self.parts {
            html.raw("<section class=\"panel\"><h2>").text(cut(&part.name, TEXT)).raw("</h2>");
            shown(&mut html, &part.source.seen(), panel);
            html.raw("</section>");
        }
        html
    }
}

fn row(member: &MemberStats) -> [Html; 4] {
    let class = match member.phase {
        Phase::Running | Phase::Done => "good",
        Phase::Failing | Phase::BackingOff | Phase::GaveUp => "bad",
        _ => "quiet",
    };
    let mut counts = Html::new();
    for (name, value) in &member.counters.counts {
        counts.text(format_args!("{name} {value}")).raw("<br>");
    }
    member.counters.sums.iter().for_each(|one| sum(&mut counts, one));
    [
        Html::of(cut(&member.name, TEXT)),
        Html::mark(class, member.phase),
        Html::of(member.restarts),
        counts,
    ]
}

/// An equation. It need not hold while something is under way.
fn sum(html: &mut Html, sum: &Sum) {
    let class = if sum.holds() { "good" } else { "bad" };
    html.add(&Html::mark(class, cut(&sum.to_string(), TEXT))).raw("<br>");
}

fn panel(html: &mut Html, panel: &Panel) {
    html.raw("<dl>");
    for (name, value) in panel.facts.iter().take(ROWS) {
        html.raw("<div><dt>").text(cut(name, TEXT)).raw("</dt><dd>");
        html.text(cut(value, TEXT)).raw("</dd></div>");
    }
    html.raw("</dl>");
    panel.sums.iter().take(ROWS).for_each(|one| sum(html, one));
    if !panel.lines.is_empty() {
        html.raw("<ul>");
        for line in panel.lines.iter().take(ROWS) {
            html.raw("<li>").text(cut(line, TEXT)).raw("</li>");
        }
        html.raw("</ul>");
    }
    let parts = [panel.facts.len(), panel.sums.len(), panel.lines.len()];
    let more: usize = parts.iter().map(|count| count.saturating_sub(ROWS)).sum();
    if more > 0 {
        html.raw("<p class=\"quiet\">and ").text(more).raw(" more</p>");
    }
}

/// What was seen, and, when it is not of now, of when it is and why.
pub(super) fn shown<T>(html: &mut Html, seen: &Seen<T>, show: impl FnOnce(&mut Html, &T)) {
    if let Some(problem) = &seen.problem {
        html.raw("<p class=\"bad\" role=\"status\">Not seen: ").text(cut(problem, TEXT));
        match &seen.value {
            Some((_, at)) => {
                let age = i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
                html.raw(". What follows is ").text(span(age)).raw(" old.");
            }
            None => {
                html.raw(".");
            }
        }
        html.raw("</p>");
    }
    match &seen.value {
        Some((value, _)) => show(html, value),
        None if seen.problem.is_none() => {
            html.raw("<p class=\"quiet\">Nothing to see.</p>");
        }
        None => {}
    }
}
