//! TLS to a PostgreSQL with a certificate: each `sslmode` lets in what libpq lets in.
#![cfg(feature = "tls")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a real server, and a test fails by panicking"
)]

mod support;

use base64::Engine as _;
use lastout_work_runner::postgres::{PostgresOptions, PostgresRegistry};
use lastout_work_runner::{
    DurableWorker, Job, NewJob, Poke, Registry, State, StoreError, StoreErrorKind, WorkDriver,
    WorkRunner,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::Arc;
use std::time::Duration;
use support::PATIENCE;
use support::database::{count, run};
use support::server::Server;

fn pem(what: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server that takes TLS only, in the name `db.test`, and asks for a password bound to the connection.
fn start(issuer: &Issuer) -> Server {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["db.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Server::start_encrypted(
        &pem("CERTIFICATE", certificate.der()),
        &pem("PRIVATE KEY", &key.serialize_der()),
    )
}

struct Setting {
    server: Server,
    root: String,
    stranger: String,
}

async fn setting() -> Setting {
    let (known, other) = (issuer(), issuer());
    let server = start(&known);
    // As soon as it has started.
    drop(PostgresRegistry::connect(&server.config()).await.unwrap());
    run(&server.config(), "ALTER USER postgres PASSWORD 'secret'").await;
    let root = server.file("root.pem", &pem("CERTIFICATE", known.der()));
    let stranger = server.file("stranger.pem", &pem("CERTIFICATE", other.der()));
    Setting { server, root, stranger }
}

impl Setting {
    fn config(&self, more: &str) -> String {
        format!("{} {more}", self.server.address("db.test"))
    }

    async fn connect(&self, more: &str) -> Result<PostgresRegistry, StoreError> {
        PostgresRegistry::connect_with(&self.config(more), &PostgresOptions::new().connections(1))
            .await
    }

    /// How many of the connections of registries are encrypted, and how many are not.
    async fn connections(&self) -> (i64, i64) {
        let ours = |ssl: &str| {
            format!(
                "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE \
                 application_name = 'lastout-work-runner' AND {ssl}"
            )
        };
        let config = self.server.config();
        (count(&config, &ours("ssl")).await, count(&config, &ours("NOT ssl")).await)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_lets_in_what_libpq_lets_in() {
    let setting = setting().await;
    let (root, stranger) = (&setting.root, &setting.stranger);
    let gone = async || setting.connections().await == (0, 0);
    support::eventually("no registry is connected", gone).await;
    for (more, lets_in) in [
        (String::new(), true),
        ("sslmode=prefer".to_owned(), true),
        ("sslmode=require".to_owned(), true),
        ("sslmode=disable".to_owned(), false),
        (format!("sslmode=require sslrootcert={root}"), true),
        (format!("sslmode=require sslrootcert={stranger}"), false),
        (format!("sslmode=verify-ca sslrootcert={root}"), true),
        (format!("sslmode=verify-ca sslrootcert={root} host=other.test"), true),
        (format!("sslmode=verify-ca sslrootcert={stranger}"), false),
        (format!("sslmode=verify-full sslrootcert={root}"), true),
        (format!("sslmode=verify-full sslrootcert={root} channel_binding=require"), true),
        (format!("sslmode=verify-full sslrootcert={root} host=other.test"), false),
        (format!("sslmode=verify-full sslrootcert={stranger}"), false),
        ("sslmode=verify-full".to_owned(), false),
        ("sslrootcert=system".to_owned(), false),
    ] {
        let more = more.as_str();
        let connected = match more.strip_suffix("host=other.test") {
            Some(more) => {
                let config = format!("{} {more}", setting.server.address("other.test"));
                PostgresRegistry::connect(&config).await
            }
            None => setting.connect(more).await,
        };
        match connected {
            Ok(registry) => {
                assert!(lets_in, "{more}: it connected");
                let (encrypted, plain) = setting.connections().await;
                assert!(encrypted > 0 && plain == 0, "{more}: {encrypted} encrypted, {plain} not");
                drop(registry);
                support::eventually("its connections end", gone).await;
            }
            Err(error) => {
                assert!(!lets_in, "{more}: {error:?}");
                assert!(!error.is_transient(), "another try changes nothing: {more}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_file_of_roots_that_cannot_be_used_is_told_of() {
    let folder = support::Folder::new();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate\n").unwrap();
    for file in [empty, folder.path().join("missing.pem")] {
        let config = format!("host=db sslmode=verify-full sslrootcert={}", file.display());
        let refused = PostgresRegistry::connect(&config).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Invalid, "{refused:?}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_when_it_is_required() {
    let database = support::database::Database::create().await;
    let config = format!("{} sslmode=require", database.config());
    let refused = PostgresRegistry::connect(&config).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Other, "{refused:?}");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_run_over_tls() {
    let setting = setting().await;
    let more = format!("sslmode=verify-full sslrootcert={}", setting.root);
    let registry: Arc<dyn Registry> = Arc::new(setting.connect(&more).await.unwrap());
    let elsewhere = setting.connect(&more).await.unwrap();
    let heard = Poke::new();
    elsewhere.subscribe(&heard);
    // The listener starts in the background, and pokes once it listens.
    tokio::time::timeout(PATIENCE, heard.poked()).await.unwrap();
    let worker = DurableWorker::builder(Arc::clone(&registry))
        .handle("double", |job: Job<Vec<u32>>| async move { Ok(job.len() * 2) })
        .build()
        .unwrap();
    let running = WorkRunner::inline(worker).spawn();
    let driver = WorkDriver::producer(registry);
    // More than one record of TLS.
    let id = driver.enqueue(NewJob::new("double", &vec![7; 100_000]).unwrap()).await.unwrap().id();
    let row = driver.wait(id, PATIENCE).await.unwrap().unwrap();
    assert_eq!((row.state, row.result_as()), (State::Succeeded, Some(200_000)), "{row:?}");
    tokio::time::timeout(PATIENCE, heard.poked()).await.unwrap();
    assert!(running.stop(PATIENCE).await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_given_up_is_ended_at_the_server_over_tls() {
    let setting = setting().await;
    let options = PostgresOptions::new().connections(1).call_timeout(Duration::from_secs(1));
    let config = setting.config(&format!("sslmode=verify-full sslrootcert={}", setting.root));
    let registry = PostgresRegistry::connect_with(&config, &options).await.unwrap();
    let local = setting.server.config();
    let (client, connection) =
        tokio_postgres::connect(&local, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE lastout.jobs IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let refused = registry.enqueue(vec![NewJob::raw("any", Vec::new())]).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unknown, "{refused:?}");
    // Otherwise it would wait for the lock, and enqueue when nobody waits for it any more.
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    support::eventually("nothing waits", async || count(&local, waits).await == 0).await;
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(count(&local, "SELECT count(*) FROM lastout.jobs").await, 0);
    drop(client);
    connection.await.unwrap().unwrap();
}
