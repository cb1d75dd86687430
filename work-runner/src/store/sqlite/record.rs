//! A row of the table of jobs as a record. One that is damaged is read as far as it can be: it must not
//! keep the others from being read.

use crate::job::{Attempt, JobId, JobRecord, Recovery, stored};
use crate::lease::{Fence, WorkerId};
use crate::lifecycle::State;
use rusqlite::Row;
use rusqlite::types::{FromSql, ValueRef};
use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

/// Reads a row column by column; what does not fit is its default, and the row is unreadable. Also says whether
/// the payload lives beside it.
pub(super) fn read_row(row: &Row<'_>) -> (JobRecord, bool) {
    struct Reader<'a, 'r>(&'a Row<'r>, RefCell<Option<String>>);
    impl Reader<'_, '_> {
        fn get<T: FromSql + Default>(&self, at: usize) -> T {
            self.0.get(at).unwrap_or_else(|error| {
                self.1.borrow_mut().get_or_insert_with(|| error.to_string());
                T::default()
            })
        }

        fn text(&self, at: usize) -> Option<String> {
            let value = self.0.get_ref(at).ok()?;
            let bytes = value.as_bytes_or_null().ok().flatten()?;
            let text = String::from_utf8_lossy(bytes);
            if let Cow::Owned(_) = text {
                let why = format!("column {at} is not UTF-8");
                self.1.borrow_mut().get_or_insert(why);
            }
            Some(text.into_owned())
        }

        fn history(&self, at: usize) -> Vec<Attempt> {
            let bytes = self.0.get_ref(at).ok().and_then(|value| value.as_bytes_or_null().ok());
            stored::read(bytes.flatten().map(String::from_utf8_lossy).as_deref())
        }

        fn name(&self, at: usize) -> Arc<str> {
            self.text(at).unwrap_or_default().into()
        }
    }
    let read = Reader(row, RefCell::new(None));
    let code: i64 = read.get(1);
    let state = i16::try_from(code).ok().and_then(State::from_code);
    let mut record = JobRecord {
        id: JobId(read.get(0)),
        state: state.unwrap_or(State::Unreadable),
        fence: Fence(read.get(2)),
        owner: WorkerId(read.get(3)),
        attempt: read.get(4),
        rank: read.get(5),
        run_at: read.get(6),
        claimed_at: read.get(7),
        ended_at: read.get(8),
        lease_until: read.get(9),
        crashes: read.get(10),
        started: Fence(read.get(11)),
        cancel: read.get(12),
        priority: read.get(13),
        max_attempts: read.get(14),
        max_crashes: read.get(15),
        recovery: Recovery::from_code(read.get(16)),
        own_lease_ms: read.get(17),
        timeout_ms: read.get(18),
        unique_kept: read.get(19),
        limit_max: read.get(20),
        created_at: read.get(21),
        unique_key: read.text(22),
        limit_key: read.text(23).map(Arc::from),
        queue: read.name(24),
        kind: read.name(25),
        error: read.text(26),
        progress: read.get(27),
        result: read.get(28),
        payload: read.get::<Option<Vec<u8>>>(29).unwrap_or_default(),
        history: read.history(30),
    };
    if state.is_none() && code != i64::from(State::Unreadable.code()) {
        record.error = Some(format!("it has the unknown state {code}"));
    }
    if let Some(why) = read.1.into_inner() {
        record.state = State::Unreadable;
        record.error = Some(why);
    }
    let beside = row.get_ref(29).is_ok_and(|payload| payload == ValueRef::Null);
    (record, beside)
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, state, fence, owner, attempt, rank, run_at, claimed_at, ended_at, ",
            "lease_until, crashes, started, cancel, priority, max_attempts, max_crashes, recovery, ",
            "own_lease_ms, timeout_ms, unique_kept, limit_max, created_at, unique_key, limit_key, ",
            "queue, kind, error, progress, result, payload, history FROM lastout_jobs ",
            $rest
        )
    };
}
pub(super) use select;
