//! The table of periodic jobs: what is due, and how a run becomes a job.

use super::super::table::at_once;
use super::super::transitions;
use super::rows::{Sql, Tx};
use crate::job::{JobId, JobRecord, NewJob, Template};
use crate::registry::{Enqueued, Pause, Periodic, PeriodicRecord};
use rusqlite::{Row, params};

/// The next run is kept when the expression is, and a pause always.
pub(super) fn put(tx: &mut Tx<'_>, new: &Periodic, template: &str) -> Sql<()> {
    tx.run(
        "INSERT INTO lastout_periodic (name, cron, next_at, job, error, catch_up) \
         VALUES (?1, ?2, ?3, ?4, NULL, ?5) ON CONFLICT (name) DO UPDATE SET cron = ?2, job = ?4, \
         error = NULL, catch_up = ?5, next_at = CASE WHEN cron = ?2 THEN next_at ELSE ?3 END",
        params![new.name, new.cron, new.first_ms, template.as_bytes(), new.catch_up],
    )?;
    Ok(())
}

/// Those that are neither disabled nor paused, without their jobs: each look asks for them.
pub(super) fn enabled(tx: &mut Tx<'_>) -> Sql<Vec<PeriodicRecord>> {
    let sql = "SELECT CAST(name AS BLOB), CAST(cron AS BLOB), next_at, catch_up FROM lastout_periodic \
               WHERE error IS NULL AND paused_at IS NULL ORDER BY name";
    tx.all(sql, params![], read)
}

/// All of them.
pub(super) fn list(tx: &mut Tx<'_>) -> Sql<Vec<PeriodicRecord>> {
    let sql = "SELECT CAST(name AS BLOB), CAST(cron AS BLOB), next_at, catch_up, CAST(error AS BLOB), \
               CAST(job AS BLOB), CAST(paused_by AS BLOB), paused_at FROM lastout_periodic ORDER BY name";
    tx.all(sql, params![], |row| {
        let record = read(row)?.error(row.get::<_, Option<Vec<u8>>>(4)?.map(text));
        let by = row.get::<_, Option<Vec<u8>>>(6)?.map(text).unwrap_or_default();
        let record = record.paused(row.get::<_, Option<i64>>(7)?.map(|at| Pause::new(by, at)));
        // One whose job cannot be read is shown without it.
        Ok(match Template::read(row.get_ref(5)?.as_bytes()?) {
            Ok(job) => record.job(&job),
            Err(_) => record,
        })
    })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read(row: &Row<'_>) -> rusqlite::Result<PeriodicRecord> {
    let record = PeriodicRecord::new(text(row.get(0)?), text(row.get(1)?), row.get(2)?);
    Ok(record.catch_up(u32::try_from(row.get::<_, i64>(3)?.max(0)).unwrap_or(u32::MAX)))
}

pub(super) fn fire(tx: &mut Tx<'_>, name: &str, at_ms: i64, next_ms: i64, runs: u32) -> Sql<bool> {
    let sql = "UPDATE lastout_periodic SET next_at = ?3 WHERE name = ?1 AND next_at = ?2 AND error IS NULL \
               AND paused_at IS NULL";
    if tx.run(sql, params![name, at_ms, next_ms])? == 0 {
        return Ok(false);
    }
    if let Some(job) = template(tx, name)? {
        for _ in 0..runs {
            enqueue(tx, &job)?;
        }
    }
    Ok(true)
}

/// The first pause stays.
pub(super) fn pause(tx: &mut Tx<'_>, name: &str, by: &str) -> Sql<bool> {
    let now_ms = tx.now_ms;
    let sql = "UPDATE lastout_periodic SET paused_by = ?2, paused_at = ?3 WHERE name = ?1 AND paused_at IS NULL";
    Ok(tx.run(sql, params![name, by, now_ms])? == 1)
}

pub(super) fn resume(tx: &mut Tx<'_>, name: &str, at_ms: i64, next_ms: i64) -> Sql<bool> {
    let sql = "UPDATE lastout_periodic SET paused_by = NULL, paused_at = NULL, next_at = ?3 \
               WHERE name = ?1 AND next_at = ?2 AND paused_at IS NOT NULL";
    Ok(tx.run(sql, params![name, at_ms, next_ms])? == 1)
}

/// Enqueues the job of `name` once.
pub(super) fn run(tx: &mut Tx<'_>, name: &str) -> Sql<Option<Enqueued>> {
    template(tx, name)?.map(|job| enqueue(tx, &job)).transpose()
}

fn template(tx: &mut Tx<'_>, name: &str) -> Sql<Option<NewJob>> {
    let sql = "SELECT job FROM lastout_periodic WHERE name = ?1";
    let read = |row: &Row<'_>| Ok(row.get_ref(0)?.as_bytes()?.to_vec());
    let Some(template) = tx.one(sql, params![name], read)? else {
        return Ok(None);
    };
    let job = Template::read(&template)?;
    // It may have been written by somebody else.
    job.check(usize::MAX)?;
    Ok(Some(job))
}

fn enqueue(tx: &mut Tx<'_>, job: &NewJob) -> Sql<Enqueued> {
    let mut row = JobRecord::new(JobId(0), job.clone(), tx.now_ms);
    at_once(transitions::enqueue(tx, &mut row))
}
