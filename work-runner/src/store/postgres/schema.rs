//! The tables, their version, and how a database is checked and migrated.

use super::super::names::with_codes;
use super::pool::{Connection, failed};
use crate::error::{StoreError, StoreErrorKind};

/// Each entry brings the tables one version further; the number of entries is the version.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    "ALTER TABLE lastout.periodic ADD COLUMN error text",
    // What people count, by queue.
    "CREATE INDEX jobs_scheduled_in ON lastout.jobs (queue) WHERE state = {scheduled};
     CREATE INDEX jobs_held_in ON lastout.jobs (queue) WHERE state = {held};
     CREATE INDEX jobs_unhappy_in ON lastout.jobs (state, queue) WHERE state > {succeeded}",
    "CREATE TABLE lastout.pauses (queue text PRIMARY KEY, paused_by text NOT NULL, paused_at int8 NOT NULL)",
    "ALTER TABLE lastout.jobs ADD COLUMN history text",
    // The jobs that wait, in the order of pages; what workers say of themselves; how many
    // missed runs are made up for.
    "CREATE INDEX jobs_ready_ids ON lastout.jobs (id) WHERE state = {ready};
     CREATE INDEX jobs_scheduled_ids ON lastout.jobs (id) WHERE state = {scheduled};
     CREATE INDEX jobs_held_ids ON lastout.jobs (id) WHERE state = {held};
     ALTER TABLE lastout.workers ADD COLUMN since int8 NOT NULL DEFAULT 0;
     ALTER TABLE lastout.workers ADD COLUMN about text;
     ALTER TABLE lastout.periodic ADD COLUMN catch_up int4 NOT NULL DEFAULT 1",
    // The pause of a periodic job. Rates of queues (scope 0) and of limit keys (1): the bucket lacked
    // so many parts at a time, and until free_at it has no token.
    "ALTER TABLE lastout.periodic ADD COLUMN paused_by text;
     ALTER TABLE lastout.periodic ADD COLUMN paused_at int8;
     CREATE TABLE lastout.rates (scope int2 NOT NULL, name text NOT NULL, most int8 NOT NULL, \
     per_ms int8 NOT NULL, burst int8 NOT NULL, at_ms int8 NOT NULL, missing int8 NOT NULL, \
     free_at int8 NOT NULL, span_ms int8 NOT NULL, PRIMARY KEY (scope, name))",
];

/// The version that this build reads and writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// The schema unless another is asked for, and the name that stands for it in statements.
pub(super) const DEFAULT: &str = "lastout";

/// Puts the codes of states and the name of the schema into a statement, quoted: it may be a word of the
/// language.
pub(super) fn named(sql: &str, schema: &str) -> String {
    let sql = with_codes(sql);
    if schema == DEFAULT {
        return sql;
    }
    sql.replace("lastout.", &format!("\"{schema}\"."))
}

/// A name that can be put into statements between quotes.
pub(super) fn check_name(schema: &str) -> Result<(), StoreError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts_well = schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts_well && schema.chars().all(plain) && schema.len() <= 48 {
        return Ok(());
    }
    let why = format!("the schema name {schema:?} is not made of up to 48 of a-z, 0-9 and _");
    Err(StoreError::new(StoreErrorKind::Other, "open the job store").with_source(why))
}

/// Checks that the tables are there and of this version.
pub(super) async fn check(connection: &mut Connection, schema: &str) -> Result<(), StoreError> {
    let checking = |error| failed("open the job store", error);
    let client = &connection.client;
    let exists = named("SELECT to_regclass('lastout.meta') IS NOT NULL", schema);
    let exists: bool = client.query_one(&exists, &[]).await.map_err(checking)?.get(0);
    if !exists {
        let why = format!("the schema {schema} has no tables of a job store");
        return Err(other_version(0).with_source(why));
    }
    let read = named("SELECT value FROM lastout.meta WHERE key = 'schema'", schema);
    let found = client.query_opt(&read, &[]).await.map_err(checking)?;
    match found.map_or(-1, |row| row.get(0)) {
        VERSION => Ok(()),
        have => Err(other_version(have)),
    }
}

fn other_version(have: i64) -> StoreError {
    let kind = StoreErrorKind::SchemaVersion { have, want: VERSION };
    StoreError::new(kind, "open the job store")
}

/// Creates, checks and migrates the tables, one process at a time.
pub(super) async fn migrate(connection: &mut Connection, schema: &str) -> Result<(), StoreError> {
    let client = &connection.client;
    client.batch_execute("BEGIN").await.map_err(migrating)?;
    let done = migrate_in_transaction(connection, schema).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.client.batch_execute(end).await.map_err(migrating);
    done.and(ended)
}

fn migrating(error: tokio_postgres::Error) -> StoreError {
    failed("migrate the job store", error)
}

async fn migrate_in_transaction(
    connection: &mut Connection,
    schema: &str,
) -> Result<(), StoreError> {
    let text = |sql: &str| named(sql, schema);
    let client = &connection.client;
    // Held until the end of the transaction, by name of the schema.
    let lock = "SELECT pg_advisory_xact_lock(hashtext('lastout-work-runner ' || $1))";
    client.query(lock, &[&schema]).await.map_err(migrating)?;
    let make = text(
        "DO $$ BEGIN IF to_regclass('lastout.meta') IS NULL THEN \
         CREATE SCHEMA IF NOT EXISTS lastout_schema; \
         CREATE TABLE lastout.meta (key text PRIMARY KEY, value int8 NOT NULL); \
         INSERT INTO lastout.meta VALUES ('schema', 0); END IF; END $$",
    );
    let quoted = format!("\"{schema}\"");
    client.batch_execute(&make.replace("lastout_schema", &quoted)).await.map_err(migrating)?;
    let read = text("SELECT value FROM lastout.meta WHERE key = 'schema'");
    let found = client.query_opt(&read, &[]).await.map_err(migrating)?;
    let have: i64 = found.map_or(-1, |row| row.get(0));
    if !(0..=VERSION).contains(&have) {
        return Err(other_version(have));
    }
    if have == VERSION {
        return Ok(());
    }
    if have > 0 {
        let count = text("SELECT count(*) FROM lastout.workers WHERE lease_until > $1");
        let now = super::rows::now_ms(connection).await?;
        let live = connection.client.query_one(&count, &[&now]).await.map_err(migrating)?;
        let live: i64 = live.get(0);
        if live > 0 {
            let kind = StoreErrorKind::SchemaVersion { have, want: VERSION };
            let why = format!("{live} workers of the other version still hold leases");
            return Err(StoreError::new(kind, "migrate the job store").with_source(why));
        }
    }
    for step in &MIGRATIONS[have as usize..] {
        connection.client.batch_execute(&text(step)).await.map_err(migrating)?;
    }
    let note = text("UPDATE lastout.meta SET value = $1 WHERE key = 'schema'");
    connection.client.execute(&note, &[&VERSION]).await.map_err(migrating)?;
    Ok(())
}
