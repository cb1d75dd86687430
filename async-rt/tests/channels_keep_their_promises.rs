//! What each kind of channel promises, on plain threads and under any executor: the behaviour that
//! users of tokio's channels rely on, and the ends.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

#[path = "common/heap.rs"]
mod heap;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lastout_async_rt::channel::{
    RecvTimeoutError, SendTimeoutError, TryRecvError, broadcast, local, mpsc, mpsc_bytes, oneshot,
    spsc, spsc_bytes, unbounded, watch,
};
use lastout_async_rt::time::yield_now;
use lastout_async_rt::{RemoteError, Runtime, spawn_boxed};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

/// Generous: the machine is slow and shared.
const DEADLINE: Duration = Duration::from_secs(60);

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

#[test]
fn plain_threads_send_and_receive_everything_in_order() {
    let (send, mut recv) = mpsc::channel(3);
    let (mut one, mut other) = spsc::channel(5);
    let senders: Vec<_> = (0..3)
        .map(|sender| {
            let send = send.clone();
            thread::spawn(move || {
                for n in 0..2000 {
                    send.send_blocking((sender, n)).unwrap();
                }
            })
        })
        .collect();
    drop(send);
    let relay = thread::spawn(move || {
        while let Some(value) = recv.recv_blocking() {
            one.send_timeout_blocking(value, DEADLINE).unwrap();
        }
    });
    let mut next = [0; 3];
    while let Ok((sender, n)) = other.recv_timeout_blocking(DEADLINE) {
        assert_eq!(n, next[sender]);
        next[sender] += 1;
    }
    assert_eq!(next, [2000; 3]);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    relay.join().unwrap();
}

#[test]
fn a_wait_of_a_plain_thread_ends_with_its_time_and_loses_nothing() {
    let (send, mut recv) = mpsc::channel(1);
    assert_eq!(recv.recv_timeout_blocking(Duration::ZERO), Err(RecvTimeoutError::TimedOut));
    assert_eq!(send.send_timeout_blocking(1, Duration::ZERO), Ok(()));
    let late = send.send_timeout_blocking(2, Duration::from_millis(1));
    assert_eq!(late, Err(SendTimeoutError::TimedOut(2)));
    // The wait that timed out left its turn.
    assert_eq!(recv.recv_timeout_blocking(Duration::MAX), Ok(1));
    send.try_send(3).unwrap();
    assert_eq!(recv.recv_blocking(), Some(3));
    drop(send);
    assert_eq!(recv.recv_timeout_blocking(Duration::MAX), Err(RecvTimeoutError::Closed));
    assert_eq!(recv.recv_blocking(), None);
    let (mut send, recv) = spsc::channel(1);
    assert_eq!(send.send_blocking(1), Ok(()));
    assert_eq!(send.send_timeout_blocking(2, Duration::ZERO), Err(SendTimeoutError::TimedOut(2)));
    drop(recv);
    assert_eq!(send.send_timeout_blocking(2, DEADLINE), Err(SendTimeoutError::Closed(2)));
}

/// Whether there would be something to wait for or not; what was to be sent is not.
#[test]
fn a_blocking_call_inside_a_runtime_panics_before_it_does_anything() {
    fn panics<R>(call: impl FnOnce() -> R) -> bool {
        catch_unwind(AssertUnwindSafe(|| drop(call()))).is_err()
    }
    let (send, mut recv) = mpsc::channel::<u8>(1);
    let (mut one, mut other) = spsc::channel::<u8>(1);
    let (bytes, mut records) = mpsc_bytes::channel(8);
    let (many, mut all) = unbounded::channel();
    let (give, mut output) = oneshot::channel();
    let (cast, mut heard) = broadcast::channel(1);
    let (set, mut latest) = watch::channel(0);
    many.send(1).unwrap();
    give.send(1).unwrap();
    assert_eq!(cast.send(1).unwrap(), 1);
    set.send(1).unwrap();
    let runtime = Runtime::new().unwrap();
    let remote = runtime.remote_handle();
    let ran = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        assert!(panics(|| send.send_blocking(1)) && panics(|| recv.recv_blocking()));
        assert!(panics(|| send.send_timeout_blocking(1, Duration::ZERO)));
        assert!(panics(|| recv.recv_timeout_blocking(Duration::ZERO)));
        assert!(panics(|| one.send_blocking(1)) && panics(|| other.recv_blocking()));
        assert!(panics(|| one.send_timeout_blocking(1, Duration::ZERO)));
        assert!(
            panics(|| bytes.send_blocking(b"a", None)) && panics(|| records.recv_blocking(None))
        );
        assert!(panics(|| all.recv_blocking()) && panics(|| output.recv_blocking(None)));
        assert!(panics(|| heard.recv_blocking(None)) && panics(|| latest.changed_blocking(None)));
        let job = Arc::clone(&ran);
        assert!(panics(|| remote.run_blocking(move || job.fetch_add(1, Ordering::Relaxed), None)));
        yield_now().await;
        yield_now().await;
    });
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    assert_eq!(recv.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(other.try_recv(), Err(TryRecvError::Empty));
    assert!(records.try_recv().is_err());
    assert_eq!((all.try_recv(), output.try_recv(), heard.try_recv()), (Ok(1), Ok(1), Ok(1)));
    assert_eq!(latest.has_changed(), Ok(true));
    // A thread that has a runtime and is not inside it may block.
    send.send_blocking(1).unwrap();
    assert_eq!(recv.recv_blocking(), Some(1));
}

#[test]
fn every_capacity_works_or_is_refused() {
    assert_eq!(mpsc::try_channel::<u8>(0).unwrap_err().capacity, 0);
    assert_eq!(spsc::try_channel::<u8>(0).unwrap_err().capacity, 0);
    assert_eq!(local::try_channel::<u8>(0).unwrap_err().capacity, 0);
    assert!(mpsc_bytes::try_channel(0).is_err() && broadcast::try_channel::<u8>(0).is_err());
    for capacity in [usize::MAX, usize::MAX / 2 + 1, usize::MAX / 4] {
        assert_eq!(mpsc::try_channel::<u64>(capacity).unwrap_err().capacity, capacity);
        assert_eq!(spsc::try_channel::<u64>(capacity).unwrap_err().capacity, capacity);
    }
    // A large channel takes memory as it is used.
    let (send, mut recv) = mpsc::channel::<[u64; 7]>(1 << 20);
    send.try_send([1; 7]).unwrap();
    assert_eq!(recv.try_recv(), Ok([1; 7]));
    let (send, mut recv) = local::channel(usize::MAX);
    send.try_send(1).unwrap();
    assert_eq!(recv.try_recv(), Ok(1));
    let (send, mut recv) = broadcast::channel(usize::MAX);
    send.send(1).unwrap();
    assert_eq!(recv.try_recv(), Ok(1));
    for capacity in [1, 2, 3, 5, 8, 13] {
        let (send, mut recv) = mpsc::channel(capacity);
        let (mut one, mut other) = spsc::channel(capacity);
        for _ in 0..3 {
            assert!((0..capacity).all(|n| send.try_send(n).is_ok() && one.try_send(n).is_ok()));
            assert!(send.try_send(0).is_err() && one.try_send(0).is_err());
            assert_eq!((recv.len(), other.len()), (capacity, capacity));
            assert!((0..capacity).all(|n| recv.try_recv() == Ok(n) && other.try_recv() == Ok(n)));
        }
        assert!(recv.is_empty() && other.is_empty() && one.room() == capacity);
    }
}

#[test]
fn zero_sized_and_aligned_values_pass() {
    #[repr(align(256))]
    #[derive(Debug, PartialEq)]
    struct Wide(u8);
    let (send, mut recv) = mpsc::channel(3);
    (0..3).for_each(|n| send.try_send(Wide(n)).unwrap());
    (0..3).for_each(|n| assert_eq!(recv.try_recv(), Ok(Wide(n))));
    let (mut send, mut recv) = spsc::channel(3);
    (0..3).for_each(|_| send.try_send(()).unwrap());
    assert!((0..3).all(|_| recv.try_recv().is_ok()) && recv.try_recv().is_err());
}

#[test]
fn every_receiver_is_a_stream() {
    futures_util::FutureExt::now_or_never(async {
        let (send, recv) = mpsc::channel(4);
        let (mut one, other) = spsc::channel(4);
        let (many, all) = unbounded::channel();
        let (near, here) = local::channel(4);
        for n in 0..3 {
            send.try_send(n).unwrap();
            one.try_send(n).unwrap();
            many.send(n).unwrap();
            near.try_send(n).unwrap();
        }
        drop((send, one, many, near));
        assert_eq!(recv.collect::<Vec<_>>().await, [0, 1, 2]);
        assert_eq!(other.collect::<Vec<_>>().await, [0, 1, 2]);
        assert_eq!(all.collect::<Vec<_>>().await, [0, 1, 2]);
        assert_eq!(here.collect::<Vec<_>>().await, [0, 1, 2]);
    })
    .unwrap();
}

#[test]
fn an_unbounded_channel_keeps_order_and_ends() {
    let (send, mut recv) = unbounded::channel();
    let threads: Vec<_> = (0..3)
        .map(|sender| {
            let send = send.clone();
            thread::spawn(move || (0..5000).for_each(|n| send.send((sender, n)).unwrap()))
        })
        .collect();
    drop(send);
    let mut next = [0; 3];
    while let Some((sender, n)) = recv.recv_blocking() {
        assert_eq!(n, next[sender]);
        next[sender] += 1;
    }
    assert_eq!(next, [5000; 3]);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let (send, mut recv) = unbounded::channel();
    send.send(1).unwrap();
    assert_eq!(recv.try_recv(), Ok(1));
    send.send(2).unwrap();
    recv.close();
    assert_eq!(send.send(3).unwrap_err().0, 3);
    assert_eq!(recv.try_recv(), Ok(2));
    assert_eq!(recv.try_recv(), Err(TryRecvError::Closed));
}

#[test]
fn empty_records_pass_and_order_is_kept() {
    let (send, mut recv) = spsc_bytes::channel(7);
    let sent = [&b""[..], b"ab", b"", b"cd", b""];
    sent.iter().for_each(|record| send.try_send(record).unwrap());
    assert!(send.try_send(b"x").is_err(), "four bytes wait, and three records that count for one");
    sent.iter().for_each(|record| assert_eq!(&*recv.try_recv().unwrap(), *record));
    send.try_claim(0).unwrap().commit().unwrap();
    drop(send);
    assert_eq!(recv.recv_blocking(None).unwrap().len(), 0);
    assert_eq!(recv.recv_blocking(None).unwrap_err(), RecvTimeoutError::Closed);
    let (send, mut recv) = mpsc_bytes::channel(4);
    let claim = send.try_claim(3).unwrap();
    assert!(send.send_blocking(b"xy", Some(Duration::from_millis(1))).is_err());
    drop(claim);
    send.send_blocking(b"xyzw", None).unwrap();
    assert!(send.try_send(b"").is_err(), "an empty record counts for one byte");
    let record = recv.try_recv().unwrap();
    assert!(send.try_send(b"a").is_err(), "its bytes count until it is dropped");
    assert_eq!(&*record, b"xyzw");
    drop(record);
    send.try_send(b"a").unwrap();
    drop(recv);
    assert!(send.try_send(b"").is_err() && send.is_closed());
    // 1024 records at most, however small they are.
    let (send, mut recv) = mpsc_bytes::channel(1 << 20);
    assert_eq!((0..2000).filter(|_| send.try_send(b"a").is_ok()).count(), 1024);
    assert!((0..1024).all(|_| *recv.try_recv().unwrap() == *b"a"));
}

#[test]
fn a_byte_channel_holds_the_memory_of_the_records_that_have_room() {
    const CAPACITY: usize = 8 << 20;
    // The slots of 1024 records, and what the channel itself needs.
    const SLOTS: usize = 64 << 10;
    let full = vec![1; CAPACITY];
    let most = heap::most(|| {
        let (send, mut recv) = mpsc_bytes::channel(CAPACITY);
        for round in 0..200 {
            send.try_send(&full).unwrap();
            drop(recv.try_recv().unwrap());
            let size = 1 << (round % 23);
            while send.try_send(&full[..size]).is_ok() {}
            while recv.try_recv().is_ok() {}
        }
    });
    assert!(
        (CAPACITY..CAPACITY + SLOTS).contains(&most),
        "{most} bytes for a channel of {CAPACITY}"
    );
}

#[test]
fn a_broadcast_reaches_every_receiver_or_counts_what_was_lost() {
    let (send, mut first) = broadcast::channel(2);
    let mut second = send.subscribe();
    assert_eq!(send.send(1).unwrap(), 2);
    assert_eq!(first.try_recv(), Ok(1));
    let mut third = send.subscribe();
    assert_eq!(send.send(2).unwrap(), 3);
    assert_eq!(send.send(3).unwrap(), 3);
    assert_eq!(second.try_recv(), Err(broadcast::RecvError::Lagged(1)));
    assert_eq!((second.try_recv(), second.try_recv()), (Ok(2), Ok(3)));
    assert_eq!((first.try_recv(), third.try_recv()), (Ok(2), Ok(2)));
    assert_eq!(send.len(), 1, "what every receiver has received is gone");
    drop(third);
    assert_eq!(first.len(), 1);
    drop(first);
    assert!(send.is_empty(), "a receiver that ends holds nothing back");
    drop(send);
    assert_eq!(second.try_recv(), Err(broadcast::RecvError::Closed));
    let (send, recv) = broadcast::channel(1);
    drop(recv);
    assert_eq!(send.send(5).unwrap_err().0, 5);
    assert_eq!(send.subscribe().try_recv(), Err(broadcast::RecvError::Empty));
}

/// A receiver whose clone could not be made has not received the value.
#[test]
fn a_value_whose_clone_panics_is_still_the_next_one() {
    struct Fragile(u8, Arc<AtomicUsize>);
    impl Clone for Fragile {
        fn clone(&self) -> Self {
            let left =
                self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            assert!(left.is_err(), "it cannot be cloned now");
            Self(self.0, Arc::clone(&self.1))
        }
    }
    let panics = Arc::new(AtomicUsize::new(2));
    let (send, mut first) = broadcast::channel(2);
    let mut second = first.resubscribe();
    let send_one = |n| send.send(Fragile(n, Arc::clone(&panics))).map_err(|_| ()).unwrap();
    send_one(1);
    let failed = catch_unwind(AssertUnwindSafe(|| first.try_recv().map(|value| value.0)));
    assert!(failed.is_err());
    let failed = catch_unwind(AssertUnwindSafe(|| poll(pin!(first.recv())).map(|_| ())));
    assert!(failed.is_err());
    assert_eq!((first.len(), second.len(), send.len()), (1, 1, 1));
    assert_eq!(first.try_recv().map(|value| value.0), Ok(1));
    assert_eq!(second.try_recv().map(|value| value.0), Ok(1));
    // One that is lost before it could be cloned is counted as lost.
    send_one(2);
    panics.store(1, Ordering::Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| first.try_recv().map(|value| value.0))).is_err());
    (3..5).for_each(|n| assert_eq!(send_one(n), 2));
    assert_eq!(first.try_recv().map(|value| value.0), Err(broadcast::RecvError::Lagged(1)));
    assert_eq!(first.try_recv().map(|value| value.0), Ok(3));
}

#[test]
fn a_broadcast_wakes_each_receiver_and_ends_them() {
    let (send, first) = broadcast::channel(64);
    let mut receivers: Vec<_> = (0..3).map(|_| first.resubscribe()).collect();
    receivers.push(first);
    let threads: Vec<_> = receivers
        .into_iter()
        .map(|mut recv| {
            thread::spawn(move || {
                let mut sum = 0;
                loop {
                    match recv.recv_blocking(None) {
                        Ok(n) => sum += n,
                        Err(broadcast::RecvError::Lagged(lost)) => panic!("lost {lost}"),
                        Err(_) => return sum,
                    }
                }
            })
        })
        .collect();
    (1..=50).for_each(|n| assert_eq!(send.send(n).unwrap(), 4));
    drop(send);
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 1275));
    // The last receiver of a value has the value itself; the others have clones.
    let drops = Arc::new(AtomicUsize::new(0));
    let (send, mut recv) = broadcast::channel(4);
    let mut other = recv.resubscribe();
    assert_eq!(send.send(Counts(Arc::clone(&drops))).unwrap(), 2);
    drop((recv.try_recv().ok(), other.try_recv().ok()));
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

#[test]
fn a_watch_shows_the_latest_value_and_each_change() {
    let (send, mut recv) = watch::channel(0);
    assert_eq!(recv.has_changed(), Ok(false));
    let mut clone = recv.clone();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    {
        let mut changed = pin!(recv.changed());
        assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        send.send(1).unwrap();
        send.send(2).unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(changed), Poll::Ready(Ok(())));
    }
    assert_eq!((*recv.borrow(), recv.has_changed()), (2, Ok(false)));
    assert_eq!((*clone.borrow(), clone.has_changed()), (2, Ok(true)));
    assert_eq!((*clone.borrow_and_update(), clone.has_changed()), (2, Ok(false)));
    assert_eq!(*send.update(|n| n + 40), 2);
    let Poll::Ready(Ok(value)) = poll(pin!(recv.wait_for(|n| *n > 40))) else {
        panic!("the value is there")
    };
    assert_eq!(*value, 42);
    assert_eq!(*send.send_replace(43), 42);
    drop(send);
    assert_eq!(recv.has_changed(), Ok(true), "the last value is seen before the end");
    assert_eq!(recv.changed_blocking(None), Ok(true));
    assert!(recv.changed_blocking(None).is_err() && recv.has_changed().is_err());
    let (send, recv) = watch::channel(0);
    drop(recv);
    assert_eq!(send.send(1).unwrap_err().0, 1);
    assert_eq!((*send.borrow(), send.is_closed()), (0, true));
    send.send_replace(2);
    assert_eq!(*send.subscribe().borrow(), 2);
}

#[test]
fn concurrent_updates_of_a_watch_are_all_made() {
    let (send, mut recv) = watch::channel(0_u32);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let send = send.clone();
            thread::spawn(move || (0..500).for_each(|_| drop(send.update(|n| n + 1))))
        })
        .collect();
    drop(send);
    let mut last = 0;
    while recv.changed_blocking(Some(DEADLINE)) == Ok(true) {
        assert!(*recv.borrow() >= last);
        last = *recv.borrow();
    }
    assert_eq!(last, 1500);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Re-enters the channel from a waker and from a destructor.
#[test]
fn a_waker_and_a_destructor_may_use_the_channel() {
    struct Reenters(mpsc::Sender<u8>, broadcast::Sender<u8>, watch::Sender<u8>);
    impl Wake for Reenters {
        fn wake(self: Arc<Self>) {
            let _ = self.0.try_send(9);
            let _ = self.1.send(9);
            let _ = self.2.send(9);
        }
    }
    let (send, mut recv) = mpsc::channel(4);
    let (cast, mut heard) = broadcast::channel(8);
    let (set, mut seen) = watch::channel(0);
    let waker = Waker::from(Arc::new(Reenters(send.clone(), cast.clone(), set.clone())));
    let mut cx = Context::from_waker(&waker);
    assert!(recv.poll_recv(&mut cx).is_pending());
    assert!(heard.poll_recv(&mut cx).is_pending() && seen.poll_changed(&mut cx).is_pending());
    send.try_send(1).unwrap();
    assert_eq!((recv.try_recv(), recv.try_recv()), (Ok(1), Ok(9)));
    cast.send(1).unwrap();
    set.send(1).unwrap();
    assert!(heard.try_recv().is_ok() && *seen.borrow() > 0);
}

#[test]
fn many_futures_over_one_channel_all_end() {
    let (send, mut recv) = mpsc::channel(2);
    let sums = thread::spawn(move || {
        let mut sum = 0;
        while let Some(n) = recv.recv_blocking() {
            sum += n;
        }
        sum
    });
    Runtime::new().unwrap().block_on(async {
        let all = join_all((0..100).map(|n| send.send(n))).await;
        assert!(all.into_iter().all(|sent| sent.is_ok()));
    });
    drop(send);
    assert_eq!(sums.join().unwrap(), 4950);
}

#[test]
fn a_plain_thread_runs_jobs_on_a_runtime_and_gets_their_output() {
    let runtime = Runtime::new().unwrap();
    let remote = runtime.remote_handle();
    let late = remote.run_blocking(|| 1, Some(Duration::from_millis(1)));
    assert_eq!(late, Err(RemoteError::TimedOut), "the runtime does not run");
    let (done, mut wait) = oneshot::channel();
    let thread = thread::spawn(move || {
        let here = thread::current().id();
        let there = remote.run_blocking(|| thread::current().id(), None).unwrap();
        let panicked = remote.run_blocking(|| panic!("on purpose"), None);
        assert_eq!(panicked, Err::<(), _>(RemoteError::Panicked));
        done.send(here != there).unwrap();
        remote
    });
    assert_eq!(wait.recv_blocking(Some(Duration::ZERO)), Err(RecvTimeoutError::TimedOut));
    assert_eq!(runtime.block_on(wait), Ok(true));
    drop(runtime);
    let late = thread.join().unwrap().run_blocking(|| 1, None);
    assert_eq!(late, Err(RemoteError::Ended));
}

#[test]
fn a_oneshot_that_its_receiver_closes_is_not_waited_for() {
    let (give, mut output) = oneshot::channel();
    assert!(poll(Pin::new(&mut output)).is_pending());
    output.close();
    assert!(matches!(poll(Pin::new(&mut output)), Poll::Ready(Err(_))), "the sender is there");
    assert_eq!(output.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(output.recv_blocking(None), Err(RecvTimeoutError::Closed));
    assert_eq!(give.send(1), Err(1));
    let (give, mut output) = oneshot::channel();
    give.send(2).unwrap();
    output.close();
    assert_eq!(output.recv_blocking(None), Ok(2), "it was sent before");
}

/// The bound of a turn holds for channels that are always ready: `BUDGET` of `src/coop.rs`.
#[test]
fn a_turn_sends_and_receives_a_bounded_number_of_values() {
    const BUDGET: usize = 128;
    Runtime::new().unwrap().block_on(async {
        let (send, mut recv) = mpsc::channel(100_000);
        let (mut one, mut other) = spsc::channel(100_000);
        let (near, mut here) = local::channel(100_000);
        let (many, mut all) = unbounded::channel();
        let done = Rc::new(Cell::new(0));
        let count = Rc::clone(&done);
        let most = Rc::new(Cell::new(0));
        let noted = Rc::clone(&most);
        let worker = spawn_boxed(async move {
            for n in 0..2000 {
                send.send(n).await.unwrap();
                one.send(n).await.unwrap();
                near.send(n).await.unwrap();
                many.send(n).unwrap();
                count.set(count.get() + 4);
            }
            for n in 0..2000 {
                assert_eq!((recv.recv().await, other.recv().await), (Some(n), Some(n)));
                assert_eq!((here.recv().await, all.recv().await), (Some(n), Some(n)));
                count.set(count.get() + 4);
            }
        });
        let neighbour = spawn_boxed(async move {
            let mut before = done.get();
            loop {
                yield_now().await;
                noted.set(noted.get().max(done.get() - before));
                before = done.get();
            }
        });
        worker.await.unwrap();
        neighbour.abort();
        // A turn may begin or end inside of a round of the worker.
        assert!((1..=BUDGET + 4).contains(&most.get()), "{} operations in one turn", most.get());
    });
}
