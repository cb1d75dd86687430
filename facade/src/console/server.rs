//! The console's own server: loopback, or a token; bounded in connections, in time and in size.

use super::Console;
use super::reader::Reader;
use crate::Drain;
use crate::supervisor::contain::{Either, race};
use crate::supervisor::{DrainFuture, EndedFuture, Stopping, Task, Tracker, Until};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections at once. More wait in the queue of the system.
const CONNECTIONS: usize = 64;
/// The longest head of a request, in bytes.
const HEAD: usize = 16 * 1024;
/// How long a head may take, and a connection may do nothing.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection lives. A page that is fed comes back by itself.
const LIFE: Duration = Duration::from_secs(600);
/// How long a connection may take to end after that.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long the server rests when the system has no descriptor for a connection.
const REST: Duration = Duration::from_millis(100);

/// A console that listens. It is a service of a supervisor, or ends when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the server"]
pub struct Server {
    address: SocketAddr,
    task: Task,
}

impl Server {
    pub(super) async fn bind(
        console: Console,
        address: impl ToSocketAddrs,
    ) -> Result<Self, ListenError> {
        let addresses = tokio::net::lookup_host(address).await.map_err(ListenError::Bind)?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let open = addresses.iter().find(|at| !at.ip().to_canonical().is_loopback());
        if let Some(open) = open.filter(|_| !console.has_token()) {
            return Err(ListenError::NeedsToken(*open));
        }
        let listener = TcpListener::bind(&*addresses).await.map_err(ListenError::Bind)?;
        let address = listener.local_addr().map_err(ListenError::Bind)?;
        let task = Task::spawn(move |stopping| accept(console, listener, stopping));
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drain for Server {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        self.task.drain(until)
    }

    fn force(&self, until: Until) -> DrainFuture<'_> {
        self.task.force(until)
    }

    fn ended(&self) -> EndedFuture<'_> {
        self.task.ended()
    }
}

async fn accept(
    console: Console,
    listener: TcpListener,
    stopping: Stopping,
) -> Result<(), crate::supervisor::Failure> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let closed = watch::Sender::new(false);
    let tracker = Tracker::new();
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let Either::Second((place, accepted)) = race(stopping.asked(), next).await else { break };
        match accepted {
            Ok((socket, _)) => {
                let connection = serve(console.clone(), socket, closed.subscribe());
                let tracked = tracker.track();
                connections.spawn(async move {
                    let _held = (place, tracked);
                    connection.await;
                });
            }
            // A client that has gone, or no descriptor: neither is the end of the server.
            Err(_) => tokio::time::sleep(REST).await,
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    closed.send_replace(true);
    tracker.idle().await;
    Ok(())
}

async fn serve(console: Console, socket: TcpStream, closed: watch::Receiver<bool>) {
    // Small answers must not wait for each other; without it they are late, and right.
    let _ = socket.set_nodelay(true);
    let mut ends = closed.clone();
    let service = service_fn(move |request| {
        let (console, closed) = (console.clone(), closed.clone());
        async move { Ok::<_, Infallible>(console.respond(request, closed).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD);
    let socket = TokioIo::new(Reader::new(socket));
    let mut connection = pin!(http.serve_connection(socket, service));
    let told = race(ends.wait_for(|closed| *closed), tokio::time::sleep(LIFE));
    if let Either::First(_) = race(&mut connection, told).await {
        return;
    }
    connection.as_mut().graceful_shutdown();
    // The client broke off, or was too slow: nothing of it is left to be saved.
    let _ = tokio::time::timeout(LAST_WORDS, connection).await;
}

/// Why a console does not listen.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// Others than this machine reach this address, and the console asks for no token.
    NeedsToken(SocketAddr),
    /// The system refused the address.
    Bind(io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsToken(address) => {
                write!(
                    f,
                    "listen on {address}: it is not a loopback address, and the console has no token"
                )
            }
            Self::Bind(_) => f.write_str("listen for the console"),
        }
    }
}

impl Error for ListenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NeedsToken(_) => None,
            Self::Bind(source) => Some(source),
        }
    }
}
