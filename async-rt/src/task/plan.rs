//! What the builder and the owner tell an engine, and how far its end goes.

/// Size and growth of the slab of tasks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlabConfig {
    pub(crate) slot_size: usize,
    pub(crate) count: usize,
    pub(crate) unbounded: bool,
}

/// What the builder tells an engine.
#[derive(Default)]
pub(crate) struct EngineConfig {
    pub(crate) task_capacity: usize,
    pub(crate) slab: Option<SlabConfig>,
    /// Panics of detached tasks go to the caller of `block_on`.
    pub(crate) propagate: bool,
    #[cfg(feature = "testing")]
    pub(crate) seed: Option<u64>,
    #[cfg(feature = "insight")]
    pub(crate) probe: Option<std::rc::Rc<crate::insight::probe::Probe>>,
}

/// Whether a task is in the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// A user spawned it.
    Counted,
    /// It serves the runtime: it is in no count and no event, and no end waits for it.
    Hidden,
}

/// Generations that the end of an engine follows even if its time is up: what the destructors of one
/// have spawned is the next. A destructor that spawns another task is dropped in full; one that always
/// does ends here.
const FOLLOWED: usize = 32;

/// A generation that grows beyond this, and beyond the first, is followed only while there is time.
const MANY: usize = 1024;

/// Counts the generations of an end.
#[derive(Default)]
pub(crate) struct Generations {
    seen: usize,
    first: usize,
}

impl Generations {
    /// Whether the end goes on with `tasks` that are there.
    pub(crate) fn goes_on(&mut self, tasks: usize, time_is_up: impl FnOnce() -> bool) -> bool {
        if self.seen == 0 {
            self.first = tasks;
        }
        let is_small = self.seen < FOLLOWED && tasks <= self.first.max(MANY);
        self.seen += 1;
        tasks > 0 && (is_small || !time_is_up())
    }
}
