//! Unix datagrams, writes of several buffers, and the credentials of the other end.
#![cfg(all(unix, feature = "testing", feature = "net"))]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{on_both_cores, within};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use lastout_async_rt::net::{TcpListener, TcpStream, UnixDatagram, UnixListener, UnixStream};
use lastout_async_rt::spawn_boxed;
use lastout_async_rt::time::yield_now;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

/// A path for a socket, whose file is removed at the end.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str, core: common::Core) -> Self {
        let path = format!("async-rt-{name}-{}-{core:?}", std::process::id());
        Self(std::env::temp_dir().join(path))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

on_both_cores! {
    fn unix_datagrams_go_by_path_and_by_pair(core) {
        core.runtime().block_on(async {
            let path = SocketPath::new("datagrams", core);
            let server = UnixDatagram::bind(&path.0).unwrap();
            let client = UnixDatagram::unbound().unwrap();
            within("a datagram", client.send_to(b"hello", &path.0)).await.unwrap();
            let mut buffer = [0; 16];
            let (count, from) = within("it", server.recv_from(&mut buffer)).await.unwrap();
            assert_eq!((&buffer[..count], from.is_unnamed()), (&b"hello"[..], true));
            client.connect(&path.0).unwrap();
            within("a connected one", client.send(b"again")).await.unwrap();
            assert_eq!(server.try_recv(&mut buffer).unwrap(), 5);
            let (one, two) = UnixDatagram::pair().unwrap();
            let sent = spawn_boxed(async move { one.send(b"pair").await.unwrap() });
            assert_eq!(within("a pair", two.recv(&mut buffer)).await.unwrap(), 4);
            within("the sender", sent).await.unwrap();
            let gone = client.send_to(b"x", "/nowhere/at/all").await.unwrap_err();
            assert_eq!(gone.kind(), ErrorKind::NotFound);
        });
    }

    /// Both kinds of senders wait for a receiver that has no room, and every datagram arrives.
    fn a_full_receiver_makes_senders_wait(core) {
        core.runtime().block_on(async {
            const EACH: u32 = 500;
            let path = SocketPath::new("full", core);
            let server = UnixDatagram::bind(&path.0).unwrap();
            let (connected, by_path) = (UnixDatagram::unbound().unwrap(), UnixDatagram::unbound().unwrap());
            connected.connect(&path.0).unwrap();
            let target = path.0.clone();
            let one = spawn_boxed(async move { for n in 0..EACH { connected.send(&n.to_ne_bytes()).await.unwrap(); } });
            let two = spawn_boxed(async move { for n in 0..EACH { by_path.send_to(&n.to_ne_bytes(), &target).await.unwrap(); } });
            for _ in 0..5 { yield_now().await; }
            assert!(!one.is_finished() && !two.is_finished(), "the queue of a socket is short");
            let mut buffer = [0; 8];
            for n in 0..2 * EACH { within(&format!("datagram {n}"), server.recv(&mut buffer)).await.unwrap(); }
            within("both senders", async { one.await.unwrap(); two.await.unwrap(); }).await;
        });
    }

    fn several_buffers_are_written_in_order(core) {
        core.runtime().block_on(async {
            let (mut one, mut two) = UnixStream::pair().unwrap();
            let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"write")];
            let count = within("the write", one.write_vectored(&parts)).await.unwrap();
            assert_eq!(count, 9, "all of them in one call");
            assert_eq!(one.try_write_vectored(&parts).unwrap(), 9);
            let block = vec![7; 1 << 20];
            let reader = spawn_boxed(async move { let mut all = Vec::new(); two.read_to_end(&mut all).await.unwrap(); all });
            let (mut sent, slices) = (0, [IoSlice::new(&block), IoSlice::new(&block)]);
            while sent < 4 << 20 { sent += within("a large write", one.write_vectored(&slices)).await.unwrap(); }
            drop(one);
            let all = within("the reader", reader).await.unwrap();
            assert_eq!(&all[..18], b"one writeone write");
            assert_eq!(all.len(), 18 + sent, "short writes lose nothing");
        });
    }

    /// A call that left out buffers has not filled the socket.
    fn a_buffer_without_room_is_not_waited_for(core) {
        core.runtime().block_on(async {
            let (mut a, mut b) = UnixStream::pair().unwrap();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let mut tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            within("empty buffers", async {
                assert_eq!((a.read(&mut []).await.unwrap(), tcp.read(&mut []).await.unwrap()), (0, 0));
                assert_eq!((a.read_vectored(&mut []).await.unwrap(), tcp.peek(&mut []).await.unwrap()), (0, 0));
                assert_eq!((a.write(&[]).await.unwrap(), tcp.write_vectored(&[]).await.unwrap()), (0, 0));
            }).await;
            a.write_all(b"all").await.unwrap();
            let mut bytes = [0; 3];
            assert_eq!(b.read(&mut []).await.unwrap(), 0);
            within("the bytes", b.read_exact(&mut bytes)).await.unwrap();
            assert_eq!(&bytes, b"all");
        });
    }

    fn more_buffers_than_one_call_takes_are_written(core) {
        core.runtime().block_on(async {
            let (mut one, mut two) = UnixStream::pair().unwrap();
            let bytes: Vec<u8> = (0..3_000_u32).map(|n| n as u8).collect();
            let mut slices: Vec<_> = bytes.chunks(1).map(IoSlice::new).collect();
            let mut left = &mut slices[..];
            while !left.is_empty() {
                let count = within("a write", one.write_vectored(left)).await.unwrap();
                IoSlice::advance_slices(&mut left, count);
            }
            let mut back = vec![0; bytes.len()];
            let (mut done, mut first) = (0, 0);
            while done < back.len() {
                let mut places: Vec<_> = back[done..].chunks_mut(1).map(IoSliceMut::new).collect();
                done += within("a read", two.read_vectored(&mut places)).await.unwrap();
                first = if first == 0 { done } else { first };
            }
            assert!(first < bytes.len(), "one call does not take them all");
            assert!(back == bytes);
        });
    }

    /// A read stops short where descriptors are attached, although more has come.
    fn bytes_behind_passed_descriptors_are_read(core) {
        core.runtime().block_on(async {
            let (one, mut two) = UnixStream::pair().unwrap();
            let fd = one.as_fd().as_raw_fd();
            // The header of one control message, SCM_RIGHTS, and a descriptor in it.
            let mut control = 20_u64.to_ne_bytes().to_vec();
            for word in [libc::SOL_SOCKET, libc::SCM_RIGHTS, fd, 0] { control.extend(word.to_ne_bytes()); }
            let (socket, with) = (socket2::SockRef::from(&one), [IoSlice::new(b"with")]);
            let message = socket2::MsgHdr::new().with_buffers(&with).with_control(&control);
            assert_eq!(socket.sendmsg(&message, 0).unwrap(), 4);
            assert_eq!(one.try_write(b"without").unwrap(), 7);
            // The event that tells of both is taken before the first read.
            within("readable", two.readable()).await.unwrap();
            let (mut text, mut buffer) = (Vec::new(), [0; 64]);
            while text.len() < 11 {
                let count = within("the rest", two.read(&mut buffer)).await.unwrap();
                text.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(text, b"withwithout");
        });
    }

    fn the_peer_of_a_unix_socket_is_told(core) {
        core.runtime().block_on(async {
            let path = SocketPath::new("peer", core);
            let listener = std::os::unix::net::UnixListener::bind(&path.0).unwrap();
            let listener = UnixListener::from_std(listener).unwrap();
            assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(path.0.as_path()));
            let client = UnixStream::connect(&path.0).await.unwrap();
            let (server, _) = within("accept", listener.accept()).await.unwrap();
            let own = std::fs::metadata("/proc/self").unwrap();
            use std::os::unix::fs::MetadataExt as _;
            for stream in [&client, &server] {
                let peer = stream.peer_credentials().unwrap();
                assert_eq!((peer.uid, peer.gid), (own.uid(), own.gid()));
                assert_eq!(peer.pid, i32::try_from(std::process::id()).ok());
            }
            assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(path.0.as_path()));
        });
    }
}
