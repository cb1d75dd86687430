//! What people do to queues: limits and pauses, which stand beside each other.

use super::rows::{Sql, Tx};
use crate::registry::{Pause, QueueRecord};
use tokio_postgres::Row;

pub(super) async fn limit(tx: &mut Tx<'_>, queue: &str, max: Option<u32>) -> Sql<()> {
    let most = max.map(|max| i32::try_from(max).unwrap_or(i32::MAX));
    match most {
        Some(most) => {
            let sql = "INSERT INTO lastout.queues (name, max_running) VALUES ($1, $2) \
                       ON CONFLICT (name) DO UPDATE SET max_running = $2";
            tx.run(sql, &[&queue, &most]).await
        }
        None => tx.run("DELETE FROM lastout.queues WHERE name = $1", &[&queue]).await,
    }
    .map(drop)
}

/// The first pause stays: a second one changes neither its time nor its name.
pub(super) async fn pause(tx: &mut Tx<'_>, queue: &str, by: &str) -> Sql<bool> {
    let now_ms = tx.now_ms;
    let sql = "INSERT INTO lastout.pauses (queue, paused_by, paused_at) VALUES ($1, $2, $3) \
               ON CONFLICT (queue) DO NOTHING";
    Ok(tx.run(sql, &[&queue, &by, &now_ms]).await? == 1)
}

pub(super) async fn resume(tx: &mut Tx<'_>, queue: &str) -> Sql<bool> {
    Ok(tx.run("DELETE FROM lastout.pauses WHERE queue = $1", &[&queue]).await? == 1)
}

pub(super) async fn queues(tx: &mut Tx<'_>) -> Sql<Vec<QueueRecord>> {
    let sql = "SELECT coalesce(q.name, p.queue) AS name, q.max_running, p.paused_by, p.paused_at \
               FROM lastout.queues q FULL JOIN lastout.pauses p ON p.queue = q.name ORDER BY 1";
    let each = |row: &Row| {
        let paused = row.get::<_, Option<String>>(2).zip(row.get(3));
        let paused = paused.map(|(by, at_ms)| Pause::new(by, at_ms));
        let most = row.get::<_, Option<i32>>(1).map(i32::unsigned_abs);
        QueueRecord::new(row.get(0), most, paused)
    };
    Ok(tx.all(sql, &[]).await?.iter().map(each).collect())
}
