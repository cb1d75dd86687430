//! What people do to queues: limits and pauses, which stand beside each other.

use super::rows::{Sql, Tx};
use crate::registry::{Pause, QueueRecord};
use rusqlite::params;

pub(super) fn limit(tx: &mut Tx<'_>, queue: &str, max: Option<u32>) -> Sql<()> {
    match max {
        Some(max) => tx.run(
            "INSERT INTO lastout_queues (name, max_running) VALUES (?1, ?2) \
             ON CONFLICT (name) DO UPDATE SET max_running = ?2",
            params![queue, max],
        )?,
        None => tx.run("DELETE FROM lastout_queues WHERE name = ?1", params![queue])?,
    };
    Ok(())
}

/// The first pause stays: a second one changes neither its time nor its name.
pub(super) fn pause(tx: &mut Tx<'_>, queue: &str, by: &str) -> Sql<bool> {
    let now_ms = tx.now_ms;
    let sql = "INSERT INTO lastout_pauses (queue, paused_by, paused_at) VALUES (?1, ?2, ?3) \
               ON CONFLICT (queue) DO NOTHING";
    Ok(tx.run(sql, params![queue, by, now_ms])? == 1)
}

pub(super) fn resume(tx: &mut Tx<'_>, queue: &str) -> Sql<bool> {
    Ok(tx.run("DELETE FROM lastout_pauses WHERE queue = ?1", params![queue])? == 1)
}

pub(super) fn queues(tx: &mut Tx<'_>) -> Sql<Vec<QueueRecord>> {
    let sql = "SELECT name, max(max_running), max(paused_by), max(paused_at) FROM \
               (SELECT name, max_running, NULL AS paused_by, NULL AS paused_at FROM lastout_queues \
               UNION ALL SELECT queue, NULL, paused_by, paused_at FROM lastout_pauses) \
               GROUP BY name ORDER BY name";
    tx.all(sql, params![], |row| {
        let paused = row.get::<_, Option<String>>(2)?.zip(row.get(3)?);
        let paused = paused.map(|(by, at_ms)| Pause::new(by, at_ms));
        Ok(QueueRecord::new(row.get(0)?, row.get(1)?, paused))
    })
}
