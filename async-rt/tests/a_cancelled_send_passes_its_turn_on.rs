//! Channels: fair, bounded, and a cancelled send passes its turn on.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use common::{Drops, on_both_cores, within};
use lastout_async_rt::channel::{
    SendError, TryRecvError, TrySendError, local, mpsc, mpsc_bytes, oneshot, spsc_bytes,
};
use lastout_async_rt::time::{timeout, yield_now};
use lastout_async_rt::{JoinSet, Notify, Semaphore, spawn_boxed};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

on_both_cores! {
    /// The only wake does not go to the send that was dropped.
    fn a_cancelled_send_passes_its_turn_on(core) {
        core.runtime().block_on(async {
            let (send, mut recv) = local::channel(1);
            send.try_send(0).unwrap();
            let (one, two) = (send.clone(), send.clone());
            let first = spawn_boxed(async move { one.send(1).await });
            let second = spawn_boxed(async move { two.send(2).await });
            yield_now().await;
            assert_eq!(recv.recv().await, Some(0));
            // The first has been granted the room, and is dropped before it runs.
            first.abort();
            within("the second send", second).await.unwrap().unwrap();
            assert_eq!(recv.recv().await, Some(2));
        });
    }

    fn senders_get_room_in_the_order_in_which_they_asked(core) {
        core.runtime().block_on(async {
            let (send, mut recv) = mpsc::channel(1);
            let mut tasks = JoinSet::new();
            for n in 0..20 {
                let send = send.clone();
                tasks.spawn(async move { send.send(n).await.unwrap() });
            }
            yield_now().await;
            assert!(matches!(send.try_send(99), Err(TrySendError::Full(99))), "nobody overtakes");
            drop(send);
            for n in 0..20 { assert_eq!(within("a value", recv.recv()).await, Some(n)); }
            assert_eq!(recv.recv().await, None);
            while tasks.join_next().await.is_some() {}
        });
    }

    fn ends_and_leftovers(core) {
        core.runtime().block_on(async {
            let (send, mut recv) = local::channel(4);
            let drops = Drops::default();
            send.send(drops.guard()).await.unwrap();
            recv.close();
            assert!(matches!(send.send(drops.guard()).await, Err(SendError(_))));
            assert!(recv.try_recv().is_ok() && matches!(recv.try_recv(), Err(TryRecvError::Closed)));
            let (send, recv) = local::channel(1);
            send.try_send(drops.guard()).unwrap();
            let waiting = spawn_boxed({ let (send, guard) = (send.clone(), drops.guard()); async move { send.send(guard).await.is_err() } });
            yield_now().await;
            drop(recv);
            assert!(within("a sender without receiver", waiting).await.unwrap());
            assert!(send.is_closed() && send.room() == 0);
            assert_eq!(drops.count(), 4);
        });
    }

    fn oneshots_give_their_value_or_say_that_there_is_none(core) {
        core.runtime().block_on(async {
            let (send, recv) = oneshot::channel();
            let task = spawn_boxed(recv);
            yield_now().await;
            send.send(5).unwrap();
            assert_eq!(within("the value", task).await.unwrap(), Ok(5));
            let (send, mut recv) = oneshot::channel::<u8>();
            assert_eq!(recv.try_recv(), Err(TryRecvError::Empty));
            drop(send);
            assert!(within("the end", recv).await.is_err());
            let (mut send, recv) = oneshot::channel::<u8>();
            assert!(timeout(Duration::ZERO, send.closed()).await.is_err());
            drop(recv);
            within("the close", send.closed()).await;
            assert_eq!(send.send(1), Err(1));
        });
    }

    fn byte_channels_are_bounded_by_bytes(core) {
        core.runtime().block_on(async {
            let (send, mut recv) = mpsc_bytes::channel(10);
            let mut claim = send.claim(6).await.unwrap();
            claim.copy_from_slice(b"record");
            claim.commit().unwrap();
            assert!(send.try_claim(5).is_err() && send.try_claim(11).is_err());
            drop(send.try_claim(4).unwrap());
            let waiting = spawn_boxed({ let send = send.clone(); async move { send.send(b"later").await.unwrap() } });
            yield_now().await;
            let record = recv.recv().await.unwrap();
            assert_eq!(&*record, b"record");
            yield_now().await;
            assert!(!waiting.is_finished(), "its room is taken until the record is dropped");
            drop(record);
            within("the later record", waiting).await.unwrap();
            assert_eq!(&*recv.recv().await.unwrap(), b"later");
            drop(recv);
            assert!(send.claim(1).await.is_err());
            let (send, mut recv) = spsc_bytes::channel(4);
            send.send(b"one").await.unwrap();
            drop(send);
            assert_eq!(&*recv.recv().await.unwrap(), b"one");
            assert!(recv.recv().await.is_none());
        });
    }

    fn notify_and_semaphore_pass_on_what_a_cancelled_waiter_was_given(core) {
        core.runtime().block_on(async {
            let (notify, order) = (Notify::new(), Rc::new(RefCell::new(Vec::new())));
            let wait = |n: u8| {
                let (notify, order) = (notify.clone(), Rc::clone(&order));
                spawn_boxed(async move { notify.notified().await; order.borrow_mut().push(n) })
            };
            let (one, two, three) = (wait(1), wait(2), wait(3));
            yield_now().await;
            notify.notify_one();
            one.abort();
            within("the second waiter", two).await.unwrap();
            notify.notify_waiters();
            within("the third waiter", three).await.unwrap();
            notify.notify_one();
            notify.notify_one();
            within("a word kept for later", wait(4)).await.unwrap();
            assert!(timeout(Duration::ZERO, notify.notified()).await.is_err(), "two words are one");
            assert_eq!(*order.borrow(), [2, 3, 4]);

            let permits = Semaphore::new(2);
            let held = permits.acquire(2).await.unwrap();
            let one = spawn_boxed({ let p = permits.clone(); async move { p.acquire(2).await.map(drop) } });
            let two = spawn_boxed({ let p = permits.clone(); async move { p.acquire(1).await.map(drop) } });
            yield_now().await;
            assert!(permits.try_acquire(1).is_none());
            drop(held);
            one.abort();
            within("the second waiter", two).await.unwrap().unwrap();
            assert!(one.await.unwrap_err().is_cancelled());
            assert_eq!(permits.available(), 2);
            permits.close();
            assert!(permits.acquire(1).await.is_err());
        });
    }

    fn more_permits_than_there_are_come_with_those_that_are_added(core) {
        core.runtime().block_on(async {
            let permits = Semaphore::new(2);
            let take = |count| {
                let permits = permits.clone();
                spawn_boxed(async move { permits.acquire(count).await.map(|held| held.count()) })
            };
            let (more, behind) = (take(5), take(1));
            yield_now().await;
            assert_eq!((permits.total(), permits.available()), (2, 2));
            assert!(permits.try_acquire(1).is_none(), "two tasks wait");
            permits.add(2).unwrap();
            yield_now().await;
            assert!(!more.is_finished() && !behind.is_finished(), "one is missing");
            permits.add(1).unwrap();
            assert_eq!(within("the first", more).await.unwrap(), Ok(5));
            assert_eq!(within("the one behind it", behind).await.unwrap(), Ok(1));
            assert_eq!((permits.total(), permits.available()), (5, 5));
            let never = take(usize::MAX);
            yield_now().await;
            permits.close();
            assert!(within("the end", never).await.unwrap().is_err());
        });
    }

    fn join_sets_join_in_the_order_of_ends_and_abort_when_dropped(core) {
        core.builder().virtual_clock().build().unwrap().block_on(async {
            let mut tasks = JoinSet::new();
            for n in [3_u64, 1, 2] {
                tasks.spawn(async move { lastout_async_rt::time::sleep(Duration::from_secs(n)).await; n });
            }
            for n in 1..=3 { assert_eq!(tasks.join_next().await.unwrap().unwrap(), n); }
            assert!(tasks.join_next().await.is_none());
            let drops = Drops::default();
            let mut set = JoinSet::new();
            for _ in 0..3 {
                let guard = drops.guard();
                set.spawn(async move { let _guard = guard; std::future::pending::<()>().await });
            }
            yield_now().await;
            set.shutdown().await;
            assert_eq!(drops.count(), 3);
            let guard = drops.guard();
            set.spawn(async move { let _guard = guard; std::future::pending::<()>().await });
            drop(set);
            yield_now().await;
            assert_eq!(drops.count(), 4);
        });
    }
}
