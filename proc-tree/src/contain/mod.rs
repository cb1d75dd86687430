//! The means by which a tree is held together, one module each.

mod below;
mod cgroup;
mod controls;
#[cfg(test)]
mod frozen;
mod leaf_wait;
mod mounts;
mod owner;
mod supervisor;

pub(crate) use cgroup::Leaf;
pub(crate) use controls::Controls;
pub(crate) use leaf_wait::LeafWait;
pub(crate) use supervisor::Link;

use std::sync::Arc;

/// What holds a tree, besides the evidence that its members carry. Both may be there.
#[derive(Debug, Default)]
pub(crate) struct Means {
    /// All members are in this cgroup.
    pub(crate) leaf: Option<Leaf>,
    /// All members descend from the process at the other end.
    pub(crate) link: Option<Arc<Link>>,
    /// Limits and measures the members.
    pub(crate) controls: Controls,
}
