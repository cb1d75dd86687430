//! Timers: creating and cancelling one among 100 000, and how late one fires.

use crate::stopwatch::Stopwatch;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

const ALIVE: u64 = 100_000;
const MEASURED: u64 = 20_000;

/// A delay that is far and differs from timer to timer.
fn delay(n: u64) -> Duration {
    Duration::from_millis(60_000 + n.wrapping_mul(7919) % 600_000)
}

/// Places for timers that do not move, made before the clock runs: no peer pays for a box per timer.
struct Places<S>(Pin<Box<[Option<S>]>>);

impl<S: Future> Places<S> {
    fn new(count: u64) -> Self {
        Self(Box::into_pin((0..count).map(|_| None).collect()))
    }

    fn each(&mut self) -> impl Iterator<Item = Pin<&mut Option<S>>> {
        // SAFETY: the slice is pinned, and its elements are handed out pinned.
        let all = unsafe { self.0.as_mut().get_unchecked_mut() };
        // SAFETY: as above.
        all.iter_mut().map(|place| unsafe { Pin::new_unchecked(place) })
    }
}

/// Nanoseconds to create and arm a timer, and to drop it again.
async fn create_and_cancel<S: Future>(sleep: impl Fn(Duration) -> S) -> (f64, f64) {
    poll_fn(move |cx: &mut Context<'_>| {
        let mut arm = |(mut place, n): (Pin<&mut Option<S>>, u64)| {
            place.set(Some(sleep(delay(n))));
            let timer = place.as_pin_mut().expect("it was set above");
            assert!(timer.poll(cx).is_pending());
        };
        let (mut alive, mut timers) = (Places::new(ALIVE), Places::new(MEASURED));
        alive.each().zip(0..).for_each(&mut arm);
        let start = Stopwatch::start();
        timers.each().zip(0..).for_each(&mut arm);
        let created = start.elapsed();
        let start = Stopwatch::start();
        timers.each().for_each(|mut place| place.set(None));
        let cancelled = start.elapsed();
        drop(alive);
        let each = |time: Duration| time.as_nanos() as f64 / MEASURED as f64;
        Poll::Ready((each(created), each(cancelled)))
    })
    .await
}

pub fn ours() -> (f64, f64) {
    let runtime = lastout_async_rt::Runtime::new().expect("build ours");
    runtime.block_on(async {
        lastout_async_rt::spawn_boxed(create_and_cancel(lastout_async_rt::time::sleep))
            .await
            .expect("no panic")
    })
}

pub fn tokio() -> (f64, f64) {
    tokio_runtime().block_on(create_and_cancel(tokio::time::sleep))
}

pub fn smol() -> (f64, f64) {
    async_io::block_on(create_and_cancel(async_io::Timer::after))
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("build tokio")
}

const NAP: Duration = Duration::from_micros(250);
const NAPS: usize = 300;

/// Microseconds, at the median, by which sleeping exceeds 250 us. A negative one would be early.
async fn lateness<S: Future>(sleep: impl Fn() -> S) -> f64 {
    let mut late = Vec::with_capacity(NAPS);
    for _ in 0..NAPS {
        let start = Instant::now();
        sleep().await;
        late.push(start.elapsed().checked_sub(NAP).expect("never early"));
    }
    late.sort_unstable();
    late[NAPS / 2].as_nanos() as f64 / 1000.0
}

pub fn late_ours() -> f64 {
    let runtime = lastout_async_rt::Runtime::new().expect("build ours");
    runtime.block_on(lateness(|| lastout_async_rt::time::sleep(NAP)))
}

pub fn late_tokio() -> f64 {
    tokio_runtime().block_on(lateness(|| tokio::time::sleep(NAP)))
}

pub fn late_smol() -> f64 {
    async_io::block_on(lateness(|| async_io::Timer::after(NAP)))
}

/// The floor: the kernel's own timeout.
pub fn late_raw() -> f64 {
    // SAFETY: a system call without pointers.
    let epoll = unsafe { libc::epoll_create1(0) };
    let nap = libc::timespec { tv_sec: 0, tv_nsec: NAP.as_nanos() as i64 };
    let late = async_io::block_on(lateness(|| {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let no_mask = std::ptr::null::<libc::sigset_t>();
        // SAFETY: room for one event; the timeout lives on.
        unsafe { libc::syscall(libc::SYS_epoll_pwait2, epoll, &mut event, 1, &nap, no_mask, 0) };
        std::future::ready(())
    }));
    // SAFETY: it is ours.
    unsafe { libc::close(epoll) };
    late
}
