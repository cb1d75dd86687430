//! Dispatch, spawning, ping-pong, and wakes from another thread.

use crate::contender::Contender;
use crate::stopwatch::Stopwatch;
use lastout_bench_runner::pin_to_core;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Is pending `polls` times, and asks to be polled again each time.
fn self_waking(mut polls: u64) -> impl Future<Output = ()> {
    poll_fn(move |cx| {
        if polls == 0 {
            return Poll::Ready(());
        }
        polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Nanoseconds for each poll of `tasks` tasks that are always ready.
pub fn dispatch<C: Contender>(tasks: u64) -> f64 {
    const POLLS: u64 = 4_000_000;
    C::run(async move {
        let all: Vec<_> = (0..tasks).map(|_| C::spawn(self_waking(POLLS / tasks))).collect();
        let start = Stopwatch::start();
        for task in all {
            task.await;
        }
        start.elapsed().as_nanos() as f64 / POLLS as f64
    })
}

/// Nanoseconds to spawn a task, run it and join it, one by one.
pub fn spawn_join<C: Contender>() -> f64 {
    const TASKS: u32 = 100_000;
    C::run(async {
        let start = Stopwatch::start();
        for _ in 0..TASKS {
            C::spawn(async {}).await;
        }
        start.elapsed().as_nanos() as f64 / f64::from(TASKS)
    })
}

/// Nanoseconds for each round of two tasks that wake each other.
pub fn ping_pong<C: Contender>() -> f64 {
    const ROUNDS: u64 = 300_000;
    C::run(async {
        let turn = Rc::new(Cell::new(0_u64));
        let sleepers: Rc<[RefCell<Option<Waker>>; 2]> = Rc::default();
        let player = |me: u64| {
            let (turn, sleepers) = (Rc::clone(&turn), Rc::clone(&sleepers));
            poll_fn(move |cx| {
                let now = turn.get();
                if now >= 2 * ROUNDS {
                    if let Some(other) = sleepers[1 - me as usize].borrow_mut().take() {
                        other.wake();
                    }
                    return Poll::Ready(());
                }
                if now % 2 == me {
                    turn.set(now + 1);
                    if let Some(other) = sleepers[1 - me as usize].borrow_mut().take() {
                        other.wake();
                    }
                }
                *sleepers[me as usize].borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
        };
        let start = Stopwatch::start();
        let (one, two) = (C::spawn(player(0)), C::spawn(player(1)));
        one.await;
        two.await;
        start.elapsed().as_nanos() as f64 / ROUNDS as f64
    })
}

/// Nanoseconds for each wake that another thread gives and that has led to a poll: round after
/// round, all of 1 024 tasks are woken, and the next round begins when each has been polled.
pub fn foreign_wakes<C: Contender>() -> f64 {
    const TASKS: usize = 1024;
    const ROUNDS: usize = 200;
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let (polls, round) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (theirs, polled, begun) = (Arc::clone(&wakers), Arc::clone(&polls), Arc::clone(&round));
    let thread = std::thread::spawn(move || {
        pin_to_core(1);
        let wakers = loop {
            let mut registered = theirs.lock().expect("no panic");
            if registered.len() == TASKS {
                break std::mem::take(&mut *registered);
            }
            drop(registered);
            std::thread::yield_now();
        };
        let start = Instant::now();
        for n in 1..=ROUNDS {
            begun.store(n as u64, Ordering::SeqCst);
            wakers.iter().for_each(Waker::wake_by_ref);
            while polled.load(Ordering::SeqCst) < (n * TASKS) as u64 {
                std::hint::spin_loop();
            }
        }
        start.elapsed().as_nanos() as f64 / (ROUNDS * TASKS) as f64
    });
    C::run(async move {
        let task = || {
            let (wakers, polls, round) = (wakers.clone(), polls.clone(), round.clone());
            let (mut known, mut seen) = (false, 0);
            poll_fn(move |cx| {
                if !std::mem::replace(&mut known, true) {
                    wakers.lock().expect("no panic").push(cx.waker().clone());
                }
                let now = round.load(Ordering::SeqCst);
                if now > seen {
                    seen = now;
                    // The runtime's thread alone writes it.
                    polls.store(polls.load(Ordering::Relaxed) + 1, Ordering::Release);
                }
                if seen == ROUNDS as u64 { Poll::Ready(()) } else { Poll::Pending }
            })
        };
        let all: Vec<_> = (0..TASKS).map(|_| C::spawn(task())).collect();
        for task in all {
            task.await;
        }
    });
    thread.join().expect("no panic")
}

/// The median of `samples`, in microseconds.
fn median_us(mut samples: Vec<u64>) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2] as f64 / 1000.0
}

/// Microseconds, at the median, from a wake on another thread to the poll that it causes.
/// `pause` decides whether the runtime has gone to sleep by then.
pub fn wake_latency<C: Contender>(samples: usize, pause: Duration) -> f64 {
    let base = Instant::now();
    let sent = Arc::new(AtomicU64::new(0));
    let seen = Arc::new(AtomicU64::new(0));
    let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
    let (sent2, seen2, waker2) = (sent.clone(), seen.clone(), waker.clone());
    let thread = std::thread::spawn(move || {
        pin_to_core(1);
        let waker = loop {
            if let Some(waker) = waker2.lock().expect("no panic").take() {
                break waker;
            }
            std::thread::yield_now();
        };
        for n in 1..=samples as u64 {
            let rest = Instant::now();
            while rest.elapsed() < pause {
                std::hint::spin_loop();
            }
            sent2.store(base.elapsed().as_nanos() as u64, Ordering::SeqCst);
            waker.wake_by_ref();
            while seen2.load(Ordering::SeqCst) < n {
                std::hint::spin_loop();
            }
        }
    });
    let latencies = C::run(async move {
        let task_samples: Rc<RefCell<Vec<u64>>> = Rc::default();
        let out = Rc::clone(&task_samples);
        let mut known = false;
        let mut last = 0;
        C::spawn(poll_fn(move |cx| {
            if !known {
                known = true;
                *waker.lock().expect("no panic") = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let now = base.elapsed().as_nanos() as u64;
            let stamp = sent.load(Ordering::SeqCst);
            if stamp == last {
                return Poll::Pending;
            }
            last = stamp;
            let mut samples_so_far = out.borrow_mut();
            samples_so_far.push(now.saturating_sub(stamp));
            seen.store(samples_so_far.len() as u64, Ordering::SeqCst);
            if samples_so_far.len() == samples { Poll::Ready(()) } else { Poll::Pending }
        }))
        .await;
        task_samples.take()
    });
    thread.join().expect("no panic");
    median_us(latencies)
}

/// The floor of a parked wake: one thread in `epoll_wait`, another writes to its eventfd.
pub fn raw_parked_wake(samples: usize, pause: Duration) -> f64 {
    // SAFETY: system calls without pointers.
    let (epoll, event) = unsafe { (libc::epoll_create1(0), libc::eventfd(0, libc::EFD_NONBLOCK)) };
    let mut interest = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
    // SAFETY: `interest` is alive.
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, event, &mut interest) };
    let (base, sent, seen) =
        (Instant::now(), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (sent2, seen2) = (sent.clone(), seen.clone());
    let thread = std::thread::spawn(move || {
        pin_to_core(1);
        for n in 1..=samples as u64 {
            let rest = Instant::now();
            while rest.elapsed() < pause {
                std::hint::spin_loop();
            }
            sent2.store(base.elapsed().as_nanos() as u64, Ordering::SeqCst);
            let one = 1_u64;
            // SAFETY: eight readable bytes.
            unsafe { libc::write(event, (&raw const one).cast(), 8) };
            while seen2.load(Ordering::SeqCst) < n {
                std::hint::spin_loop();
            }
        }
    });
    let mut latencies = Vec::new();
    while latencies.len() < samples {
        let mut out = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for one event.
        unsafe { libc::epoll_wait(epoll, &mut out, 1, -1) };
        latencies.push(base.elapsed().as_nanos() as u64 - sent.load(Ordering::SeqCst));
        seen.store(latencies.len() as u64, Ordering::SeqCst);
    }
    thread.join().expect("no panic");
    // SAFETY: both are ours, and nobody uses them any more.
    unsafe { (libc::close(epoll), libc::close(event)) };
    median_us(latencies)
}

/// Nanoseconds for each wake, poll included, of `busy` tasks among `alive` ones; each round wakes every
/// busy one once. The busy ones are the last to be spawned, or lie evenly `spread` among the others.
pub fn wake_among<C: Contender>(alive: usize, busy: usize, spread: bool) -> f64 {
    const WAKES: usize = 2_000_000;
    C::run(async move {
        let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
        let polls = Rc::new(Cell::new(0_usize));
        let joins: Vec<_> = (0..alive)
            .map(|n| {
                let (wakers, polls) = (Rc::clone(&wakers), Rc::clone(&polls));
                let wakes = if spread { n % (alive / busy) == 0 } else { n >= alive - busy };
                let mut known = !wakes;
                C::spawn(poll_fn(move |cx| {
                    if !std::mem::replace(&mut known, true) {
                        wakers.borrow_mut().push(cx.waker().clone());
                    }
                    polls.set(polls.get() + 1);
                    Poll::<()>::Pending
                }))
            })
            .collect();
        while polls.get() < alive {
            self_waking(1).await;
        }
        let wakers = wakers.take();
        let round = |expected: usize| {
            wakers.iter().for_each(Waker::wake_by_ref);
            let polls = Rc::clone(&polls);
            async move {
                while polls.get() < expected {
                    self_waking(1).await;
                }
            }
        };
        // The first round brings the busy tasks into the caches.
        round(alive + wakers.len()).await;
        let rounds = WAKES / wakers.len();
        let start = Stopwatch::start();
        for n in 0..rounds {
            round(alive + (n + 2) * wakers.len()).await;
        }
        let each = start.elapsed().as_nanos() as f64 / (rounds * wakers.len()) as f64;
        std::hint::black_box(&joins);
        each
    })
}

/// Bytes of heap for each of many tasks that wait, with 16 bytes of state.
pub fn heap_per_task<C: Contender>(tasks: usize) -> f64 {
    // SAFETY: it takes nothing and returns numbers.
    let in_use = || unsafe { libc::mallinfo2() }.uordblks + unsafe { libc::mallinfo2() }.hblkhd;
    C::run(async move {
        let mut joins = Vec::with_capacity(tasks);
        let before = in_use();
        for n in 0..tasks {
            let state = std::hint::black_box([n, n]);
            joins.push(C::spawn(poll_fn(move |_| {
                if state[0] == usize::MAX { Poll::Ready(()) } else { Poll::Pending }
            })));
        }
        self_waking(4).await;
        let each = (in_use() - before) as f64 / tasks as f64;
        std::hint::black_box(&joins);
        each
    })
}
