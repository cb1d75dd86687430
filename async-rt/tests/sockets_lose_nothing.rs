//! Sockets: no byte lost, no half starved, no stale event, no busy loop.
#![cfg(all(feature = "testing", feature = "net"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{on_both_cores, until, within};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use lastout_async_rt::net::{
    TcpListener, TcpSocket, TcpStream, UdpSocket, UnixListener, UnixStream,
};
use lastout_async_rt::time::{sleep, timeout, yield_now};
use lastout_async_rt::{AsyncFd, Handle, spawn_boxed};
use std::io::Write as _;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(local()).unwrap();
    let address = listener.local_addr().unwrap();
    let client = spawn_boxed(TcpStream::connect(address));
    let (server, _) = within("accept", listener.accept()).await.unwrap();
    (within("connect", client).await.unwrap().unwrap(), server)
}

on_both_cores! {
    fn every_byte_arrives_in_both_directions(core) {
        core.runtime().block_on(async {
            let (mut client, server) = tcp_pair().await;
            client.set_nodelay(true).unwrap();
            let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
            let (mut read, mut write) = server.into_split();
            let echo = spawn_boxed(async move { futures_util::io::copy(&mut read, &mut write).await.unwrap() });
            let expected = data.clone();
            let (mut from, mut to) = client.split_mut();
            let (mut back, send) = (Vec::new(), async { to.write_all(&data).await.unwrap(); to.close().await.unwrap() });
            let ((), read) = futures_util::join!(send, from.read_to_end(&mut back));
            read.unwrap();
            assert_eq!(echo.await.unwrap(), expected.len() as u64);
            assert!(back == expected);
        });
    }

    /// Each direction remembers its own waker.
    fn a_reader_and_a_writer_in_two_tasks_both_wake(core) {
        core.runtime().block_on(async {
            let (client, mut server) = tcp_pair().await;
            let (mut read, mut write) = client.into_split();
            let reader = spawn_boxed(async move { let mut byte = [0]; read.read_exact(&mut byte).await.unwrap(); (byte[0], read) });
            let writer = spawn_boxed(async move {
                let block = vec![1; 1 << 20];
                for _ in 0..8 { write.write_all(&block).await.unwrap(); }
                write
            });
            yield_now().await;
            server.write_all(&[42]).await.unwrap();
            let (byte, read) = within("the reader", reader).await.unwrap();
            assert_eq!(byte, 42);
            let mut sink = vec![0; 8 << 20];
            within("the writer's bytes", server.read_exact(&mut sink)).await.unwrap();
            let write = within("the writer", writer).await.unwrap();
            let (other, _) = tcp_pair().await;
            let (strange, _strange_write) = other.into_split();
            let error = strange.reunite(write).unwrap_err();
            assert!(read.reunite(error.1).is_ok());
        });
    }

    /// A short read must not hide the end that arrived together with the data.
    fn data_and_end_together_are_both_seen(core) {
        core.runtime().block_on(async {
            for rounds in 0..50 {
                let (mut client, mut server) = tcp_pair().await;
                client.write_all(b"bye").await.unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                for _ in 0..rounds % 3 { sleep(Duration::from_micros(50)).await; }
                let mut text = Vec::new();
                within("the end", server.read_to_end(&mut text)).await.unwrap();
                assert_eq!(text, b"bye");
            }
        });
    }

    /// A read stops short at urgent data; what follows has come already, without an event of its own.
    fn bytes_behind_urgent_data_are_read(core) {
        core.runtime().block_on(async {
            for optimistic in [true, false] {
                let (client, mut server) = tcp_pair().await;
                let (socket, mut buffer) = (socket2::SockRef::from(&client), [0; 64]);
                assert_eq!(socket.send(b"before").unwrap(), 6);
                assert_eq!(socket.send_out_of_band(b"!").unwrap(), 1);
                assert_eq!(socket.send(b"after").unwrap(), 5);
                if !optimistic { within("readable", server.readable()).await.unwrap(); }
                let mut text = Vec::new();
                while !text.ends_with(b"after") {
                    let count = within("the rest", server.read(&mut buffer)).await.unwrap();
                    text.extend_from_slice(&buffer[..count]);
                }
                assert_eq!(text, b"beforeafter");
            }
        });
    }

    fn a_descriptor_that_is_not_watched_comes_back(core) {
        core.runtime().block_on(async {
            let file = std::fs::File::open("Cargo.toml").unwrap();
            let error = AsyncFd::new(file).unwrap_err();
            assert_eq!(error.source.kind(), std::io::ErrorKind::PermissionDenied);
            let mut text = String::new();
            std::io::Read::read_to_string(&mut &error.inner, &mut text).unwrap();
            assert!(text.contains("lastout-async-rt"));
            let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
            let watched = AsyncFd::new(&one).unwrap();
            assert!(AsyncFd::new(&one).is_err(), "it is watched already");
            drop(watched);
            AsyncFd::new(&one).unwrap();
        });
    }

    /// A second waiter for a direction does not replace the first.
    fn many_tasks_wait_for_one_socket(core) {
        core.runtime().block_on(async {
            let socket = std::rc::Rc::new(UdpSocket::bind(local()).unwrap());
            let sender = UdpSocket::bind(local()).unwrap();
            let tasks: Vec<_> = (0..4).map(|_| {
                let socket = std::rc::Rc::clone(&socket);
                spawn_boxed(async move { let mut byte = [0]; socket.recv_from(&mut byte).await.unwrap(); byte[0] })
            }).collect();
            yield_now().await;
            for n in 0..4 { sender.send_to(&[n], socket.local_addr().unwrap()).await.unwrap(); }
            let mut got = Vec::new();
            for task in tasks { got.push(within("a datagram", task).await.unwrap()); }
            got.sort_unstable();
            assert_eq!(got, [0, 1, 2, 3]);
        });
    }

    fn datagrams_between_connected_sockets(core) {
        core.runtime().block_on(async {
            let (a, b) = (UdpSocket::bind(local()).unwrap(), UdpSocket::bind(local()).unwrap());
            a.connect(b.local_addr().unwrap()).unwrap();
            b.connect(a.local_addr().unwrap()).unwrap();
            let mut buffer = [0; 8];
            assert!(timeout(Duration::from_millis(1), b.recv(&mut buffer)).await.is_err());
            a.send(b"ping").await.unwrap();
            assert_eq!(b.peek_from(&mut buffer).await.unwrap().0, 4);
            assert_eq!(within("a datagram", b.recv(&mut buffer)).await.unwrap(), 4);
        });
    }

    fn unix_sockets_connect_and_end(core) {
        core.runtime().block_on(async {
            let path = std::env::temp_dir().join(format!("async-rt-{}-{core:?}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).unwrap();
            let mut client = UnixStream::connect(&path).await.unwrap();
            let (mut server, _) = within("accept", listener.accept()).await.unwrap();
            client.write_all(b"over").await.unwrap();
            drop(client);
            let mut text = String::new();
            within("the end", server.read_to_string(&mut text)).await.unwrap();
            std::fs::remove_file(&path).unwrap();
            assert_eq!(text, "over");
            let (mut one, mut two) = UnixStream::pair().unwrap();
            one.write_all(b"x").await.unwrap();
            let mut byte = [0];
            within("a pair", two.read_exact(&mut byte)).await.unwrap();
        });
    }

    /// The system says neither when the backlog of a Unix listener is full, nor when it is not.
    fn a_connect_waits_for_room_in_the_backlog(core) {
        core.runtime().block_on(async {
            let path = std::env::temp_dir().join(format!("async-rt-backlog-{}-{core:?}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).unwrap();
            #[expect(unsafe_code, reason = "std chooses the backlog")]
            // SAFETY: a system call without pointers, on a socket that is alive.
            let listens = unsafe { libc::listen(listener.as_fd().as_raw_fd(), 0) };
            assert_eq!(listens, 0);
            let mut clients: Vec<_> = (0..4).map(|_| spawn_boxed(UnixStream::connect(path.clone()))).collect();
            sleep(Duration::from_millis(1)).await;
            assert!(clients.iter().any(|client| !client.is_finished()), "the backlog holds one");
            for _ in 0..4 { within("accept", listener.accept()).await.unwrap(); }
            for client in &mut clients { within("connect", client).await.unwrap().unwrap(); }
            std::fs::remove_file(&path).unwrap();
        });
    }

    fn a_refused_connection_is_an_error(core) {
        core.runtime().block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(local()).unwrap();
            let nobody = { let listener = TcpListener::bind(local()).unwrap(); listener.local_addr().unwrap() };
            let error = within("the refusal", socket.connect(nobody)).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        });
    }

    /// Descriptors and slots are reused at once; an event of the old one must not reach the new one.
    fn a_reused_token_gets_no_stale_event(core) {
        core.runtime().block_on(async {
            for _ in 0..200 {
                let (client, server) = tcp_pair().await;
                (&client).write_all(b"late").await.unwrap();
                drop(server);
                let (fresh, other) = UnixStream::pair().unwrap();
                let mut byte = [0];
                assert!(timeout(Duration::from_micros(100), (&fresh).read_exact(&mut byte)).await.is_err());
                assert_eq!(fresh.try_read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
                drop(other);
            }
            assert_eq!(Handle::current().stats().descriptors, 0, "nothing is watched any more");
        });
    }

    fn sockets_outlive_their_runtime_as_errors(core) {
        let runtime = core.runtime();
        let (client, server) = runtime.block_on(tcp_pair());
        drop(runtime);
        let mut byte = [0];
        assert_eq!(client.try_read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::NotConnected);
        core.runtime().block_on(async { assert!((&server).read(&mut byte).await.is_err()) });
    }

    /// A pidfd is readable when its process has ended.
    fn the_exit_of_a_child_is_awaited(core) {
        core.runtime().block_on(async {
            let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
            #[expect(unsafe_code, reason = "std has no stable pidfd")]
            // SAFETY: a system call without pointers.
            let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
            assert!(pidfd >= 0);
            #[expect(unsafe_code, reason = "std has no stable pidfd")]
            // SAFETY: it was just created, and nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd as i32) };
            let pidfd = AsyncFd::new(pidfd).unwrap();
            assert!(timeout(Duration::from_millis(20), pidfd.readable()).await.is_err(), "it lives");
            child.stdin.take().unwrap().write_all(b"").unwrap();
            within("the exit", pidfd.readable()).await.unwrap();
            assert!(child.wait().unwrap().success());
        });
    }

    fn work_from_threads_and_sockets_do_not_starve_each_other(core) {
        let runtime = core.runtime();
        runtime.block_on(async {
            let busy = spawn_boxed(async { loop { yield_now().await } });
            let (client, mut server) = tcp_pair().await;
            let thread = std::thread::spawn({ let mut client = client.into_std(); move || client.write_all(b"x").unwrap() });
            let mut byte = [0];
            within("a byte beside a busy task", server.read_exact(&mut byte)).await.unwrap();
            busy.abort();
            thread.join().unwrap();
        });
        until("the busy task is gone", || { runtime.run_until_stalled(); runtime.task_count() == 0 });
    }
}
