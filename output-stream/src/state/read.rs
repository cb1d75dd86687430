//! What a subscriber gets next.

use super::{Cursor, Fate, Id, State, Wakes};
use crate::event::{End, EndReason, Event};
use crate::sync::on;
use std::task::Waker;

/// The next thing for a subscriber.
#[derive(Debug)]
pub(crate) enum Taken {
    /// An event, and the number of the read that it comes from, in a sequence.
    Event(Event, u64),
    /// Nothing yet.
    Empty,
    /// Nothing ever again.
    Finished,
}

impl State {
    /// Takes the next event of the cursor: data, gap, end, in this order.
    pub(crate) fn read(&mut self, id: Id) -> (Taken, Wakes) {
        let fate = self.cursor(id).fate;
        match fate {
            Fate::Ended => (Taken::Finished, Wakes::default()),
            Fate::Detached { at } => (self.read_detached(id, at), Wakes::default()),
            Fate::Following => self.read_following(id),
        }
    }

    /// Registers the waker of a subscriber that found nothing. Returns the waker it replaces, to be
    /// dropped outside the lock.
    pub(crate) fn park(&mut self, id: Id, waker: Waker) -> Option<Waker> {
        self.cursor_mut(id).waker.replace(waker)
    }

    fn read_detached(&mut self, id: Id, at: u64) -> Taken {
        let cursor = self.cursor_mut(id);
        cursor.drop_kept();
        if cursor.at < at {
            return gap(cursor, at);
        }
        cursor.fate = Fate::Ended;
        let (reason, stream) = (EndReason::Detached, self.name.clone());
        Taken::Event(Event::End(End { reason, at, stream }), 0)
    }

    fn read_following(&mut self, id: Id) -> (Taken, Wakes) {
        let cursor = self.cursors[id].as_mut().expect("the caller's cursor");
        cursor.is_woken = false;
        if let Some(bytes) = cursor.take_kept() {
            let offset = cursor.at;
            cursor.deliver(bytes.len() as u64);
            return (Taken::Event(Event::Data { offset, bytes }, 0), Wakes::default());
        }
        let end = self.log.end();
        if cursor.drop_from.is_some_and(|from| cursor.at >= from) {
            cursor.drop_from = None;
            if cursor.at < end {
                return (gap(cursor, end), Wakes::default());
            }
        }
        let from = self.log.first().max(cursor.visible_from);
        if cursor.at < from {
            let old = cursor.at;
            if !on("i1.gap") {
                cursor.at = from;
                return self.read_following(id);
            }
            let taken = gap(cursor, from);
            return (taken, self.after_progress_from(old));
        }
        let offset = cursor.at;
        let Some(mut bytes) = self.log.slice(offset) else {
            return (self.read_end(id), Wakes::default());
        };
        let mut until = cursor.drop_from;
        let mut number = 0;
        if let Some(marks) = &self.marks {
            let (own, next) = marks.at(offset);
            number = own;
            until = until.into_iter().chain(next).min();
        }
        if let Some(most) = until.and_then(|until| usize::try_from(until - offset).ok()) {
            bytes.truncate(most);
        }
        cursor.deliver(bytes.len() as u64);
        let wakes = self.after_progress_from(offset);
        (Taken::Event(Event::Data { offset, bytes }, number), wakes)
    }

    /// Only a cursor that stood in the front piece can have been the one that held it.
    fn after_progress_from(&mut self, old: u64) -> Wakes {
        match self.log.front_end() {
            Some(front_end) if old < front_end => self.after_progress(),
            _ => Wakes::default(),
        }
    }

    fn read_end(&mut self, id: Id) -> Taken {
        let Some(end) = self.end.clone() else {
            return Taken::Empty;
        };
        let cursor = self.cursor_mut(id);
        cursor.fate = Fate::Ended;
        Taken::Event(Event::End(end), 0)
    }
}

fn gap(cursor: &mut Cursor, to: u64) -> Taken {
    let from = cursor.at;
    cursor.lose(to);
    Taken::Event(Event::Gap { from, to }, 0)
}
