//! What a part of the program shows of itself, and how each mechanism does.

use crate::supervisor::Sum;
use std::borrow::Cow;
use std::fmt::Display;

/// Something that the console shows.
///
/// It is asked on a thread of its own, and only while a page is open. A look that blocks holds up nothing
/// but itself, and one that panics shows its message. A closure that returns a [`Panel`] is one.
pub trait Look: Send + Sync + 'static {
    /// What there is to see.
    fn look(&self) -> Panel;
}

impl<F: Fn() -> Panel + Send + Sync + 'static> Look for F {
    fn look(&self) -> Panel {
        self()
    }
}

/// Facts, sums and lines of text.
///
/// ```
/// use lastout::console::Panel;
///
/// let panel = Panel::new()
///     .fact("connections", 12)
///     .sum("requests: asked = answered + refused", 10, 7 + 3)
///     .line("GET /report 3.2 s");
/// # let _ = panel;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Panel {
    /// Names and values.
    pub facts: Vec<(Cow<'static, str>, String)>,
    /// Equations. One that does not hold is marked.
    pub sums: Vec<Sum>,
    /// Lines of text, shown in the order in which they were added.
    pub lines: Vec<String>,
}

impl Panel {
    /// Nothing to see yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name and its value.
    #[must_use]
    pub fn fact(mut self, name: impl Into<Cow<'static, str>>, value: impl Display) -> Self {
        self.facts.push((name.into(), value.to_string()));
        self
    }

    /// Adds an equation: what came in on the left, what became of it on the right.
    #[must_use]
    pub fn sum(mut self, what: impl Into<Cow<'static, str>>, left: u64, right: u64) -> Self {
        self.sums.push(Sum { what: what.into(), left, right });
        self
    }

    /// Adds a line of text.
    #[must_use]
    pub fn line(mut self, text: impl Display) -> Self {
        self.lines.push(text.to_string());
        self
    }
}

/// A number of bytes as it is read.
#[cfg(any(feature = "browser-pool", feature = "output-stream", feature = "proc-tree"))]
fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count / 1024),
        1_048_576..1_073_741_824 => format!("{} MiB", count / 1_048_576),
        _ => format!("{}.{} GiB", count >> 30, ((count % (1 << 30)) * 10) >> 30),
    }
}

#[cfg(feature = "cleanup-worker")]
impl Look for lastout_cleanup_worker::CleanupHandle {
    fn look(&self) -> Panel {
        let stats = self.stats();
        let oldest = stats.oldest.map_or_else(|| "none".to_owned(), |age| format!("{age:.1?}"));
        Panel::new()
            .fact("queued", stats.queued)
            .fact("in flight", stats.in_flight)
            .fact("oldest", oldest)
            .fact("armed", stats.armed)
            .fact("room used", format_args!("{} of {}", stats.used, stats.capacity))
            .fact("refused", stats.refused)
            .sum(
                "cleanups: accepted = ended + queued + in flight",
                stats.accepted,
                stats.ended() + stats.queued + stats.in_flight,
            )
    }
}

#[cfg(feature = "browser-pool")]
impl<D: lastout_browser_pool::Driver> Look for lastout_browser_pool::Pool<D> {
    fn look(&self) -> Panel {
        let stats = self.stats();
        let wait = |share| {
            let wait = stats.waits.quantile(share);
            wait.map_or_else(|| "none".to_owned(), |wait| format!("{wait:.1?}"))
        };
        let mut panel = Panel::new()
            .fact("browsers ready", stats.ready)
            .fact("launching", stats.launching)
            .fact("retiring", stats.retiring)
            .fact("closing", stats.closing)
            .fact("pages", stats.pages)
            .fact("leases out", stats.out)
            .fact("callers waiting", stats.waiting)
            .fact("waited, median", wait(0.5))
            .fact("waited, 99 %", wait(0.99))
            .fact("lost browsers", stats.lost)
            .fact("crashed pages", stats.page_crashes);
        if stats.memory > 0 {
            panel = panel.fact("memory when last measured", bytes(stats.memory));
        }
        if stats.quarantined > 0 {
            panel = panel.fact("browsers that left something", stats.quarantined);
        }
        panel.sum(
            "leases: granted = returned + revoked + out",
            stats.granted,
            stats.returned + stats.revoked + stats.out,
        )
    }
}

#[cfg(feature = "output-stream")]
impl Look for lastout_output_stream::Stream {
    fn look(&self) -> Panel {
        let stats = self.stats();
        let mut panel = Panel::new()
            .fact("read", bytes(stats.ingested))
            .fact("kept", bytes(stats.retained))
            .fact("memory", bytes(stats.memory))
            .fact("waited for readers", format_args!("{:.1?}", stats.blocked))
            .fact("ended", if self.end().is_some() { "yes" } else { "no" });
        for one in &stats.subscribers {
            panel = panel.line(format_args!(
                "subscriber {}: delivered {}, lost {}, behind by {}",
                one.id,
                bytes(one.delivered),
                bytes(one.lost),
                bytes(one.lag)
            ));
        }
        panel
    }
}

/// The most processes of a tree that are listed.
#[cfg(feature = "proc-tree")]
const MEMBERS: usize = 50;

#[cfg(feature = "proc-tree")]
impl Look for std::sync::Arc<lastout_proc_tree::Tree> {
    fn look(&self) -> Panel {
        let mut panel = Panel::new().fact("held by", self.guarantee());
        match self.usage() {
            Ok(usage) => {
                if let Some(cpu) = usage.cpu() {
                    panel = panel.fact("processor time", format_args!("{cpu:.1?}"));
                }
                if let Some(peak) = usage.peak_memory {
                    let text = format!("{} ({})", bytes(peak.value), peak.source);
                    panel = panel.fact("peak memory", text);
                }
                if let Some(tasks) = usage.tasks {
                    panel = panel.fact("tasks", format_args!("{} ({})", tasks.value, tasks.source));
                }
            }
            Err(error) => panel = panel.fact("usage", format_args!("not known: {error}")),
        }
        let members = match self.members() {
            Ok(members) => members,
            Err(error) => return panel.fact("processes", format_args!("not known: {error}")),
        };
        panel = panel.fact("processes", members.len());
        for member in members.iter().take(MEMBERS) {
            panel = panel.line(format_args!("process {}", member.pid()));
        }
        match members.len().saturating_sub(MEMBERS) {
            0 => panel,
            more => panel.line(format_args!("and {more} more")),
        }
    }
}
