//! The table of tasks that are not done: one word for each place, so that a million idle tasks cost
//! eight megabytes here.

use super::refs::TaskRef;

/// Tasks by key. A key is a place, which is given again when its task has been removed.
#[derive(Default)]
pub(super) struct Table {
    tasks: Vec<Option<TaskRef>>,
    /// Places that are empty, the last one emptied at the end.
    free: Vec<u32>,
}

impl Table {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { tasks: Vec::with_capacity(capacity), free: Vec::new() }
    }

    /// Keeps a task; its key.
    #[inline]
    pub(super) fn insert(&mut self, task: TaskRef) -> u32 {
        if let Some(key) = self.free.pop() {
            let place = &mut self.tasks[key as usize];
            debug_assert!(place.is_none(), "a free place is empty");
            *place = Some(task);
            return key;
        }
        let key = u32::try_from(self.tasks.len()).expect("at most 2^32 tasks");
        self.tasks.push(Some(task));
        key
    }

    /// Hands out a task whose key this is.
    #[inline]
    pub(super) fn remove(&mut self, key: u32) -> TaskRef {
        let task = self.tasks[key as usize].take().expect("the key is of a task of the table");
        self.free.push(key);
        task
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len() - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TaskRef> {
        self.tasks.iter().flatten()
    }

    /// Hands out every task.
    pub(super) fn take(&mut self) -> impl Iterator<Item = TaskRef> + use<> {
        self.free.clear();
        std::mem::take(&mut self.tasks).into_iter().flatten()
    }
}
