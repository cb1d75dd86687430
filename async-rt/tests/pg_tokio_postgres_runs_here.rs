//! tokio-postgres on this runtime, against a real server: over this crate's sockets without a tokio
//! runtime, and over tokio's own sockets through `with_tokio`.
#![cfg(all(feature = "testing", feature = "tokio-compat"))]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{on_both_cores, within};
use futures_util::{SinkExt as _, TryStreamExt as _, pin_mut};
use lastout_async_rt::net::UnixStream;
use lastout_async_rt::tokio_compat::with_tokio;
use lastout_async_rt::{JoinHandle, JoinSet, spawn_boxed};
use std::future::poll_fn;
use std::rc::Rc;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

fn config() -> Config {
    let server = std::env::var("LASTOUT_POSTGRES").expect("set by `cargo xtask e2e`");
    server.parse().unwrap()
}

/// The server's socket.
async fn dial(config: &Config) -> UnixStream {
    let Host::Unix(folder) = &config.get_hosts()[0] else { panic!("a server on a Unix socket") };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await.unwrap()
}

/// A client whose connection is a task here; the task ends with what the server notified of.
async fn connect() -> (Client, JoinHandle<Vec<String>>) {
    let config = config();
    let (client, mut connection) = config.connect_raw(dial(&config).await, NoTls).await.unwrap();
    let driven = spawn_boxed(async move {
        let mut told = Vec::new();
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(note) = message.unwrap() {
                told.push(note.payload().to_owned());
            }
        }
        told
    });
    (client, driven)
}

on_both_cores! {
    fn queries_are_pipelined_from_many_tasks(core) {
        core.runtime().block_on(async {
            let (client, driven) = within("the connection", connect()).await;
            let client = Rc::new(client);
            let mut tasks = JoinSet::new();
            for n in 0..200_i32 {
                let client = Rc::clone(&client);
                tasks.spawn(async move {
                    let row = client.query_one("SELECT $1::int4 * 2, repeat('x', $1)", &[&n]).await.unwrap();
                    assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1).len()), (n * 2, n as usize));
                });
            }
            while let Some(ended) = within("a query among many", tasks.join_next()).await { ended.unwrap(); }
            drop(client);
            within("the connection's end", driven).await.unwrap();
        });
    }

    fn transactions_roll_back_and_copies_stream(core) {
        core.runtime().block_on(async {
            let (mut client, driven) = within("the connection", connect()).await;
            client.batch_execute("CREATE TEMP TABLE things (n int4 PRIMARY KEY, what text)").await.unwrap();
            let dropped = client.transaction().await.unwrap();
            dropped.execute("INSERT INTO things VALUES (1, 'gone')", &[]).await.unwrap();
            drop(dropped);
            let kept = client.transaction().await.unwrap();
            kept.execute("INSERT INTO things VALUES (1, 'kept')", &[]).await.unwrap();
            kept.commit().await.unwrap();
            let twice = client.execute("INSERT INTO things VALUES (1, 'twice')", &[]).await.unwrap_err();
            assert_eq!(twice.code(), Some(&SqlState::UNIQUE_VIOLATION));
            let sink = client.copy_in("COPY things FROM STDIN").await.unwrap();
            pin_mut!(sink);
            for n in 2..2_000 {
                sink.feed(hyper::body::Bytes::from(format!("{n}\tline {n}\n"))).await.unwrap();
            }
            assert_eq!(within("the copy", sink.finish()).await.unwrap(), 1_998);
            let rows = client.query_raw("SELECT what FROM things ORDER BY n", Vec::<i32>::new()).await.unwrap();
            let rows: Vec<_> = within("the rows", rows.try_collect()).await.unwrap();
            assert_eq!((rows.len(), rows[0].get::<_, &str>(0)), (1_999, "kept"));
            drop(client);
            within("the connection's end", driven).await.unwrap();
        });
    }

    fn a_query_is_cancelled_and_a_listener_is_told(core) {
        core.runtime().block_on(async {
            let (client, driven) = within("the connection", connect()).await;
            client.batch_execute("LISTEN lastout_async_rt").await.unwrap();
            let cancel = client.cancel_token();
            let query = format!("SELECT pg_sleep(600.0) /* {} {core:?} */", std::process::id());
            let wanted = query.clone();
            let canceller = spawn_boxed(async move {
                let (other, _driven) = connect().await;
                // Cancelled once the server runs it.
                let running = "SELECT count(*) FROM pg_stat_activity WHERE query = $1 AND state = 'active'";
                while other.query_one(running, &[&wanted]).await.unwrap().get::<_, i64>(0) == 0 {}
                cancel.cancel_query_raw(dial(&config()).await, NoTls).await.unwrap();
                other.batch_execute("NOTIFY lastout_async_rt, 'word'").await.unwrap();
            });
            let asleep = client.batch_execute(&query);
            let error = within("the cancelled query", asleep).await.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
            within("the canceller", canceller).await.unwrap();
            client.batch_execute("SELECT 1").await.unwrap();
            drop(client);
            assert!(within("the connection's end", driven).await.unwrap().contains(&"word".to_owned()));
        });
    }

    fn tokio_s_own_sockets_work_through_the_compat_layer(core) {
        core.runtime().block_on(async {
            let here = std::thread::current().id();
            let answer = with_tokio(async {
                let (client, connection) = config().connect(NoTls).await.unwrap();
                let driven = spawn_boxed(with_tokio(connection));
                let row = client.query_one("SELECT 6 * 7", &[]).await.unwrap();
                assert_eq!(std::thread::current().id(), here);
                drop(client);
                driven.await.unwrap().unwrap().unwrap();
                row.get::<_, i32>(0)
            });
            assert_eq!(within("the answer", answer).await.unwrap(), 42);
        });
    }
}
