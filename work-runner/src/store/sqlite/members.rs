//! The table of workers: who holds a lease, and what it says of itself.

use super::rows::{Sql, Tx};
use super::schema::boot;
use crate::identity::Identity;
use crate::job::millis;
use crate::lease::WorkerId;
use crate::registry::{WorkerAbout, WorkerProfile, WorkerRecord, known};
use rusqlite::{Row, params};
use std::time::Duration;

pub(super) fn register(
    tx: &mut Tx<'_>,
    worker: WorkerId,
    profile: &WorkerProfile,
    ttl: Duration,
) -> Sql<()> {
    let (now_ms, lease_until) = (tx.now_ms, tx.boot_ms.saturating_add(millis(ttl)));
    let Identity { host, boot: of_process, pid, start } = &profile.identity;
    let about = profile.about.json();
    let new = tx.run(
        "INSERT INTO lastout_workers (id, host, boot, pid, start, lease_until, boot_of_lease, since, about) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
        params![worker.0, host, of_process, pid, start, lease_until, boot(), now_ms, about],
    )?;
    note_clock(tx)?;
    if new == 1 { Ok(()) } else { Err(known(worker)) }
}

pub(super) fn beat(tx: &mut Tx<'_>, worker: WorkerId, ttl: Duration) -> Sql<bool> {
    let now = tx.boot_ms;
    let lease_until = now.saturating_add(millis(ttl));
    let sql = "UPDATE lastout_workers SET lease_until = ?2 \
               WHERE id = ?1 AND lease_until > ?3 AND boot_of_lease = ?4";
    let live = tx.run(sql, params![worker.0, lease_until, now, boot()])? == 1;
    note_clock(tx)?;
    // What it was told about jobs that it no longer holds needs no telling.
    tx.run(
        "DELETE FROM lastout_signals WHERE owner = ?1 AND job NOT IN \
         (SELECT id FROM lastout_jobs WHERE state = {running} AND owner = ?1)",
        params![worker.0],
    )?;
    Ok(live)
}

/// Where boots have no name, how far the boot clock had come when the last lease was given tells them apart; see
/// `schema`.
fn note_clock(tx: &mut Tx<'_>) -> Sql<()> {
    if boot().is_empty() {
        let now = tx.boot_ms;
        tx.run("UPDATE lastout_meta SET value = ?1 WHERE key = 'boot'", params![now])?;
    }
    Ok(())
}

/// Every worker, without what it says of itself: each look asks for them.
pub(super) fn peers(tx: &mut Tx<'_>) -> Sql<Vec<WorkerRecord>> {
    let boot_ms = tx.boot_ms;
    let sql = "SELECT id, host, boot, pid, start, lease_until, boot_of_lease FROM lastout_workers";
    tx.all(sql, params![], |row| read(row, boot_ms))
}

/// Every worker.
pub(super) fn list(tx: &mut Tx<'_>) -> Sql<Vec<WorkerRecord>> {
    let boot_ms = tx.boot_ms;
    let sql = "SELECT id, host, boot, pid, start, lease_until, boot_of_lease, since, CAST(about AS BLOB) \
               FROM lastout_workers";
    tx.all(sql, params![], |row| {
        let about: Option<Vec<u8>> = row.get(8)?;
        let about = about.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(read(row, boot_ms)?.about(row.get(7)?, WorkerAbout::read(about.as_deref())))
    })
}

fn read(row: &Row<'_>, boot_ms: i64) -> rusqlite::Result<WorkerRecord> {
    let identity = Identity::new(row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
    let this_boot = row.get_ref(6)?.as_str()? == boot();
    let left = if this_boot { row.get::<_, i64>(5)? - boot_ms } else { 0 };
    Ok(WorkerRecord::new(WorkerId(row.get(0)?), identity, left))
}
