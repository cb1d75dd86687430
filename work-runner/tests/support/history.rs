//! The store's own history: triggers note every change of a job's row, and the invariants are read off
//! the notes. Nothing that a worker says about itself counts here.

use lastout_work_runner::State;
use lastout_work_runner::lifecycle::EDGES;
use std::collections::HashMap;

/// One change of one row, as a trigger saw it. `from` is the state before, -1 for a new row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) job: i64,
    pub(crate) from: i16,
    pub(crate) to: i16,
    pub(crate) fence_from: i64,
    pub(crate) fence_to: i64,
    /// `attempt - crashes - max_attempts`: never above 0.
    pub(crate) attempts_over: i64,
    /// `crashes - max_crashes`: never above 0.
    pub(crate) crashes_over: i64,
}

/// What the notes add up to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) born: u64,
    pub(crate) claims: u64,
    pub(crate) ended: u64,
}

const COLUMNS: &str =
    "job, from_state, to_state, from_fence, to_fence, attempts_over, crashes_over";

/// Checks the invariants over all changes, in the order in which they were noted.
///
/// I1: every job that was born has ended. I2: once, and under the largest fence it ever had. I3: a
/// fence never falls, and only a claim raises it, by one. I4: no attempt and no crash too many. And
/// every change is an edge of the table.
pub(crate) fn check(changes: &[Change]) -> Sums {
    let mut sums = Sums::default();
    let mut jobs = HashMap::<i64, Vec<Change>>::new();
    for change in changes {
        jobs.entry(change.job).or_default().push(*change);
    }
    for (job, changes) in &jobs {
        let mut ends = 0;
        for change in changes {
            let to = State::from_code(change.to).unwrap();
            assert!(change.attempts_over <= 0 && change.crashes_over <= 0, "I4: {changes:?}");
            let Some(from) = State::from_code(change.from) else {
                sums.born += 1;
                continue;
            };
            let claimed = from == State::Ready && to == State::Running;
            let raise = i64::from(claimed);
            assert_eq!(change.fence_to, change.fence_from + raise, "I3: {changes:?}");
            sums.claims += u64::from(claimed);
            let leads = |(state, _, to_states): &&(State, _, &[State])| {
                *state == from
                    && (to_states.contains(&to)
                        || to == State::Held && to_states.contains(&State::Ready))
            };
            assert!(from == to || EDGES.iter().any(|edge| leads(&edge)), "no edge: {change:?}");
            ends += u64::from(!from.is_terminal() && to.is_terminal());
        }
        assert_eq!(ends, 1, "I1 and I2: job {job} ended {ends} times: {changes:?}");
        let last = changes.last().unwrap();
        let largest = changes.iter().map(|change| change.fence_to).max();
        assert!(State::from_code(last.to).unwrap().is_terminal(), "I1: {changes:?}");
        assert_eq!(largest, Some(last.fence_to), "I2: {changes:?}");
        sums.ended += ends;
    }
    assert_eq!(sums.born, sums.ended, "I1: what was born has ended");
    sums
}

#[cfg(feature = "sqlite")]
pub(crate) mod sqlite {
    use super::{COLUMNS, Change};
    use std::path::Path;

    const TRIGGERS: &str = "
        CREATE TABLE history (n INTEGER PRIMARY KEY, job, from_state, to_state, from_fence, to_fence,
            attempts_over, crashes_over);
        CREATE TRIGGER history_born AFTER INSERT ON lastout_jobs BEGIN
            INSERT INTO history VALUES (NULL, NEW.id, -1, NEW.state, 0, NEW.fence, 0, 0);
        END;
        CREATE TRIGGER history_moved AFTER UPDATE ON lastout_jobs BEGIN
            INSERT INTO history VALUES (NULL, NEW.id, OLD.state, NEW.state, OLD.fence, NEW.fence,
                NEW.attempt - NEW.crashes - NEW.max_attempts, NEW.crashes - NEW.max_crashes);
        END;";

    fn open(store: &Path) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(store).unwrap();
        conn.busy_timeout(super::super::PATIENCE).unwrap();
        conn
    }

    /// Notes every change from now on.
    pub(crate) fn note_in(store: &Path) {
        open(store).execute_batch(TRIGGERS).unwrap();
    }

    pub(crate) fn read(store: &Path) -> Vec<Change> {
        let conn = open(store);
        let mut rows = conn.prepare(&format!("SELECT {COLUMNS} FROM history ORDER BY n")).unwrap();
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Change {
                job: row.get(0)?,
                from: row.get(1)?,
                to: row.get(2)?,
                fence_from: row.get(3)?,
                fence_to: row.get(4)?,
                attempts_over: row.get(5)?,
                crashes_over: row.get(6)?,
            })
        };
        rows.query_map([], read).unwrap().map(Result::unwrap).collect()
    }
}

#[cfg(feature = "postgres")]
pub(crate) mod postgres {
    use super::{COLUMNS, Change};

    pub(crate) const TRIGGERS: &str = "
        CREATE TABLE lastout.history (n bigserial PRIMARY KEY, job int8, from_state int2, to_state int2,
            from_fence int8, to_fence int8, attempts_over int8, crashes_over int8);
        CREATE FUNCTION lastout.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO lastout.history VALUES (DEFAULT, NEW.id, -1, NEW.state, 0, NEW.fence, 0, 0);
            ELSE
                INSERT INTO lastout.history VALUES (DEFAULT, NEW.id, OLD.state, NEW.state, OLD.fence,
                    NEW.fence, NEW.attempt - NEW.crashes - NEW.max_attempts, NEW.crashes - NEW.max_crashes);
            END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER note AFTER INSERT OR UPDATE ON lastout.jobs
            FOR EACH ROW EXECUTE FUNCTION lastout.note();";

    pub(crate) async fn read(config: &str) -> Vec<Change> {
        let (client, connection) =
            tokio_postgres::connect(config, tokio_postgres::NoTls).await.unwrap();
        let sql = format!("SELECT {COLUMNS} FROM lastout.history ORDER BY n");
        let (_, rows) = tokio::join!(connection, async move { client.query(&sql, &[]).await });
        let read = |row: &tokio_postgres::Row| Change {
            job: row.get(0),
            from: row.get(1),
            to: row.get(2),
            fence_from: row.get(3),
            fence_to: row.get(4),
            attempts_over: row.get(5),
            crashes_over: row.get(6),
        };
        rows.unwrap().iter().map(read).collect()
    }
}
