//! The table of workers: who holds a lease, and what it says of itself.

use super::pool::{Connection, failed};
use super::rows::{Params, Sql, Tx};
use crate::identity::Identity;
use crate::job::millis;
use crate::lease::WorkerId;
use crate::registry::{WorkerAbout, WorkerProfile, WorkerRecord, known};
use std::time::Duration;
use tokio_postgres::Row;

pub(super) async fn register(
    connection: &mut Connection,
    worker: WorkerId,
    profile: &WorkerProfile,
    ttl: Duration,
) -> Sql<()> {
    let Identity { host, boot, pid, start } = &profile.identity;
    let statement = connection
        .prepare(
            "INSERT INTO lastout.workers (id, host, boot, pid, start, lease_until, since, about) \
             SELECT $1, $2, $3, $4, $5, now_ms + $6::int8, now_ms, $7 \
             FROM (SELECT (extract(epoch FROM now()) * 1000)::int8 AS now_ms) AS clock ON CONFLICT DO NOTHING",
        )
        .await?;
    let about = profile.about.json();
    let values: Params<'_> = &[&worker.0, host, boot, pid, start, &millis(ttl), &about];
    let done = connection.client.execute(&statement, values).await;
    match done.map_err(|error| failed("register a worker", error))? {
        1 => Ok(()),
        _ => Err(known(worker)),
    }
}

pub(super) async fn beat(
    connection: &mut Connection,
    worker: WorkerId,
    ttl: Duration,
) -> Sql<bool> {
    let statement = connection
        .prepare(
            "WITH clock AS MATERIALIZED (SELECT (extract(epoch FROM now()) * 1000)::int8 AS now_ms), \
             told AS (DELETE FROM lastout.signals s WHERE s.owner = $1 AND NOT EXISTS (SELECT 1 \
             FROM lastout.jobs j WHERE j.id = s.job AND j.state + 0 = {running} AND j.owner = $1)) \
             UPDATE lastout.workers w SET lease_until = clock.now_ms + $2::int8 FROM clock \
             WHERE w.id = $1 AND w.lease_until > clock.now_ms",
        )
        .await?;
    let done = connection.client.execute(&statement, &[&worker.0, &millis(ttl)]).await;
    done.map(|rows| rows == 1).map_err(|error| failed("renew a lease", error))
}

/// How many hold a lease.
pub(super) async fn living(tx: &mut Tx<'_>) -> Sql<usize> {
    let now_ms = tx.now_ms;
    let sql = "SELECT count(*) FROM lastout.workers WHERE lease_until > $1";
    let rows = tx.all(sql, &[&now_ms]).await?;
    Ok(rows.first().map_or(0, |row| usize::try_from(row.get::<_, i64>(0)).unwrap_or(0)))
}

/// Every worker.
pub(super) async fn list(tx: &mut Tx<'_>) -> Sql<Vec<WorkerRecord>> {
    let now_ms = tx.now_ms;
    let sql = "SELECT id, host, boot, pid, start, lease_until - $1, since, about \
               FROM lastout.workers ORDER BY id";
    let each = |row: &Row| {
        let identity = Identity::new(row.get(1), row.get(2), row.get(3), row.get(4));
        let about = WorkerAbout::read(row.get(7));
        WorkerRecord::new(WorkerId(row.get(0)), identity, row.get(5)).about(row.get(6), about)
    };
    Ok(tx.all(sql, &[&now_ms]).await?.iter().map(each).collect())
}
