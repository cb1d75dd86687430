//! TCP echo over loopback, with both ends in one thread.

use crate::contender::Contender;
use crate::stopwatch::Stopwatch;
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

const MESSAGE: usize = 64;
const ROUNDS: usize = 20_000;
const CONNECTIONS: usize = 64;
const EACH: usize = 300;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("nodelay");
        stream.set_nonblocking(true).expect("non-blocking");
    }
    (client, server)
}

/// The floor: the four system calls of a round, each of which finds what it needs.
pub fn raw_pair() -> f64 {
    let (mut client, mut server) = pair();
    let mut buffer = [7; MESSAGE];
    let start = Stopwatch::start();
    for _ in 0..ROUNDS {
        client.write_all(&buffer).expect("write");
        server.read_exact(&mut buffer).expect("read");
        server.write_all(&buffer).expect("write");
        client.read_exact(&mut buffer).expect("read");
    }
    start.elapsed().as_nanos() as f64 / 1000.0 / ROUNDS as f64
}

/// An epoll instance that watches both ends, edge triggered, in both directions.
struct Watch(i32);

impl Watch {
    fn new<'a>(streams: impl IntoIterator<Item = &'a TcpStream>) -> Self {
        // SAFETY: a system call without pointers.
        let epoll = unsafe { libc::epoll_create1(0) };
        for stream in streams {
            use std::os::fd::AsRawFd;
            let events = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
            let mut interest = libc::epoll_event { events, u64: 0 };
            // SAFETY: `interest` is alive.
            unsafe {
                libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &mut interest)
            };
        }
        Self(epoll)
    }

    fn wait(&self, events: &mut [libc::epoll_event]) {
        // SAFETY: room for that many events.
        unsafe { libc::epoll_wait(self.0, events.as_mut_ptr(), events.len() as i32, 0) };
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { libc::close(self.0) };
    }
}

fn events() -> Vec<libc::epoll_event> {
    vec![libc::epoll_event { events: 0, u64: 0 }; 256]
}

/// The system calls of a round in a loop that is edge triggered: besides those of [`raw_pair`], a
/// wait on each side, and a read on each side that finds nothing, because the one before filled its
/// buffer and so did not say that it was the last.
pub fn raw_edge() -> f64 {
    let (mut client, mut server) = pair();
    let (watch, mut events, mut buffer) = (Watch::new([&client, &server]), events(), [7; MESSAGE]);
    let start = Stopwatch::start();
    for _ in 0..ROUNDS {
        client.write_all(&buffer).expect("write");
        client.read(&mut buffer).expect_err("nothing is there");
        watch.wait(&mut events);
        server.read_exact(&mut buffer).expect("read");
        server.write_all(&buffer).expect("write");
        server.read(&mut buffer).expect_err("nothing is there");
        watch.wait(&mut events);
        client.read_exact(&mut buffer).expect("read");
    }
    start.elapsed().as_nanos() as f64 / 1000.0 / ROUNDS as f64
}

/// The system calls of 64 connections, in the order in which a fair loop makes them, with one
/// `epoll_wait` for each batch of each side; with `edge`, also the reads that find nothing.
fn raw_batches(edge: bool) -> f64 {
    let mut pairs: Vec<_> = (0..CONNECTIONS).map(|_| pair()).collect();
    let watch = Watch::new(pairs.iter().flat_map(|(client, server)| [client, server]));
    let (mut events, mut buffer) = (events(), [7; MESSAGE]);
    let start = Stopwatch::start();
    for _ in 0..EACH {
        for (client, _) in &mut pairs {
            client.write_all(&buffer).expect("write");
            if edge {
                client.read(&mut buffer).expect_err("nothing is there");
            }
        }
        watch.wait(&mut events);
        for (_, server) in &mut pairs {
            server.read_exact(&mut buffer).expect("read");
            server.write_all(&buffer).expect("write");
            if edge {
                server.read(&mut buffer).expect_err("nothing is there");
            }
        }
        watch.wait(&mut events);
        pairs.iter_mut().for_each(|(client, _)| client.read_exact(&mut buffer).expect("read"));
    }
    start.elapsed().as_nanos() as f64 / 1000.0 / (CONNECTIONS * EACH) as f64
}

/// The floor of 64 connections.
pub fn raw_many() -> f64 {
    raw_batches(false)
}

/// The same in a loop that is edge triggered.
pub fn raw_many_edge() -> f64 {
    raw_batches(true)
}

/// A stream of a peer. Buffers go in and come back, because io_uring needs to own them.
pub trait Stream: Sized + 'static {
    /// Takes over a connected, non-blocking stream, inside the runtime.
    fn adopt(stream: TcpStream) -> Self;
    fn write(&mut self, buffer: Vec<u8>) -> impl Future<Output = Vec<u8>>;
    /// Fills the buffer.
    fn read(&mut self, buffer: Vec<u8>) -> impl Future<Output = Vec<u8>>;
}

/// Microseconds for each message there and back.
pub fn echo<C: Contender, S: Stream>(connections: usize, rounds: usize) -> f64 {
    C::run(async move {
        let pairs: Vec<_> = (0..connections).map(|_| pair()).collect();
        let start = Stopwatch::start();
        let mut tasks = Vec::new();
        for (client, server) in pairs {
            let (mut client, mut server) = (S::adopt(client), S::adopt(server));
            tasks.push(C::spawn(async move {
                let mut buffer = vec![0; MESSAGE];
                for _ in 0..rounds {
                    buffer = server.read(buffer).await;
                    buffer = server.write(buffer).await;
                }
            }));
            tasks.push(C::spawn(async move {
                let mut buffer = vec![7; MESSAGE];
                for _ in 0..rounds {
                    buffer = client.write(buffer).await;
                    buffer = client.read(buffer).await;
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        start.elapsed().as_nanos() as f64 / 1000.0 / (connections * rounds) as f64
    })
}

pub fn one_pair<C: Contender, S: Stream>() -> f64 {
    echo::<C, S>(1, ROUNDS)
}

pub fn many<C: Contender, S: Stream>() -> f64 {
    echo::<C, S>(CONNECTIONS, EACH)
}

impl Stream for lastout_async_rt::net::TcpStream {
    fn adopt(stream: TcpStream) -> Self {
        Self::from_std(stream).expect("watch")
    }
    async fn write(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        self.write_all(&buffer).await.expect("write");
        buffer
    }
    async fn read(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        self.read_exact(&mut buffer).await.expect("read");
        buffer
    }
}

impl Stream for async_io::Async<TcpStream> {
    fn adopt(stream: TcpStream) -> Self {
        Self::new(stream).expect("watch")
    }
    async fn write(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        self.write_all(&buffer).await.expect("write");
        buffer
    }
    async fn read(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        self.read_exact(&mut buffer).await.expect("read");
        buffer
    }
}

impl Stream for tokio::net::TcpStream {
    fn adopt(stream: TcpStream) -> Self {
        Self::from_std(stream).expect("watch")
    }
    async fn write(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        tokio::io::AsyncWriteExt::write_all(self, &buffer).await.expect("write");
        buffer
    }
    async fn read(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        tokio::io::AsyncReadExt::read_exact(self, &mut buffer).await.expect("read");
        buffer
    }
}

impl Stream for nexus_async_rt::TcpStream {
    fn adopt(stream: TcpStream) -> Self {
        Self::from_std(stream).expect("watch")
    }
    async fn write(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        self.write_all(&buffer).await.expect("write");
        buffer
    }
    async fn read(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        let mut done = 0;
        while done < buffer.len() {
            done += nexus_async_rt::TcpStream::read(self, &mut buffer[done..]).await.expect("read");
        }
        buffer
    }
}

impl Stream for monoio::net::TcpStream {
    fn adopt(stream: TcpStream) -> Self {
        Self::from_std(stream).expect("watch")
    }
    async fn write(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        let (written, buffer) = monoio::io::AsyncWriteRentExt::write_all(self, buffer).await;
        written.expect("write");
        buffer
    }
    async fn read(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        let (read, buffer) = monoio::io::AsyncReadRentExt::read_exact(self, buffer).await;
        read.expect("read");
        buffer
    }
}

impl Stream for compio::net::TcpStream {
    fn adopt(stream: TcpStream) -> Self {
        Self::from_std(stream).expect("watch")
    }
    async fn write(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        let compio::BufResult(written, buffer) =
            compio::io::AsyncWriteExt::write_all(self, buffer).await;
        written.expect("write");
        buffer
    }
    async fn read(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        let compio::BufResult(read, buffer) =
            compio::io::AsyncReadExt::read_exact(self, buffer).await;
        read.expect("read");
        buffer
    }
}
