//! TCP echo over loopback, with both ends in one thread.

use crate::stopwatch::Stopwatch;
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
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

/// The floor: the system calls of 64 connections, in the order in which a fair loop makes them,
/// with one `epoll_wait` for each batch of each side.
pub fn raw_many() -> f64 {
    let mut pairs: Vec<_> = (0..CONNECTIONS).map(|_| pair()).collect();
    // SAFETY: a system call without pointers.
    let epoll = unsafe { libc::epoll_create1(0) };
    for (client, server) in &pairs {
        for stream in [client, server] {
            use std::os::fd::AsRawFd;
            let events = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
            let mut interest = libc::epoll_event { events, u64: 0 };
            // SAFETY: `interest` is alive.
            unsafe {
                libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, stream.as_raw_fd(), &mut interest)
            };
        }
    }
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 256];
    let mut wait = || {
        // SAFETY: room for that many events.
        unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 256, 0) };
    };
    let mut buffer = [7; MESSAGE];
    let start = Stopwatch::start();
    for _ in 0..EACH {
        pairs.iter_mut().for_each(|(client, _)| client.write_all(&buffer).expect("write"));
        wait();
        for (_, server) in &mut pairs {
            server.read_exact(&mut buffer).expect("read");
            server.write_all(&buffer).expect("write");
        }
        wait();
        pairs.iter_mut().for_each(|(client, _)| client.read_exact(&mut buffer).expect("read"));
    }
    let each = start.elapsed().as_nanos() as f64 / 1000.0 / (CONNECTIONS * EACH) as f64;
    // SAFETY: it is ours.
    unsafe { libc::close(epoll) };
    each
}

async fn ours_client(mut stream: lastout_async_rt::net::TcpStream, rounds: usize) {
    let mut buffer = [7; MESSAGE];
    for _ in 0..rounds {
        stream.write_all(&buffer).await.expect("write");
        stream.read_exact(&mut buffer).await.expect("read");
    }
}

async fn ours_server(mut stream: lastout_async_rt::net::TcpStream, rounds: usize) {
    let mut buffer = [0; MESSAGE];
    for _ in 0..rounds {
        stream.read_exact(&mut buffer).await.expect("read");
        stream.write_all(&buffer).await.expect("write");
    }
}

fn ours(connections: usize, rounds: usize) -> f64 {
    use lastout_async_rt::{net, spawn_boxed};
    let runtime = lastout_async_rt::Runtime::new().expect("build ours");
    runtime.block_on(async {
        let pairs: Vec<_> = (0..connections).map(|_| pair()).collect();
        let start = Stopwatch::start();
        let mut tasks = Vec::new();
        for (client, server) in pairs {
            let (client, server) =
                (net::TcpStream::from_std(client), net::TcpStream::from_std(server));
            tasks.push(spawn_boxed(ours_server(server.expect("watch"), rounds)));
            tasks.push(spawn_boxed(ours_client(client.expect("watch"), rounds)));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        start.elapsed().as_nanos() as f64 / 1000.0 / (connections * rounds) as f64
    })
}

pub fn ours_pair() -> f64 {
    ours(1, ROUNDS)
}

pub fn ours_many() -> f64 {
    ours(CONNECTIONS, EACH)
}

fn tokio(connections: usize, rounds: usize) -> f64 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("build tokio");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let pairs: Vec<_> = (0..connections).map(|_| pair()).collect();
        let start = Stopwatch::start();
        let mut tasks = Vec::new();
        for (client, server) in pairs {
            let mut client = tokio::net::TcpStream::from_std(client).expect("watch");
            let mut server = tokio::net::TcpStream::from_std(server).expect("watch");
            tasks.push(tokio::task::spawn_local(async move {
                let mut buffer = [0; MESSAGE];
                for _ in 0..rounds {
                    server.read_exact(&mut buffer).await.expect("read");
                    server.write_all(&buffer).await.expect("write");
                }
            }));
            tasks.push(tokio::task::spawn_local(async move {
                let mut buffer = [7; MESSAGE];
                for _ in 0..rounds {
                    client.write_all(&buffer).await.expect("write");
                    client.read_exact(&mut buffer).await.expect("read");
                }
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        start.elapsed().as_nanos() as f64 / 1000.0 / (connections * rounds) as f64
    })
}

pub fn tokio_pair() -> f64 {
    tokio(1, ROUNDS)
}

pub fn tokio_many() -> f64 {
    tokio(CONNECTIONS, EACH)
}
