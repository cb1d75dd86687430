//! Sockets: no byte lost, no half starved, no stale event, no busy loop.
#![cfg(all(feature = "testing", feature = "net"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{on_both_cores, until, within};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use lastout_async_rt::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use lastout_async_rt::time::{sleep, timeout, yield_now};
use lastout_async_rt::{Handle, spawn_boxed};
use std::future::poll_fn;
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::rc::Rc;
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

    /// A second waiter for a direction does not replace the first.
    fn many_tasks_wait_for_one_socket(core) {
        core.runtime().block_on(async {
            let socket = Rc::new(UdpSocket::bind(local()).unwrap());
            let sender = UdpSocket::bind(local()).unwrap();
            let tasks: Vec<_> = (0..4).map(|_| {
                let socket = Rc::clone(&socket);
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

    fn udp_is_polled_by_hand(core) {
        core.runtime().block_on(async {
            let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let (a, b) = (Rc::new(bind()), bind());
            let (a_is, b_is) = (a.local_addr().unwrap(), b.local_addr().unwrap());
            let theirs = Rc::clone(&a);
            let received = spawn_boxed(async move {
                let mut buffer = [0; 8];
                let (count, from) = poll_fn(|cx| theirs.poll_recv_from(cx, &mut buffer)).await.unwrap();
                assert_eq!((&buffer[..count], from), (&b"one"[..], b_is));
                theirs.connect(b_is).unwrap();
                poll_fn(|cx| theirs.poll_send(cx, b"two")).await.unwrap();
            });
            yield_now().await;
            assert_eq!(poll_fn(|cx| b.poll_send_to(cx, b"one", a_is)).await.unwrap(), 3);
            let mut buffer = [0; 8];
            let count = within("the answer", poll_fn(|cx| b.poll_recv(cx, &mut buffer))).await.unwrap();
            assert_eq!(&buffer[..count], b"two");
            within("the other side", received).await.unwrap();
            assert_eq!(a.peer_addr().unwrap(), b_is);
            assert_eq!(b.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
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

    fn a_refused_connection_is_an_error(core) {
        core.runtime().block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(local()).unwrap();
            let nobody = { let listener = TcpListener::bind(local()).unwrap(); listener.local_addr().unwrap() };
            let error = within("the refusal", socket.connect(nobody)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        });
    }

    /// Descriptors and slots are reused at once; an event of the old one must not reach the new one.
    fn a_reused_token_gets_no_stale_event(core) {
        core.runtime().block_on(async {
            for _ in 0..200 {
                let (client, server) = tcp_pair().await;
                (&client).write_all(b"late").await.unwrap();
                drop(server);
                let fresh = UdpSocket::bind(local()).unwrap();
                let mut byte = [0];
                assert!(timeout(Duration::from_micros(100), fresh.recv(&mut byte)).await.is_err());
                assert_eq!(fresh.try_recv(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
            }
            assert_eq!(Handle::current().stats().descriptors, 0, "nothing is watched any more");
        });
    }

    fn sockets_outlive_their_runtime_as_errors(core) {
        let runtime = core.runtime();
        let (client, server) = runtime.block_on(tcp_pair());
        drop(runtime);
        let mut byte = [0];
        assert_eq!(client.try_read(&mut byte).unwrap_err().kind(), ErrorKind::NotConnected);
        core.runtime().block_on(async { assert!((&server).read(&mut byte).await.is_err()) });
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
