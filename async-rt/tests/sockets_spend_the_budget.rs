//! Sockets count progress: idle ones cost a task nothing, and one that always finds bytes lets others
//! run after a stated number of operations. Readiness says what is so, from the first moment on.
#![cfg(all(unix, feature = "testing", feature = "net"))]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{on_both_cores, within};
use futures_util::io::AsyncReadExt as _;
use lastout_async_rt::net::{UdpSocket, UnixStream};
use lastout_async_rt::time::{timeout, yield_now};
use lastout_async_rt::{AsyncFd, JoinSet, spawn_boxed};
use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// What one turn may complete.
const BUDGET: usize = 128;

/// The most by which `count` grew between two turns of a neighbour that is always ready.
fn most_between_turns(count: &Rc<Cell<usize>>) -> Rc<Cell<usize>> {
    let (count, most) = (Rc::clone(count), Rc::new(Cell::new(0)));
    let noted = Rc::clone(&most);
    spawn_boxed(async move {
        let mut before = count.get();
        loop {
            yield_now().await;
            noted.set(noted.get().max(count.get() - before));
            before = count.get();
        }
    })
    .detach();
    most
}

/// Runs `step`, which always finds something, and asserts the bound.
async fn assert_bounded(what: &str, steps: usize, mut step: impl AsyncFnMut()) {
    let done = Rc::new(Cell::new(0));
    let most = most_between_turns(&done);
    for _ in 0..steps {
        step().await;
        done.set(done.get() + 1);
    }
    assert!(most.get() > 0, "{what}: the neighbour had its turns");
    assert!(most.get() <= BUDGET, "{what}: {} in one turn", most.get());
}

on_both_cores! {
    fn every_way_to_read_and_write_spends(core) {
        core.runtime().block_on(async {
            let steps = spawn_boxed(async {
                let (one, two) = UnixStream::pair().unwrap();
                // A byte for each step below that reads.
                while one.try_write(&[7; 4096]).is_ok() {}
                assert_bounded("readable and try_read", 2_000, async || {
                    two.readable().await.unwrap();
                    assert_eq!(two.try_read(&mut [0]).unwrap(), 1);
                }).await;
                assert_bounded("readable alone", 2_000, async || two.readable().await.unwrap()).await;
                assert_bounded("poll_read", 2_000, async || {
                    (&two).read_exact(&mut [0]).await.unwrap();
                }).await;
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
                let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap().local_addr().unwrap();
                assert_bounded("send_to", 2_000, async || { socket.send_to(b"x", nobody).await.unwrap(); }).await;
                assert_bounded("writable and try_send", 2_000, async || {
                    socket.writable().await.unwrap();
                    socket.try_send_to(b"x", nobody).unwrap();
                }).await;
            });
            within("every step", steps).await.unwrap();
        });
    }

    fn a_socket_behind_many_idle_ones_is_served(core) {
        core.runtime().block_on(async {
            let (ours, theirs): (Vec<_>, Vec<_>) = (0..200).map(|_| UnixStream::pair().unwrap()).unzip();
            let polls = Rc::new(Cell::new(0));
            let counted = Rc::clone(&polls);
            let served = spawn_boxed(async move {
                let mut reads: Vec<_> = theirs.iter().map(|socket| Box::pin(socket.readable())).collect();
                poll_fn(|cx| {
                    counted.set(counted.get() + 1);
                    let found = reads.iter_mut().position(|read| read.as_mut().poll(cx).is_ready());
                    found.map_or(Poll::Pending, Poll::Ready)
                }).await
            });
            for _ in 0..20 { yield_now().await; }
            assert_eq!(polls.get(), 1, "nothing happened, so the task sleeps");
            ours[190].try_write(b"x").unwrap();
            assert_eq!(within("socket 190", served).await.unwrap(), 190);
        });
    }

    fn joining_without_waiting_spends(core) {
        core.runtime().block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..2_000 { tasks.spawn(async {}); }
            yield_now().await;
            let mut ended = 0;
            spawn_boxed(async move {
                assert_bounded("try_join_next and yielding futures", 1_000, async || {
                    tasks.try_join_next().unwrap().unwrap();
                    tasks.join_next().await.unwrap().unwrap();
                    ended += 2;
                }).await;
                assert!(tasks.try_join_next().is_none() && tasks.is_empty());
            }).await.unwrap();
        });
    }

    /// What has come before the watch began is found without an event.
    fn a_fresh_descriptor_is_tried(core) {
        core.runtime().block_on(async {
            let (mut one, two) = std::os::unix::net::UnixStream::pair().unwrap();
            two.set_nonblocking(true).unwrap();
            one.write_all(b"early").unwrap();
            let fd = AsyncFd::new(two).unwrap();
            let mut text = [0; 8];
            assert_eq!(fd.try_read_io(|mut socket| socket.read(&mut text)).unwrap(), 5);
            assert_eq!(fd.try_write_io(|mut socket| socket.write(b"back")).unwrap(), 4);
            assert_eq!(fd.try_read_io(|mut socket| socket.read(&mut text)).unwrap_err().kind(), ErrorKind::WouldBlock);
        });
    }

    /// `readable` waits for something to read, also on a socket that is new.
    fn a_fresh_socket_without_bytes_is_not_readable(core) {
        core.runtime().block_on(async {
            let (one, two) = UnixStream::pair().unwrap();
            let waits = timeout(Duration::from_millis(5), two.readable()).await;
            assert!(waits.is_err(), "nothing has come");
            within("room in a fresh socket", two.writable()).await.unwrap();
            let reader = spawn_boxed(async move { two.readable().await.unwrap(); two.try_read(&mut [0; 2]).unwrap() });
            yield_now().await;
            one.try_write(b"x").unwrap();
            assert_eq!(within("a byte", reader).await.unwrap(), 1);
            let (idle, _other) = UnixStream::pair().unwrap();
            let waiting = spawn_boxed(async move { idle.readable().await.unwrap(); pending::<()>().await });
            yield_now().await;
            waiting.abort();
            assert!(within("an aborted wait", waiting).await.unwrap_err().is_cancelled());
        });
    }
}
