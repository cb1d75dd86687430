//! The tables, their version, and how a file is opened: checked first, migrated second, used last.

use super::super::names::with_codes;
use super::options::{Durability, SqliteOptions};
use crate::clock::Clock;
use crate::error::{StoreError, StoreErrorKind};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

/// Each entry brings the tables one version further; the number of entries is the version.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    "ALTER TABLE lastout_periodic ADD COLUMN error TEXT",
    // What people count, by queue.
    "CREATE INDEX lastout_scheduled_in ON lastout_jobs (queue) WHERE due_at IS NOT NULL;
     CREATE INDEX lastout_held_in ON lastout_jobs (queue) WHERE held_key IS NOT NULL;
     CREATE INDEX lastout_unhappy_in ON lastout_jobs (unhappy, queue) WHERE unhappy IS NOT NULL",
    "CREATE TABLE lastout_pauses (queue TEXT PRIMARY KEY, paused_by TEXT NOT NULL, \
     paused_at INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "ALTER TABLE lastout_jobs ADD COLUMN history TEXT",
    // The jobs that wait, in the order of pages; what workers say of themselves; how many
    // missed runs are made up for.
    "CREATE INDEX lastout_ready_ids ON lastout_jobs (id) WHERE state = {ready};
     CREATE INDEX lastout_scheduled_ids ON lastout_jobs (id) WHERE due_at IS NOT NULL;
     CREATE INDEX lastout_held_ids ON lastout_jobs (id) WHERE held_key IS NOT NULL;
     ALTER TABLE lastout_workers ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE lastout_workers ADD COLUMN about TEXT;
     ALTER TABLE lastout_periodic ADD COLUMN catch_up INTEGER NOT NULL DEFAULT 1",
    // The pause of a periodic job. Rates of queues (scope 0) and of limit keys (1): the bucket lacked
    // so many parts at a time, and until free_at it has no token.
    "ALTER TABLE lastout_periodic ADD COLUMN paused_by TEXT;
     ALTER TABLE lastout_periodic ADD COLUMN paused_at INTEGER;
     CREATE TABLE lastout_rates (scope INTEGER NOT NULL, name TEXT NOT NULL, most INTEGER NOT NULL, \
     per_ms INTEGER NOT NULL, burst INTEGER NOT NULL, at_ms INTEGER NOT NULL, missing INTEGER NOT NULL, \
     free_at INTEGER NOT NULL, span_ms INTEGER NOT NULL, PRIMARY KEY (scope, name)) STRICT, WITHOUT ROWID",
];

/// The version that this build reads and writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// By how much two readings of the boot clock may contradict their order, as on processors that disagree.
const CLOCK_SLACK_MS: i64 = 1_000;

/// The pause between two tries for a lock that another connection holds. Short, so that this
/// connection gets its turn in the pause of a writer that works without end (see `writer`).
const BUSY_PAUSE: Duration = Duration::from_micros(100);
/// How long a file that is being opened may be locked.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

thread_local! {
    /// Until when the connection of this thread waits for a lock.
    static LOCK_UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The connection of this thread waits for locks until `until`.
pub(super) fn wait_for_locks_until(until: Instant) {
    LOCK_UNTIL.set(Some(until));
}
/// The write-ahead log is cut to this size when a checkpoint empties it.
const WAL_LIMIT_BYTES: i64 = 64 << 20;

#[expect(
    clippy::disallowed_methods,
    reason = "the busy handler of SQLite can only block its thread"
)]
fn wait_for_lock(_tries: i32) -> bool {
    // SLEEP: SQLite's busy handler has nothing to wait on but time.
    std::thread::sleep(BUSY_PAUSE);
    LOCK_UNTIL.get().is_some_and(|until| Instant::now() < until)
}

/// Opens a file for the writer: creates, checks and migrates its tables.
pub(super) fn open_writer(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, options.migrate);
    let mut conn = connect(path, flags)?;
    if !options.migrate {
        // Before anything is changed: it may be somebody else's file.
        match version(&conn)? {
            Some(VERSION) => {}
            found => return Err(other_version(found)),
        }
    }
    let mode: String = conn
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(|error| failed("switch to the write-ahead log", error))?;
    if mode != "wal" {
        let why = format!("its file system allows only journal mode {mode}");
        return Err(StoreError::new(StoreErrorKind::Other, "open the job store").with_source(why));
    }
    let level = match options.durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    // Settings are per connection: nobody else's can weaken ours.
    for (name, value) in [("synchronous", level), ("foreign_keys", "OFF")] {
        conn.pragma_update(None, name, value)
            .map_err(|error| failed("set up the job store", error))?;
    }
    conn.pragma_update(None, "journal_size_limit", WAL_LIMIT_BYTES)
        .map_err(|error| failed("set up the job store", error))?;
    if let Some(pages) = options.max_pages {
        // It answers with the limit in force, which may be larger: the file is never cut.
        let limit = format!("PRAGMA max_page_count = {pages}");
        conn.query_row(&limit, [], |_| Ok(()))
            .map_err(|error| failed("set up the job store", error))?;
    }
    migrate(&mut conn, &options.clock)?;
    Ok(conn)
}

/// Opens a file that the writer has checked, for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    connect(path, flags)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    wait_for_locks_until(Instant::now() + OPEN_WITHIN);
    let mut conn = Connection::open_with_flags(path, flags)
        .map_err(|error| failed("open the job store", error))?;
    conn.busy_handler(Some(wait_for_lock)).map_err(|error| failed("open the job store", error))?;
    Ok(conn)
}

fn migrate(conn: &mut Connection, clock: &Clock) -> Result<(), StoreError> {
    let doing = "migrate the job store";
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| failed(doing, error))?;
    let found = version(&tx)?;
    let have = found.unwrap_or(0);
    if have > VERSION || found == Some(0) {
        return Err(other_version(found));
    }
    if have > 0 {
        note_boot(&tx, clock, boot()).map_err(|error| failed(doing, error))?;
    }
    if have < VERSION {
        refuse_while_used(&tx, have, clock)?;
        for step in &MIGRATIONS[have as usize..] {
            tx.execute_batch(&with_codes(step)).map_err(|error| failed(doing, error))?;
        }
        tx.execute("UPDATE lastout_meta SET value = ?1 WHERE key = 'schema'", [VERSION])
            .map_err(|error| failed(doing, error))?;
    }
    if have == 0 {
        note_boot(&tx, clock, boot()).map_err(|error| failed(doing, error))?;
    }
    tx.commit().map_err(|error| failed(doing, error))
}

/// The version of the tables; `None` when there are none.
fn version(conn: &Connection) -> Result<Option<i64>, StoreError> {
    let doing = |error| failed("open the job store", error);
    let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'lastout_meta'";
    if conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(doing)? == 0 {
        return Ok(None);
    }
    let sql = "SELECT value FROM lastout_meta WHERE key = 'schema'";
    let found = conn.query_row(sql, [], |row| row.get::<_, i64>(0)).optional();
    Ok(Some(found.map_err(doing)?.unwrap_or(0)))
}

fn other_version(found: Option<i64>) -> StoreError {
    let kind = StoreErrorKind::SchemaVersion { have: found.unwrap_or(0), want: VERSION };
    let error = StoreError::new(kind, "open the job store");
    match found {
        Some(_) => error,
        None => error.with_source("it has no tables of a job store"),
    }
}

/// Workers of an older version still hold leases: the tables must not change under them.
fn refuse_while_used(conn: &Connection, have: i64, clock: &Clock) -> Result<(), StoreError> {
    if have == 0 {
        return Ok(());
    }
    let sql = "SELECT count(*) FROM lastout_workers WHERE lease_until > ?1 AND boot_of_lease = ?2";
    let live: i64 = conn
        .query_row(sql, (clock.boot_ms(), boot()), |row| row.get(0))
        .map_err(|error| failed("migrate the job store", error))?;
    if live == 0 {
        return Ok(());
    }
    let kind = StoreErrorKind::SchemaVersion { have, want: VERSION };
    let why = format!("{live} workers of the other version still hold leases");
    Err(StoreError::new(kind, "migrate the job store").with_source(why))
}

/// An own lease is cut to this, as where a job is claimed, so that its end is a number.
const LONGEST_MS: i64 = 1 << 62;

const RENEW_OWN: &str = "UPDATE lastout_jobs SET lease_until = ?1 + min(own_lease_ms, 4611686018427387904) \
                         WHERE state = {running} AND own_lease_ms > 0";

/// After a reboot the lease clock starts again: own leases get their full length anew.
fn note_boot(conn: &Connection, clock: &Clock, boot: &str) -> rusqlite::Result<()> {
    let now = clock.boot_ms();
    if boot.is_empty() {
        return end_earlier_boot(conn, now);
    }
    // Always a write: a file that may only be read is found out here, not by the first job.
    let note = "UPDATE lastout_meta SET value = value WHERE key = 'boot' AND text = ?1";
    if conn.execute(note, [boot])? == 1 {
        return Ok(());
    }
    conn.execute(&with_codes(RENEW_OWN), [now])?;
    conn.execute("UPDATE lastout_meta SET text = ?1 WHERE key = 'boot'", [boot])?;
    Ok(())
}

/// Boots have no name here, and the lease clock starts again with each. It is read and noted in transactions of
/// writers, one after the other, so a clock behind its last note is one of a later boot: then every worker of the
/// file is gone. A clock that has caught up before the file is opened gives nothing away; the leases are over by then,
/// or a lease later at most. An own lease that ends after its full length was given in an earlier boot as well.
fn end_earlier_boot(conn: &Connection, now: i64) -> rusqlite::Result<()> {
    let noted = "SELECT value FROM lastout_meta WHERE key = 'boot'";
    let noted: Option<i64> = conn.query_row(noted, [], |row| row.get(0))?;
    if noted.is_some_and(|noted| noted - CLOCK_SLACK_MS > now) {
        conn.execute("UPDATE lastout_workers SET lease_until = 0", [])?;
    }
    let of_earlier = format!("{RENEW_OWN} AND lease_until - min(own_lease_ms, {LONGEST_MS}) > ?1");
    conn.execute(&with_codes(&of_earlier), [now])?;
    conn.execute("UPDATE lastout_meta SET text = '', value = ?1 WHERE key = 'boot'", [now])?;
    Ok(())
}

/// The boot that leases in the file belong to: under another one they have all run out.
pub(super) fn boot() -> &'static str {
    crate::identity::boot()
}

/// What an error of SQLite means to a caller.
pub(super) fn failed(doing: &'static str, error: rusqlite::Error) -> StoreError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SystemIoFailure) => {
            StoreErrorKind::Unavailable
        }
        Some(ErrorCode::DiskFull | ErrorCode::TooBig) => StoreErrorKind::Full,
        Some(ErrorCode::ReadOnly) => StoreErrorKind::ReadOnly,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Other,
    };
    StoreError::new(kind, doing).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    /// A file with a worker, and jobs with own leases of a minute and of any length, all of a boot that had lasted
    /// an hour.
    fn file_of_an_hour() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        for step in MIGRATIONS {
            conn.execute_batch(&with_codes(step)).unwrap();
        }
        end_earlier_boot(&conn, HOUR).unwrap();
        let worker = "INSERT INTO lastout_workers (id, host, boot, pid, start, lease_until, boot_of_lease) \
                      VALUES (1, '', '', 1, 0, ?1, '')";
        conn.execute(worker, [HOUR + 30_000]).unwrap();
        for (id, own) in [(1, 60_000), (2, i64::MAX)] {
            let job = "INSERT INTO lastout_jobs (id, state, fence, owner, attempt, rank, run_at, claimed_at, ended_at, \
                       lease_until, crashes, started, cancel, priority, max_attempts, max_crashes, recovery, \
                       own_lease_ms, timeout_ms, unique_kept, limit_max, created_at, queue, kind) VALUES \
                       (?1, {running}, 1, -1, 1, 0, 0, 0, 0, ?2, 0, 0, 0, 0, 1, 1, 0, ?3, 0, 0, 0, 0, '', '')";
            let until = HOUR + own.min(LONGEST_MS);
            conn.execute(&with_codes(job), [id, until, own]).unwrap();
        }
        conn
    }

    fn number(conn: &Connection, sql: &str) -> i64 {
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn leases(conn: &Connection) -> [i64; 3] {
        let own =
            |id| number(conn, &format!("SELECT lease_until FROM lastout_jobs WHERE id = {id}"));
        [number(conn, "SELECT lease_until FROM lastout_workers"), own(1), own(2)]
    }

    #[test]
    fn a_boot_clock_behind_its_last_note_ends_every_lease() {
        let conn = file_of_an_hour();
        let as_given = [HOUR + 30_000, HOUR + 60_000, HOUR + LONGEST_MS];
        end_earlier_boot(&conn, HOUR).unwrap();
        assert_eq!(leases(&conn), as_given, "the same boot goes on");
        end_earlier_boot(&conn, HOUR + 10_000).unwrap();
        assert_eq!(leases(&conn), as_given, "the same boot goes on");
        end_earlier_boot(&conn, 20_000).unwrap();
        assert_eq!(
            leases(&conn),
            [0, 80_000, 20_000 + LONGEST_MS],
            "the machine was started again"
        );
        assert_eq!(number(&conn, "SELECT value FROM lastout_meta WHERE key = 'boot'"), 20_000);
    }

    #[test]
    fn processors_that_disagree_end_no_lease_of_a_worker() {
        let conn = file_of_an_hour();
        end_earlier_boot(&conn, HOUR - CLOCK_SLACK_MS).unwrap();
        assert_eq!(leases(&conn)[0], HOUR + 30_000);
    }

    #[test]
    fn a_boot_of_another_name_renews_own_leases_of_any_length() {
        let conn = file_of_an_hour();
        let clock = Clock::manual();
        note_boot(&conn, &clock, "another").unwrap();
        let now = clock.boot_ms();
        assert_eq!(leases(&conn)[1..], [now + 60_000, now + LONGEST_MS]);
    }
}
