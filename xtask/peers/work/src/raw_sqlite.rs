//! The floor: the same steps by hand, one thread, one connection, nothing around them.

use rusqlite::{Connection, params};
use std::path::Path;
use std::time::Instant;

const TABLE: &str = "
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY, state INTEGER NOT NULL, queue TEXT NOT NULL, kind TEXT NOT NULL,
        priority INTEGER NOT NULL, run_at INTEGER NOT NULL, attempt INTEGER NOT NULL,
        max_attempts INTEGER NOT NULL, fence INTEGER NOT NULL, owner INTEGER, lease_until INTEGER,
        ended_at INTEGER, payload BLOB NOT NULL
    ) STRICT;
    CREATE INDEX ready ON jobs (queue, priority, run_at) WHERE state = 0;
    CREATE INDEX leased ON jobs (lease_until) WHERE state = 1;";

/// A file in a folder of its own, removed at the end.
pub struct File(std::path::PathBuf);

impl File {
    pub fn new(dir: &Path) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("lastout-bench-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.0.join("jobs.db")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path, synchronous: &str) -> Connection {
    let conn = Connection::open(path).unwrap();
    let _: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
    conn.pragma_update(None, "synchronous", synchronous).unwrap();
    conn.execute_batch(TABLE).unwrap();
    conn
}

const INSERT: &str = "INSERT INTO jobs (state, queue, kind, priority, run_at, attempt, max_attempts, \
    fence, payload) VALUES (0, 'default', 'noop', 0, ?1, 0, 20, 0, ?2)";

/// Claims `batch` and completes the `batch` before, in one transaction, until `jobs` are done.
pub fn cycle(dir: &Path, synchronous: &str, batch: usize, jobs: usize) -> f64 {
    let file = File::new(dir);
    let conn = open(&file.path(), synchronous);
    conn.execute_batch("BEGIN").unwrap();
    {
        let mut insert = conn.prepare(INSERT).unwrap();
        for n in 0..jobs {
            insert.execute(params![n as i64, [b'1'; 64]]).unwrap();
        }
    }
    conn.execute_batch("COMMIT").unwrap();
    let mut pick = conn
        .prepare(
            "UPDATE jobs SET state = 1, attempt = attempt + 1, fence = fence + 1, owner = ?1, \
             lease_until = ?2 WHERE id IN (SELECT id FROM jobs WHERE state = 0 AND queue = 'default' \
             AND run_at <= ?3 ORDER BY priority, run_at LIMIT ?4) RETURNING id, fence, kind, attempt, payload",
        )
        .unwrap();
    let mut done = conn
        .prepare(
            "UPDATE jobs SET state = 2, ended_at = ?3, owner = NULL, lease_until = NULL \
             WHERE id = ?1 AND state = 1 AND fence = ?2",
        )
        .unwrap();
    let mut held: Vec<(i64, i64)> = Vec::new();
    let mut completed = 0;
    let start = Instant::now();
    while completed < jobs {
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        for (id, fence) in held.drain(..) {
            completed += done.execute(params![id, fence, 7]).unwrap();
        }
        let mut rows = pick.query(params![42, 1_000_000, i64::MAX, batch as i64]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let payload: Vec<u8> = row.get(4).unwrap();
            std::hint::black_box((&payload, row.get::<_, String>(2).unwrap()));
            held.push((row.get(0).unwrap(), row.get(1).unwrap()));
        }
        drop(rows);
        conn.execute_batch("COMMIT").unwrap();
    }
    jobs as f64 / start.elapsed().as_secs_f64()
}

/// Group commit by hand: callers that each await the commit of one insert, and one thread that writes
/// for all of them.
pub fn group_commit(dir: &Path, callers: usize, jobs: usize) -> f64 {
    use tokio::sync::oneshot;
    let file = File::new(dir);
    let path = file.path();
    let (sender, calls) = std::sync::mpsc::channel::<oneshot::Sender<i64>>();
    let writer = std::thread::spawn(move || {
        let conn = open(&path, "NORMAL");
        let mut insert = conn.prepare(INSERT).unwrap();
        while let Ok(first) = calls.recv() {
            let mut waiting = vec![first];
            waiting.extend(std::iter::from_fn(|| calls.try_recv().ok()).take(255));
            conn.execute_batch("BEGIN IMMEDIATE").unwrap();
            let ids: Vec<_> = waiting
                .iter()
                .map(|_| {
                    insert.execute(params![7, [b'1'; 64]]).unwrap();
                    conn.last_insert_rowid()
                })
                .collect();
            conn.execute_batch("COMMIT").unwrap();
            for (waiter, id) in waiting.into_iter().zip(ids) {
                let _ = waiter.send(id);
            }
        }
    });
    let rate = crate::ours::runtime().block_on(async {
        let start = Instant::now();
        let mut tasks = Vec::new();
        for _ in 0..callers {
            let sender = sender.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..jobs / callers {
                    let (reply, answer) = oneshot::channel();
                    sender.send(reply).unwrap();
                    answer.await.unwrap();
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        (jobs / callers * callers) as f64 / start.elapsed().as_secs_f64()
    });
    drop(sender);
    writer.join().unwrap();
    rate
}
