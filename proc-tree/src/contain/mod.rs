//! The means by which a tree is held together, one module each.

mod cgroup;
#[cfg(test)]
mod frozen;
mod supervisor;

pub(crate) use cgroup::{Leaf, LeafWait};
pub(crate) use supervisor::Link;

use std::sync::Arc;

/// What holds a tree, besides the evidence that its members carry. Both may be there.
#[derive(Debug, Default)]
pub(crate) struct Means {
    /// All members are in this cgroup.
    pub(crate) leaf: Option<Leaf>,
    /// All members descend from the process at the other end.
    pub(crate) link: Option<Arc<Link>>,
}
