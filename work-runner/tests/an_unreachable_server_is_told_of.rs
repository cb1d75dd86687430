//! A PostgreSQL that cannot be reached is told of in time, as what it is.
#![cfg(feature = "postgres")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "real sockets, and a test fails by panicking"
)]

use lastout_work_runner::postgres::{PostgresOptions, PostgresRegistry};
use lastout_work_runner::{StoreError, StoreErrorKind};
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

async fn refused(port: u16, within: Duration) -> StoreError {
    let options = PostgresOptions::new().connect_within(within);
    let config = format!("host=127.0.0.1 port={port} user=app sslmode=disable connect_timeout=1");
    PostgresRegistry::connect_with(&config, &options).await.unwrap_err()
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Nothing was asked of the server, so no connection broke before an answer came.
fn is_unavailable(error: &StoreError) {
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    assert_eq!(
        error.to_string(),
        "connect to the job store: the store is busy or unreachable",
        "{error:?}"
    );
}

#[tokio::test]
async fn a_port_that_nobody_listens_at() {
    let (listener, port) = listen();
    drop(listener);
    is_unavailable(&refused(port, Duration::ZERO).await);
}

#[tokio::test]
async fn zero_is_one_try() {
    let (listener, port) = listen();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let tries = tokio::spawn(async move {
        let mut tries = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.unwrap();
            if first == [b'.'] {
                return tries;
            }
            tries += 1;
        }
    });
    is_unavailable(&refused(port, Duration::ZERO).await);
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(b".").unwrap();
    assert_eq!(tries.await.unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_again() {
    let (listener, port) = listen();
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            drop(listener.accept().unwrap());
        }
        let (mut stream, _) = listener.accept().unwrap();
        // An answer of a server that is there: no password fits.
        let fields = b"SFATAL\0VFATAL\0C28P01\0Mno\0\0";
        let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
        stream.write_all(&[b"E", &length[..], fields].concat()).unwrap();
        // Until the client has read it.
        let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    });
    let error = refused(port, Duration::from_secs(60)).await;
    assert_eq!(error.kind(), StoreErrorKind::Other, "{error:?}");
    server.join().unwrap();
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing() {
    let (_listener, port) = listen();
    is_unavailable(&refused(port, Duration::ZERO).await);
}
