//! Names of hosts: resolved on the blocking pool, tried address by address, refused when they are none.
#![cfg(all(feature = "testing", feature = "net"))]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{on_both_cores, within};
use lastout_async_rt::net::{TcpListener, TcpStream, lookup_host};
use lastout_async_rt::time::yield_now;
use lastout_async_rt::{Handle, spawn_blocking, spawn_boxed};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::channel;

fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// An address that refuses connections.
fn nobody() -> SocketAddr {
    TcpListener::bind(local()).unwrap().local_addr().unwrap()
}

on_both_cores! {
    fn a_name_is_resolved_and_a_number_is_not(core) {
        core.runtime().block_on(async {
            let listener = TcpListener::bind(local()).unwrap();
            let port = listener.local_addr().unwrap().port();
            let accepted = || Handle::current().blocking_stats().accepted;
            for number in [format!("127.0.0.1:{port}"), format!("{}", listener.local_addr().unwrap())] {
                within("a number", TcpStream::connect(&number)).await.unwrap();
                within("a number", TcpStream::connect(number)).await.unwrap();
            }
            within("a pair", TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await.unwrap();
            within("a pair", TcpStream::connect(("127.0.0.1", port))).await.unwrap();
            assert_eq!(lookup_host("[::1]:80").await.unwrap(), ["[::1]:80".parse().unwrap()]);
            assert_eq!(accepted(), 0);
            // `localhost` may be an IPv6 address first, where nobody listens.
            within("a name", TcpStream::connect(("localhost", port))).await.unwrap();
            within("a name", TcpStream::connect(format!("localhost:{port}"))).await.unwrap();
            assert_eq!(accepted(), 2);
        });
    }

    fn a_slow_lookup_holds_up_nothing_else(core) {
        let runtime = core.builder().blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind(local()).unwrap();
            let address = listener.local_addr().unwrap();
            let (release, blocks) = channel::<()>();
            let slow = spawn_blocking(move || { let _ = blocks.recv(); }).unwrap();
            let lookup = spawn_boxed(TcpStream::connect(("localhost", address.port())));
            let dropped = spawn_boxed(lookup_host("localhost:1"));
            within("a number beside a lookup", TcpStream::connect(address)).await.unwrap();
            assert!(!lookup.is_finished());
            dropped.abort();
            assert!(within("an aborted lookup", dropped).await.is_err());
            assert_eq!(Handle::current().blocking_stats().cancelled, 1, "it does not wait for a thread any more");
            drop(release);
            within("the slow closure", slow).await.unwrap();
            within("the lookup", lookup).await.unwrap().unwrap();
        });
    }

    fn each_address_is_tried(core) {
        core.runtime().block_on(async {
            let listener = TcpListener::bind(local()).unwrap();
            let addresses = [nobody(), nobody(), listener.local_addr().unwrap()];
            let stream = within("the third", TcpStream::connect(&addresses[..])).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), addresses[2]);
            let error = within("two that refuse", TcpStream::connect(&addresses[..2])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let none: &[SocketAddr] = &[];
            assert_eq!(TcpStream::connect(none).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        });
    }

    fn what_is_no_address_is_refused(core) {
        core.runtime().block_on(async {
            for text in ["", ":", ":80", "host", "host:", "host:99999", "host:-1", "host:80:", "::1", "[::1]"] {
                let error = TcpStream::connect(text).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}: {error}");
                assert!(error.to_string().contains(text));
            }
            for text in ["a.name.that.is.invalid:80", "nul\0nul:80"] {
                assert!(within("an unknown name", TcpStream::connect(text)).await.is_err(), "{text:?}");
            }
        });
    }

    fn a_pool_that_is_full_is_an_error_of_the_lookup(core) {
        let runtime = core.builder().blocking_threads(1).blocking_queue(1).build().unwrap();
        runtime.block_on(async {
            let (release, blocks) = channel::<()>();
            let (begun, runs) = channel();
            let slow = spawn_blocking(move || { begun.send(()).unwrap(); let _ = blocks.recv(); }).unwrap();
            runs.recv().unwrap();
            let waits = spawn_boxed(lookup_host("localhost:1"));
            yield_now().await;
            let error = lookup_host("localhost:2").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceBusy);
            drop(release);
            within("the slow closure", slow).await.unwrap();
            within("the lookup that waited", waits).await.unwrap().unwrap();
        });
    }
}
