//! Programs that were written for tokio or for the `futures` traits run on this runtime as they are:
//! hyper's client and server, axum, tungstenite and rustls, over the sockets of this crate. No tokio
//! runtime is started.
#![cfg(all(feature = "testing", feature = "tokio-compat"))]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::{accept_async, client_async};
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use common::{on_both_cores, within};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1 as client1, http2 as client2};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use lastout_async_rt::net::{TcpListener, TcpStream};
use lastout_async_rt::{JoinSet, spawn_boxed};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Spawns for hyper on this runtime; what it spawns need not be `Send`.
#[derive(Clone)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_boxed(future).detach();
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // State of one thread: handlers here need not be `Send`.
    let path = Rc::new(request.uri().path().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let answer = Response::builder().header("x-path", path.as_str());
    Ok(answer.body(Full::new(body)).unwrap())
}

fn body_of(n: usize) -> Bytes {
    Bytes::from(vec![n as u8; 1 + n * 7919 % 200_000])
}

fn post_to(path: &str, body: Bytes) -> Request<Full<Bytes>> {
    Request::post(path).header("host", "here").body(Full::new(body)).unwrap()
}

/// A certificate for `localhost` that signs itself, as the configurations of both sides.
fn certificates() -> (TlsAcceptor, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)))
}

on_both_cores! {
    fn hyper_serves_and_asks_over_http1(core) {
        let runtime = core.runtime();
        runtime.block_on(async {
            const CLIENTS: usize = 8;
            const REQUESTS: usize = 25;
            let (listener, address) = listen();
            let server = spawn_boxed(async move {
                let mut connections = JoinSet::new();
                for _ in 0..CLIENTS {
                    let (stream, _) = listener.accept().await.unwrap();
                    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo));
                    connections.spawn(serving);
                }
                while let Some(ended) = connections.join_next().await { ended.unwrap().unwrap(); }
            });
            let mut clients = JoinSet::new();
            for client in 0..CLIENTS {
                clients.spawn(async move {
                    let stream = TcpStream::connect(address).await.unwrap();
                    let (mut send, connection) = client1::handshake(TokioIo::new(stream)).await.unwrap();
                    let driven = spawn_boxed(connection);
                    for n in 0..REQUESTS {
                        let body = body_of(client * REQUESTS + n);
                        let answer = send.send_request(post_to("/some/path", body.clone())).await.unwrap();
                        assert_eq!(answer.headers()["x-path"], "/some/path");
                        assert!(answer.into_body().collect().await.unwrap().to_bytes() == body);
                    }
                    drop(send);
                    driven.await.unwrap().unwrap();
                });
            }
            while let Some(ended) = within("a client", clients.join_next()).await { ended.unwrap(); }
            within("the server", server).await.unwrap();
        });
        assert_eq!(runtime.stats().descriptors, 0);
    }

    fn hyper_serves_and_asks_over_http2(core) {
        core.runtime().block_on(async {
            const REQUESTS: usize = 40;
            let (listener, address) = listen();
            let server = spawn_boxed(async move {
                let (stream, _) = listener.accept().await.unwrap();
                http2::Builder::new(Local).serve_connection(TokioIo::new(stream), service_fn(echo)).await
            });
            let stream = TcpStream::connect(address).await.unwrap();
            let (send, connection) = client2::handshake(Local, TokioIo::new(stream)).await.unwrap();
            let driven = spawn_boxed(connection);
            let mut requests = JoinSet::new();
            for n in 0..REQUESTS {
                let mut send = send.clone();
                requests.spawn(async move {
                    let body = body_of(n);
                    send.ready().await.unwrap();
                    let request = Request::post("http://here/h2").body(Full::new(body.clone())).unwrap();
                    let answer = send.send_request(request).await.unwrap();
                    assert!(answer.into_body().collect().await.unwrap().to_bytes() == body);
                });
            }
            drop(send);
            while let Some(ended) = within("a request among many", requests.join_next()).await { ended.unwrap(); }
            within("the client's connection", driven).await.unwrap().unwrap();
            within("the server's connection", server).await.unwrap().unwrap();
        });
    }

    fn axum_routes_requests(core) {
        core.runtime().block_on(async {
            let (listener, address) = listen();
            let hits = Arc::new(AtomicUsize::new(0));
            let router = Router::new()
                .route("/hello/{name}", get(|State(hits): State<Arc<AtomicUsize>>, Path(name): Path<String>| async move {
                    hits.fetch_add(1, Ordering::Relaxed);
                    format!("hello {name}")
                }))
                .route("/length", post(|body: Bytes| async move { body.len().to_string() }))
                .with_state(Arc::clone(&hits));
            let server = spawn_boxed(async move {
                let (stream, _) = listener.accept().await.unwrap();
                http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await
            });
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut send, connection) = client1::handshake(TokioIo::new(stream)).await.unwrap();
            let driven = spawn_boxed(connection);
            let mut ask = async |request: Request<Full<Bytes>>| {
                let answer = within("an answer", send.send_request(request)).await.unwrap();
                let status = answer.status();
                (status, answer.into_body().collect().await.unwrap().to_bytes())
            };
            let get = |path: &str| Request::get(path).header("host", "here").body(Full::default()).unwrap();
            assert_eq!(ask(get("/hello/axum")).await, (StatusCode::OK, "hello axum".into()));
            assert_eq!(ask(post_to("/length", body_of(9))).await, (StatusCode::OK, body_of(9).len().to_string().into()));
            assert_eq!(ask(get("/nowhere")).await.0, StatusCode::NOT_FOUND);
            assert_eq!(hits.load(Ordering::Relaxed), 1);
            drop(send);
            driven.await.unwrap().unwrap();
            within("the server", server).await.unwrap().unwrap();
        });
    }

    fn tungstenite_talks_in_both_directions(core) {
        core.runtime().block_on(async {
            let (listener, address) = listen();
            let server = spawn_boxed(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut socket = accept_async(stream).await.unwrap();
                let mut echoed = 0;
                while let Some(message) = socket.next().await {
                    let message = message.unwrap();
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                        echoed += 1;
                    }
                }
                echoed
            });
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut socket, _) = within("the handshake", client_async(format!("ws://{address}/"), stream)).await.unwrap();
            for n in 0..50 {
                let (text, block) = (Message::text(format!("message {n}")), Message::binary(body_of(n)));
                socket.feed(text.clone()).await.unwrap();
                socket.send(block.clone()).await.unwrap();
                assert_eq!(within("the text", socket.next()).await.unwrap().unwrap(), text);
                assert!(within("the block", socket.next()).await.unwrap().unwrap() == block);
            }
            socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
            assert_eq!(within("the pong", socket.next()).await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
            socket.close(None).await.unwrap();
            while let Some(last) = within("the close", socket.next()).await { assert!(last.unwrap().is_close()); }
            assert_eq!(within("the server", server).await.unwrap(), 100);
        });
    }

    fn rustls_encrypts_both_directions(core) {
        core.runtime().block_on(async {
            let (listener, address) = listen();
            let (acceptor, connector) = certificates();
            let server = spawn_boxed(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let stream = acceptor.accept(stream).await.unwrap();
                let (mut read, mut write) = tokio::io::split(stream);
                let copied = tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
                copied
            });
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            let stream = within("the handshake", connector.connect(name, stream)).await.unwrap();
            let data: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
            let (mut read, mut write) = tokio::io::split(stream);
            let sent = data.clone();
            let writer = spawn_boxed(async move { write.write_all(&sent).await.unwrap(); write.shutdown().await.unwrap(); });
            let mut back = Vec::new();
            within("the echo", read.read_to_end(&mut back)).await.unwrap();
            assert!(back == data);
            writer.await.unwrap();
            assert_eq!(within("the server", server).await.unwrap(), data.len() as u64);
        });
    }

    fn hyper_over_rustls_refuses_a_stranger(core) {
        core.runtime().block_on(async {
            let (listener, address) = listen();
            let ((acceptor, connector), (_, stranger)) = (certificates(), certificates());
            let server = spawn_boxed(async move {
                let (stream, _) = listener.accept().await.unwrap();
                assert!(acceptor.accept(stream).await.is_err(), "the client does not know this certificate");
                let (stream, _) = listener.accept().await.unwrap();
                let stream = acceptor.accept(stream).await.unwrap();
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo)).await.unwrap();
            });
            let name = || ServerName::try_from("localhost").unwrap();
            let refused = stranger.connect(name(), TcpStream::connect(address).await.unwrap());
            assert!(within("a strange certificate", refused).await.is_err());
            let stream = connector.connect(name(), TcpStream::connect(address).await.unwrap()).await.unwrap();
            let (mut send, connection) = client1::handshake(TokioIo::new(stream)).await.unwrap();
            let driven = spawn_boxed(connection);
            let request = Request::get("/tls").header("host", "here").body(Empty::<Bytes>::new()).unwrap();
            let answer = within("the answer", send.send_request(request)).await.unwrap();
            assert_eq!(answer.headers()["x-path"], "/tls");
            drop((send, answer));
            driven.await.unwrap().unwrap();
            within("the server", server).await.unwrap();
        });
    }
}
