//! Removing a directory in which nobody lives any more, and seeing that it stays gone.

use lastout_proc_tree::{Deadline, StaysDead, StaysDeadError, Tree};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a directory is watched after its removal when the machine cannot promise that the whole
/// tree was seen. Where it can, a tree that is gone writes nothing, and no time is spent.
const WINDOW: Duration = Duration::from_millis(50);

/// Removes the directory with all that is in it; symbolic links in it are removed, not followed.
///
/// When it comes back, the members of the tree are killed again.
pub(super) fn remove(
    path: &Path,
    tree: Option<&Tree>,
    deadline: Instant,
) -> Result<(), StaysDeadError> {
    let doubtful = tree.is_some_and(|tree| !tree.guarantee().is_complete());
    let window = if doubtful { WINDOW } else { Duration::ZERO };
    let removal = StaysDead::new(path).window(window).within(Deadline::at(deadline));
    match tree {
        Some(tree) => removal.suspect(tree).remove_blocking(),
        None => removal.remove_blocking(),
    }
    .map(drop)
}
