//! A store of each earlier version with jobs in every state is brought to this one: every job is there as it
//! was, and goes on. While a worker of the older version lives, it is refused.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::sqlite::{SqliteOptions, SqliteRegistry};
use lastout_work_runner::{Query, Registry, StoreErrorKind};
use std::sync::Arc;
use support::Folder;
use support::older_versions::{JOBS, SQLITE_STEPS, VERSIONS, check, statements, steps_to};

fn older_version(folder: &Folder, version: i64) -> std::path::PathBuf {
    let path = folder.path().join(format!("version_{version}.db"));
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(include_str!("support/first_version_sqlite.sql")).unwrap();
    conn.execute_batch(&steps_to(version, SQLITE_STEPS)).unwrap();
    conn.execute_batch(&statements("lastout_", version)).unwrap();
    let indexed = "UPDATE lastout_jobs SET due_at = CASE WHEN state = 0 THEN run_at END, \
                   held_key = CASE WHEN state = 1 THEN limit_key END, \
                   open_key = CASE WHEN state < 4 THEN unique_key END, \
                   unhappy = CASE WHEN state > 4 THEN state END";
    assert_eq!(conn.execute(indexed, []).unwrap(), JOBS);
    path
}

#[tokio::test]
async fn jobs_in_every_state_go_on() {
    let folder = Folder::new();
    let made = folder.path().join("made.db");
    drop(SqliteRegistry::open(&made).unwrap());
    for version in VERSIONS {
        let path = older_version(&folder, version);
        let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::open(&path).unwrap());
        check(registry, version).await;
        // What was brought up to date is as it would have been made.
        assert_eq!(layout(&path), layout(&made), "from version {version}");
    }
}

/// Tables and their columns, and indexes.
fn layout(path: &std::path::Path) -> Vec<String> {
    let conn = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT m.type || ' ' || m.name || ' ' || coalesce(group_concat(c.name || ' ' || c.type), '') \
               FROM sqlite_master m LEFT JOIN pragma_table_xinfo(m.name) c GROUP BY m.name ORDER BY m.name";
    let mut statement = conn.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_living_worker_of_an_older_version_is_not_overtaken() {
    let folder = Folder::new();
    for version in VERSIONS {
        let path = older_version(&folder, version);
        refuses_while_a_worker_lives(&path, version).await;
    }
}

async fn refuses_while_a_worker_lives(path: &std::path::Path, version: i64) {
    let conn = rusqlite::Connection::open(path).unwrap();
    // The name of the boot; empty where boots have none.
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let lease = "INSERT INTO lastout_workers (id, host, boot, pid, start, lease_until, boot_of_lease) \
                 VALUES (9, 'h', '', 1, 1, 9223372036854775807, ?1)";
    conn.execute(lease, [boot.trim()]).unwrap();
    let error = SqliteRegistry::open(path).unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::SchemaVersion { have, .. } if have == version));
    let found = "SELECT value FROM lastout_meta WHERE key = 'schema'";
    let found: i64 = conn.query_row(found, [], |row| row.get(0)).unwrap();
    assert_eq!(found, version, "nothing was changed");
    conn.execute("DELETE FROM lastout_workers", []).unwrap();
    check(Arc::new(SqliteRegistry::open(path).unwrap()), version).await;
}

#[tokio::test]
async fn what_is_opened_as_it_is_stays_as_it_is() {
    let folder = Folder::new();
    let as_it_is = SqliteOptions::new().migrate(false);
    let open = |path: &std::path::Path| SqliteRegistry::open_with(path, &as_it_is);
    for version in VERSIONS {
        let path = older_version(&folder, version);
        let before = layout(&path);
        let error = open(&path).unwrap_err();
        assert!(
            matches!(error.kind(), StoreErrorKind::SchemaVersion { have, .. } if have == version)
        );
        assert_eq!(layout(&path), before);
        check(Arc::new(SqliteRegistry::open(&path).unwrap()), version).await;
        assert_eq!(open(&path).unwrap().list(Query::all()).await.unwrap().len(), JOBS);
    }
    // A file that is not there is not made, and one of another program is not touched.
    let none = folder.path().join("none.db");
    assert_eq!(open(&none).unwrap_err().kind(), StoreErrorKind::Missing);
    assert!(!none.exists());
    let other = folder.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let before = std::fs::read(&other).unwrap();
    let error = open(&other).unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::SchemaVersion { have: 0, .. }), "{error}");
    assert_eq!(std::fs::read(&other).unwrap(), before);
    std::fs::write(&other, "no database, and long enough to be looked at as one").unwrap();
    assert_eq!(open(&other).unwrap_err().kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn a_newer_store_is_refused() {
    let folder = Folder::new();
    let path = folder.path().join("jobs.db");
    drop(SqliteRegistry::open(&path).unwrap());
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute("UPDATE lastout_meta SET value = value + 1 WHERE key = 'schema'", []).unwrap();
    let error = SqliteRegistry::open(&path).unwrap_err();
    let StoreErrorKind::SchemaVersion { have, want } = error.kind() else {
        panic!("an older build says what it found: {error:?}");
    };
    assert_eq!(have, want + 1);
}
