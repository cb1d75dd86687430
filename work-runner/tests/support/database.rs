//! A database of a test's own, on the server that `LASTOUT_POSTGRES` names.

use tokio_postgres::NoTls;

pub(crate) struct Database {
    server: String,
    name: String,
    config: String,
}

impl Database {
    pub(crate) async fn create() -> Self {
        let server = std::env::var("LASTOUT_POSTGRES").unwrap_or_else(|_| {
            panic!("LASTOUT_POSTGRES must hold a connection string such as `host=/tmp/pg user=postgres dbname=postgres`")
        });
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lastout_work_{}_{n}", std::process::id());
        run(&server, &format!("CREATE DATABASE {name}")).await;
        // The last word on a key wins.
        let config = format!("{server} dbname={name}");
        Self { server, name, config }
    }

    pub(crate) fn config(&self) -> &str {
        &self.config
    }

    pub(crate) async fn remove(self) {
        run(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

/// Runs one statement on a connection of its own.
pub(crate) async fn run(config: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(config, NoTls).await.unwrap();
    let (_, done) = tokio::join!(connection, async {
        let done = client.batch_execute(sql).await;
        drop(client);
        done
    });
    done.unwrap();
}

/// The one number that a query answers with.
pub(crate) async fn count(config: &str, sql: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(config, NoTls).await.unwrap();
    let sql = sql.to_owned();
    let (_, row) = tokio::join!(connection, async move { client.query_one(&sql, &[]).await });
    row.unwrap().get(0)
}
