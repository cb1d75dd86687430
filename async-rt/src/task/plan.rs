//! What the builder and the owner tell an engine.

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
