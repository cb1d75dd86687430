//! The floor on PostgreSQL: complete and claim in one statement on two connections. The server is the
//! one that `LASTOUT_POSTGRES` names.

use std::time::Instant;
use tokio_postgres::NoTls;

/// A database on the server that `LASTOUT_POSTGRES` names; `None` when it names none.
pub fn config() -> Option<String> {
    std::env::var("LASTOUT_POSTGRES").ok()
}

pub async fn run(config: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(config, NoTls).await.unwrap();
    let (_, done) = tokio::join!(connection, async {
        let done = client.batch_execute(sql).await;
        drop(client);
        done
    });
    done.unwrap();
}

/// Makes an empty database for one round and drops it afterwards.
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    pub fn create(server: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "lastout_bench_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        crate::ours::runtime().block_on(async {
            run(server, &format!("CREATE DATABASE {name}")).await;
            // What the round before left dirty is written now, not beside this one.
            run(server, "CHECKPOINT").await;
        });
        Self { server: server.into(), name }
    }

    pub fn config(&self) -> String {
        format!("{} dbname={}", self.server, self.name)
    }

    /// The same as a URL, for peers that read only those.
    pub fn url(&self) -> String {
        let word = |key: &str| {
            self.server.split(' ').find_map(|word| word.strip_prefix(key)).unwrap_or("postgres")
        };
        let host = word("host=").replace('/', "%2F");
        format!("postgres://{}@{host}/{}", word("user="), self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        crate::ours::runtime().block_on(run(&self.server, &drop));
    }
}

const TABLE: &str = "
    CREATE TABLE jobs (
        id int8 PRIMARY KEY GENERATED ALWAYS AS IDENTITY, state int2 NOT NULL, queue text NOT NULL,
        kind text NOT NULL, priority int2 NOT NULL, run_at timestamptz NOT NULL, attempt int4 NOT NULL,
        max_attempts int4 NOT NULL, fence int8 NOT NULL, owner int8, lease_until timestamptz,
        ended_at timestamptz, payload bytea NOT NULL
    );
    CREATE INDEX ready ON jobs (priority, run_at, id) WHERE state = 0;
    CREATE INDEX leased ON jobs (lease_until) WHERE state = 1;";

const CYCLE: &str = "
    WITH done AS (
        UPDATE jobs j SET state = 2, ended_at = now(), owner = NULL, lease_until = NULL
        FROM unnest($1::int8[], $2::int8[]) AS d (id, fence)
        WHERE j.id = d.id AND j.state + 0 = 1 AND j.fence = d.fence
    ), pick AS MATERIALIZED (
        SELECT id FROM jobs WHERE state = 0 AND run_at <= now()
        ORDER BY priority, run_at, id LIMIT $3 FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs j SET state = 1, attempt = attempt + 1, fence = fence + 1, owner = 42,
        lease_until = now() + interval '30 s'
    FROM pick WHERE j.id = pick.id RETURNING j.id, j.fence, j.kind, j.attempt, j.payload";

async fn connect(config: &str) -> (tokio_postgres::Client, tokio::task::JoinHandle<()>) {
    let (client, connection) = tokio_postgres::connect(config, NoTls).await.unwrap();
    (client, tokio::spawn(async move { drop(connection.await) }))
}

/// Completes and claims in batches on two connections until `jobs` are done.
pub fn cycle(server: &str, batch: i64, jobs: usize) -> f64 {
    let database = Database::create(server);
    let config = database.config();
    crate::ours::runtime().block_on(async {
        run(&config, TABLE).await;
        let fill = format!(
            "INSERT INTO jobs (state, queue, kind, priority, run_at, attempt, max_attempts, fence, payload) \
             SELECT 0, 'default', 'noop', 0, now(), 0, 20, 0, decode(repeat('31', 64), 'hex') \
             FROM generate_series(1, {jobs}); ANALYZE jobs"
        );
        run(&config, &fill).await;
        let worker = async || {
            let (client, _driver) = connect(&config).await;
            let cycle = client.prepare(CYCLE).await.unwrap();
            let (mut ids, mut fences): (Vec<i64>, Vec<i64>) = Default::default();
            loop {
                let rows = client.query(&cycle, &[&ids, &fences, &batch]).await.unwrap();
                if rows.is_empty() {
                    return;
                }
                ids = rows.iter().map(|row| row.get(0)).collect();
                fences = rows.iter().map(|row| row.get(1)).collect();
                rows.iter().for_each(|row| drop(std::hint::black_box(row.get::<_, Vec<u8>>(4))));
            }
        };
        let start = Instant::now();
        tokio::join!(worker(), worker());
        jobs as f64 / start.elapsed().as_secs_f64()
    })
}

/// Rows per second of a COPY into the same table.
pub fn copy(server: &str, jobs: usize) -> f64 {
    use tokio_postgres::binary_copy::BinaryCopyInWriter;
    use tokio_postgres::types::Type;
    let database = Database::create(server);
    let config = database.config();
    crate::ours::runtime().block_on(async {
        run(&config, TABLE).await;
        let (client, _driver) = connect(&config).await;
        let start = Instant::now();
        let sink = client
            .copy_in(
                "COPY jobs (state, queue, kind, priority, run_at, attempt, max_attempts, fence, payload) \
                 FROM STDIN BINARY",
            )
            .await
            .unwrap();
        let types = [
            Type::INT2, Type::TEXT, Type::TEXT, Type::INT2, Type::TIMESTAMPTZ, Type::INT4, Type::INT4,
            Type::INT8, Type::BYTEA,
        ];
        let mut writer = std::pin::pin!(BinaryCopyInWriter::new(sink, &types));
        let now = std::time::SystemTime::now();
        for _ in 0..jobs {
            let payload: &[u8] = &[b'1'; 64];
            writer
                .as_mut()
                .write(&[&0_i16, &"default", &"noop", &0_i16, &now, &0_i32, &20_i32, &0_i64, &payload])
                .await
                .unwrap();
        }
        writer.finish().await.unwrap();
        jobs as f64 / start.elapsed().as_secs_f64()
    })
}
