//! How a channel ends: what was sent, and what has reserved room, is received; what cannot be comes
//! back or is dropped, once; and whoever waits hears of it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use lastout_async_rt::Runtime;
use lastout_async_rt::channel::mpsc_bytes::ClaimError;
use lastout_async_rt::channel::{
    TryRecvError, TrySendError, broadcast, local, mpsc, mpsc_bytes, spsc, spsc_bytes, unbounded,
    watch,
};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts its drops.
#[derive(Clone)]
struct Counts(Arc<AtomicUsize>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The same for each channel in which room can be reserved.
macro_rules! reserved_room {
    ($($name:ident: $channel:ident)*) => { $(mod $name {
        use super::*;
        use lastout_async_rt::channel::$channel::channel;

        macro_rules! reserve {
            ($send:ident) => {
                match poll(pin!($send.reserve())) {
                    Poll::Ready(reserved) => reserved,
                    Poll::Pending => panic!("there is room"),
                }
            };
        }

        #[test]
        #[allow(unused_mut, reason = "the sender of an spsc needs it")]
        fn reserved_room_is_used_after_the_close() {
            let (mut send, mut recv) = channel(2);
            send.try_send(1).unwrap();
            let permit = reserve!(send).unwrap();
            recv.close();
            assert_eq!(recv.try_recv(), Ok(1));
            let wakes = Arc::new(Wakes::default());
            let waker = Waker::from(Arc::clone(&wakes));
            assert_eq!(recv.try_recv(), Err(TryRecvError::Empty), "a permit is out");
            assert!(pin!(recv.recv()).poll(&mut Context::from_waker(&waker)).is_pending());
            permit.send(7).unwrap();
            assert!(wakes.0.load(Ordering::Relaxed) > 0, "the receiver hears of it");
            assert_eq!(poll(pin!(recv.recv())), Poll::Ready(Some(7)));
            assert_eq!(poll(pin!(recv.recv())), Poll::Ready(None));
            assert!(reserve!(send).is_err(), "no other is given");
            assert_eq!(send.try_send(8), Err(TrySendError::Closed(8)));
        }

        #[test]
        #[allow(unused_mut, reason = "the sender of an spsc needs it")]
        fn reserved_room_that_comes_back_after_the_close_ends_the_receiver() {
            let (mut send, mut recv) = channel::<u8>(1);
            let permit = reserve!(send).unwrap();
            recv.close();
            let wakes = Arc::new(Wakes::default());
            let waker = Waker::from(Arc::clone(&wakes));
            let mut end = pin!(recv.recv());
            assert!(end.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            drop(permit);
            assert!(wakes.0.load(Ordering::Relaxed) > 0);
            assert_eq!(poll(end), Poll::Ready(None));
        }

        #[test]
        #[allow(unused_mut, reason = "the sender of an spsc needs it")]
        fn reserved_room_of_a_receiver_that_is_gone_hands_the_value_back() {
            let (mut send, recv) = channel(1);
            let permit = reserve!(send).unwrap();
            drop(recv);
            assert_eq!(permit.send(3).unwrap_err().0, 3);
            assert!(reserve!(send).is_err());
        }

        #[test]
        #[allow(unused_mut, reason = "the sender of an spsc needs it")]
        fn a_permit_that_was_forgotten_counts_until_its_sender_ends() {
            let (mut send, mut recv) = channel::<u8>(2);
            #[expect(clippy::mem_forget, reason = "this is what is tested")]
            std::mem::forget(reserve!(send).unwrap());
            recv.close();
            assert!(poll(pin!(recv.recv())).is_pending());
            assert!(reserve!(send).is_err());
            drop(send);
            assert_eq!(poll(pin!(recv.recv())), Poll::Ready(None));
        }
    })* };
}

reserved_room! { of_mpsc: mpsc of_spsc: spsc of_local: local }

#[test]
fn reserved_room_is_room_for_nothing_else() {
    let (send, _recv) = mpsc::channel(1);
    let permit = send.try_reserve().unwrap();
    assert_eq!(send.try_send(0), Err(TrySendError::Full(0)));
    assert_eq!(send.room(), 0);
    drop(permit);
    assert_eq!(send.room(), 1);
}

/// The channel is closed between the grant and the drop of a send that waited.
#[test]
fn a_closed_channel_ends_when_a_granted_send_is_cancelled() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let (send, mut recv) = mpsc::channel(1);
    send.try_send(1).unwrap();
    let mut late = Box::pin(send.send(2));
    assert!(poll(late.as_mut()).is_pending());
    assert_eq!(recv.try_recv(), Ok(1), "its room goes to the one that waits");
    recv.close();
    let mut end = pin!(recv.recv());
    assert!(end.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(late);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(poll(end), Poll::Ready(None));

    let (send, mut recv) = local::channel(1);
    send.try_send(1).unwrap();
    let mut late = Box::pin(send.send(2));
    assert!(poll(late.as_mut()).is_pending());
    assert_eq!(recv.try_recv(), Ok(1), "its room goes to the one that waits");
    recv.close();
    let mut end = pin!(recv.recv());
    assert!(end.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(late);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
    assert_eq!(poll(end), Poll::Ready(None));
}

/// A value that holds a sender of the channel in which it is sent.
struct Holds(
    #[expect(dead_code, reason = "dropped")] Counts,
    #[expect(dead_code, reason = "dropped")] mpsc::Sender<Self>,
);

#[test]
fn the_end_of_a_receiver_drops_each_value_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    let (send, recv) = mpsc::channel(8);
    // A value that holds a sender of its own channel is no cycle that keeps itself.
    let value = |send: &mpsc::Sender<Holds>| Holds(Counts(Arc::clone(&drops)), send.clone());
    (0..5).for_each(|_| send.try_send(value(&send)).unwrap());
    drop(recv);
    assert_eq!(drops.load(Ordering::Relaxed), 5);
    assert!(send.try_send(value(&send)).is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 6);
    let (mut send, recv) = spsc::channel(3);
    (0..3).for_each(|_| send.try_send(Counts(Arc::clone(&drops))).unwrap());
    drop(recv);
    assert_eq!(drops.load(Ordering::Relaxed), 9);
    let (send, recv) = unbounded::channel();
    (0..3).for_each(|_| send.send(Counts(Arc::clone(&drops))).unwrap());
    drop(recv);
    assert_eq!(drops.load(Ordering::Relaxed), 12);
    assert!(send.send(Counts(Arc::clone(&drops))).is_err() && send.is_closed());
}

struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("a destructor");
    }
}

#[test]
fn values_whose_destructors_panic_do_not_keep_the_others() {
    let drops = Arc::new(AtomicUsize::new(0));
    let bomb = || Bomb(Arc::clone(&drops));
    let (send, recv) = mpsc::channel(4);
    (0..3).for_each(|_| assert!(send.try_send(bomb()).is_ok()));
    drop(recv);
    let (mut send, recv) = spsc::channel(4);
    (0..3).for_each(|_| assert!(send.try_send(bomb()).is_ok()));
    drop(recv);
    let (send, recv) = unbounded::channel();
    (0..3).for_each(|_| assert!(send.send(bomb()).is_ok()));
    drop(recv);
    let (send, recv) = local::channel(4);
    (0..3).for_each(|_| assert!(send.try_send(bomb()).is_ok()));
    drop(recv);
    assert_eq!(drops.load(Ordering::Relaxed), 12);
    // The channel of a `watch` always has a value, which ends with its last end, whichever that is.
    let (send, recv) = watch::channel(bomb());
    drop(send);
    drop(recv);
    let (send, recv) = watch::channel(bomb());
    drop(recv);
    drop(send);
    assert_eq!(drops.load(Ordering::Relaxed), 14);
}

/// A claim is a value of its own, which may outlive the sender that made it.
#[test]
fn a_claim_is_received_even_if_its_sender_is_gone() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let (send, mut recv) = mpsc_bytes::channel(8);
    let (mut used, unused) = (send.try_claim(2).unwrap(), send.try_claim(6).unwrap());
    used.copy_from_slice(b"ab");
    drop(send);
    assert!(matches!(recv.try_recv(), Err(TryRecvError::Empty)), "two claims are out");
    let mut wait = Box::pin(recv.recv());
    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    used.commit().unwrap();
    assert!(matches!(poll(wait.as_mut()), Poll::Ready(Some(record)) if *record == *b"ab"));
    drop(wait);
    let mut end = Box::pin(recv.recv());
    assert!(end.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let before = wakes.0.load(Ordering::Relaxed);
    drop(unused);
    assert_eq!(wakes.0.load(Ordering::Relaxed), before + 1);
    assert!(matches!(poll(end.as_mut()), Poll::Ready(None)));
    drop(end);
    assert!(matches!(recv.try_recv(), Err(TryRecvError::Closed)));
}

/// The room of a byte channel may be more than the machine has: then the record is refused, and its room
/// is there for others.
#[test]
fn a_record_without_memory_is_refused() {
    let most = usize::MAX / 4;
    let (send, mut recv) = spsc_bytes::channel(most);
    for _ in 0..3 {
        let refused = send.try_claim(most).unwrap_err();
        assert_eq!(refused, ClaimError::NoMemory { len: most });
        assert!(refused.to_string().contains(&most.to_string()));
        assert!(matches!(
            poll(pin!(send.claim(most))),
            Poll::Ready(Err(ClaimError::NoMemory { .. }))
        ));
    }
    send.try_send(b"a").unwrap();
    assert_eq!(recv.try_recv().unwrap().len(), 1);
    drop(send);
    assert!(matches!(recv.try_recv(), Err(TryRecvError::Closed)));
}

/// What waits no longer keeps no waker, which would keep its task.
#[test]
fn a_receiver_that_ended_keeps_no_task() {
    let runtime = Runtime::new().unwrap();
    let (send, mut recv) = mpsc::channel(1);
    let (mut one, mut other) = spsc::channel(1);
    let (many, mut all) = unbounded::channel();
    send.try_send(1).unwrap();
    one.try_send(1).unwrap();
    many.send(1).unwrap();
    drop((send, one, many));
    runtime.block_on(async {
        while recv.recv().await.is_some() {}
        while other.recv().await.is_some() {}
        while all.recv().await.is_some() {}
    });
    let stats = runtime.shutdown_stats();
    drop(runtime);
    assert!(stats.snapshot().is_clean(), "{:?}", stats.snapshot());
}

/// Senders hear of the end of their receiver, whichever way it ends.
#[test]
fn a_sender_waits_for_the_end_of_its_receiver() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    macro_rules! ends_by {
        ($channel:expr, $count:literal, |$recv:ident| $end:expr) => {{
            let (mut senders, $recv) = $channel;
            let before = wakes.0.load(Ordering::Relaxed);
            let mut waits: Vec<_> =
                senders.iter_mut().map(|send| Box::pin(send.closed())).collect();
            for wait in &mut waits {
                assert!(wait.as_mut().poll(&mut cx).is_pending());
            }
            // One that is dropped is not woken.
            drop(waits.pop());
            $end;
            assert_eq!(wakes.0.load(Ordering::Relaxed) - before, $count);
            assert!(waits.iter_mut().all(|wait| wait.as_mut().poll(&mut cx).is_ready()));
            drop(waits);
            assert!(senders.iter_mut().all(|send| poll(pin!(send.closed())).is_ready()));
        }};
    }
    let many = || {
        let (send, recv) = mpsc::channel::<u8>(1);
        (vec![send.clone(), send.clone(), send], recv)
    };
    ends_by!(many(), 2, |recv| drop(recv));
    ends_by!(many(), 2, |recv| {
        let mut recv = recv;
        recv.close();
    });
    let many = || {
        let (send, recv) = unbounded::channel::<u8>();
        (vec![send.clone(), send.clone(), send], recv)
    };
    ends_by!(many(), 2, |recv| drop(recv));
    ends_by!(many(), 2, |recv| {
        let mut recv = recv;
        recv.close();
    });
    let many = || {
        let (send, recv) = local::channel::<u8>(1);
        (vec![send.clone(), send.clone(), send], recv)
    };
    ends_by!(many(), 2, |recv| drop(recv));
    ends_by!(many(), 2, |recv| {
        let mut recv = recv;
        recv.close();
    });
    let (send, recv) = mpsc_bytes::channel(1);
    ends_by!((vec![send.clone(), send.clone(), send], recv), 2, |recv| drop(recv));
    let (mut send, mut recv) = spsc::channel::<u8>(1);
    let mut wait = Box::pin(send.closed());
    assert!(wait.as_mut().poll(&mut cx).is_pending());
    let before = wakes.0.load(Ordering::Relaxed);
    recv.close();
    assert_eq!(wakes.0.load(Ordering::Relaxed) - before, 1);
    assert!(wait.as_mut().poll(&mut cx).is_ready());
}

/// Senders to many receivers hear of the end of the last one, and wait on if another one begins.
#[test]
fn a_sender_waits_for_the_end_of_its_last_receiver() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    macro_rules! ends {
        ($channel:expr) => {{
            let (send, first) = $channel;
            let (other, second) = (send.clone(), send.subscribe());
            let before = wakes.0.load(Ordering::Relaxed);
            let mut waits = [Box::pin(send.closed()), Box::pin(other.closed())];
            let mut over = || {
                let polled = waits.iter_mut().map(|wait| wait.as_mut().poll(&mut cx));
                polled.filter(Poll::is_ready).count()
            };
            assert_eq!(over(), 0);
            drop(first);
            assert!(!send.is_closed());
            assert_eq!(wakes.0.load(Ordering::Relaxed) - before, 0, "one receiver is left");
            drop(second);
            assert!(send.is_closed());
            assert_eq!(wakes.0.load(Ordering::Relaxed) - before, 2);
            let third = send.subscribe();
            assert_eq!(over(), 0, "another one has begun");
            drop(third);
            assert_eq!(wakes.0.load(Ordering::Relaxed) - before, 4);
            assert_eq!(over(), 2);
        }};
    }
    ends!(broadcast::channel::<u8>(1));
    ends!(watch::channel(0));
}

/// A value that is replaced while a receiver waits for another one is dropped at once, and a
/// destructor that panics there keeps no value from being looked at.
#[test]
fn a_receiver_that_waits_for_a_value_keeps_none() {
    let drops = Arc::new(AtomicUsize::new(0));
    let (send, mut recv) = watch::channel((0, Counts(Arc::clone(&drops))));
    let mut wait = Box::pin(recv.wait_for(|(number, _)| *number == 2));
    assert!(poll(wait.as_mut()).is_pending());
    for number in 1..=2 {
        send.send((number, Counts(Arc::clone(&drops)))).unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), number);
    }
    assert!(matches!(poll(wait.as_mut()), Poll::Ready(Ok(value)) if value.0 == 2));
}

/// Panics when dropped, where it is told to.
struct Fails(bool);

impl Drop for Fails {
    fn drop(&mut self) {
        assert!(!self.0, "a destructor");
    }
}

/// Two senders update at once; the value that the slower one looked at is dropped by it.
#[test]
fn an_update_is_made_whatever_a_destructor_does() {
    let (send, recv) = watch::channel((0, Fails(true)));
    let mut calls = 0;
    let before = send.update(|(number, _)| {
        calls += 1;
        if calls == 1 {
            let replaced = send.send_replace((10, Fails(false)));
            drop(replaced);
        }
        (number + 1, Fails(false))
    });
    assert_eq!((before.0, calls, recv.borrow().0), (10, 2, 11));
}
