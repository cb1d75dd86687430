//! Jobs are enqueued and completed in transactions of the caller's own connection, in tables of any schema.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use lastout_work_runner::postgres::{PostgresOptions, PostgresRegistry, Tables};
use lastout_work_runner::{
    Applied, ClientStatement, Fence, Identity, JobId, Lease, NewJob, Outcome, Registry, Report,
    State, TurnRequest, WorkDriver, WorkerId, WriteError,
};
use std::sync::Arc;
use std::time::Duration;
use support::database::Database;
use tokio_postgres::{Client, GenericClient, NoTls};

fn job() -> NewJob {
    NewJob::raw("any", b"1".to_vec())
}

#[expect(clippy::disallowed_methods, reason = "what drives the connection ends with its client")]
async fn client(database: &Database) -> Client {
    let (client, connection) = tokio_postgres::connect(database.config(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn open(database: &Database, schema: &str) -> (Arc<dyn Registry>, Tables) {
    let options = PostgresOptions::new().schema(schema);
    let registry = PostgresRegistry::connect_with(database.config(), &options).await.unwrap();
    (Arc::new(registry), Tables::in_schema(schema).unwrap())
}

async fn held(registry: &Arc<dyn Registry>) -> Lease {
    let worker = WorkerId::random();
    registry.register(worker, Identity::current().into(), Duration::from_secs(60)).await.unwrap();
    let turn = TurnRequest::new(worker).claim("default", 1);
    registry.turn(turn).await.unwrap().claimed[0].lease
}

/// As any client runs it: a text with one parameter, which is a text.
async fn run(client: &impl GenericClient, statement: &ClientStatement) -> Vec<i64> {
    let rows = client.query(&statement.sql, &[&statement.parameter]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn the_schema_may_have_any_name() {
    let database = Database::create().await;
    let mut client = client(&database).await;
    // The second one is a word of the language.
    for schema in ["jobs_of_mine", "order"] {
        let (registry, tables) = open(&database, schema).await;
        let driver = WorkDriver::producer(Arc::clone(&registry));
        let tx = client.transaction().await.unwrap();
        let both = tables.enqueue_in(&tx, &[job().unique("k"), job().unique("k")]).await.unwrap();
        assert!(both[0].is_new() && !both[1].is_new() && both[0].id() == both[1].id());
        tx.commit().await.unwrap();
        let lease = held(&registry).await;
        let tx = client.transaction().await.unwrap();
        let mut stale = lease;
        stale.fence = Fence(0);
        let refused = tables.complete_in(&tx, stale, None).await.unwrap_err();
        assert!(matches!(refused, WriteError::LeaseLost(_)), "{refused:?}");
        let long = Some(vec![b'1'; (1 << 20) + 1]);
        let refused = tables.complete_in(&tx, lease, long).await.unwrap_err();
        assert!(matches!(refused, WriteError::TooLarge { limit: 0x10_0000, .. }), "{refused:?}");
        tables.complete_in(&tx, lease, Some(b"7".to_vec())).await.unwrap();
        tx.commit().await.unwrap();
        let row = driver.get(lease.job).await.unwrap().unwrap();
        assert_eq!((row.state, row.result_as::<u8>()), (State::Succeeded, Some(7)));
    }
    for bad in ["a; drop", "", "Upper", "a\"b"] {
        Tables::in_schema(bad).unwrap_err();
    }
    database.remove().await;
}

#[tokio::test]
async fn a_statement_for_any_client_is_part_of_its_transaction() {
    let database = Database::create().await;
    let mut client = client(&database).await;
    let (registry, tables) = open(&database, "order").await;
    let driver = WorkDriver::producer(Arc::clone(&registry));
    let bytes: Vec<u8> = (0..=255).collect();
    let odd = NewJob::raw("odd \u{1F600} \"'\\", bytes.clone()).delay(Duration::from_secs(3600));
    let big = NewJob::raw("big", vec![7; 100_000]).queue("elsewhere").priority(-3);
    let hourly = || job().unique("h").unique_per(Duration::from_secs(1_000_000_000));
    let jobs = [job(), job().unique("k"), job().unique("k"), odd, big, hourly()];
    let statement = tables.enqueue_statement(&jobs).unwrap();
    let tx = client.transaction().await.unwrap();
    let ids = run(&tx, &statement).await;
    assert_eq!(ids.len(), 5);
    tx.rollback().await.unwrap();
    assert_eq!(driver.get(JobId(ids[0])).await.unwrap(), None);
    let tx = client.transaction().await.unwrap();
    let ids = run(&tx, &statement).await;
    assert!(ids.len() == 5 && ids.is_sorted(), "{ids:?}");
    assert!(run(&tx, &tables.enqueue_statement(&jobs[1..3]).unwrap()).await.is_empty());
    assert!(run(&tx, &tables.enqueue_statement(&[]).unwrap()).await.is_empty());
    tx.commit().await.unwrap();
    let get = async |id: i64| driver.get(JobId(id)).await.unwrap().unwrap();
    assert_eq!(get(ids[1]).await.unique_key.as_deref(), Some("k"));
    let odd = get(ids[2]).await;
    assert_eq!(
        (&*odd.kind, odd.payload, odd.state),
        ("odd \u{1F600} \"'\\", bytes, State::Scheduled)
    );
    let big = get(ids[3]).await;
    assert_eq!((&*big.queue, big.payload, big.priority), ("elsewhere", vec![7; 100_000], -3));
    let taken = driver.enqueue(hourly()).await.unwrap();
    assert_eq!((taken.is_new(), taken.id().0), (false, ids[4]), "a key of a period is the same");

    let lease = held(&registry).await;
    let mut stale = lease;
    stale.fence = Fence(0);
    assert!(run(&client, &tables.complete_statement(stale, None).unwrap()).await.is_empty());
    tables.complete_statement(lease, Some(vec![b'1'; (1 << 20) + 1])).unwrap_err();
    let done = tables.complete_statement(lease, Some(b"7".to_vec())).unwrap();
    assert_eq!(run(&client, &done).await, [lease.job.0]);
    assert!(run(&client, &done).await.is_empty(), "once");
    let row = get(lease.job.0).await;
    assert_eq!((row.state, row.result_as::<u8>()), (State::Succeeded, Some(7)));
    let confirm = Report::new(lease, Outcome::Confirm);
    let turn = registry.turn(TurnRequest::new(lease.owner).reports([confirm])).await.unwrap();
    assert_eq!(turn.applied, [Applied::Before], "the runner finds it completed");
    for refused in [job().limit("key", 1), NewJob::raw("any", vec![0; 2 << 20])] {
        tables.enqueue_statement(&[job(), refused]).unwrap_err();
    }
    database.remove().await;
}
