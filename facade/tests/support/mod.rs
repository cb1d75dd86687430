//! A member that does as it is told and writes down what happened to it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "each test file uses its own part"
)]

pub(crate) mod examples;
#[cfg(feature = "console")]
pub(crate) mod web;

use lastout::Drain;
use lastout::supervisor::{Counters, DrainFuture, Drained, EndedFuture, Failure, Until};
use std::future::pending;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Long enough for any machine; nothing waits for it to pass.
pub(crate) const GENEROUS: Duration = Duration::from_secs(60);

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<(Mutex<Pages>, Condvar)>);

#[derive(Default)]
struct Pages {
    lines: Vec<String>,
    is_open: bool,
}

impl Book {
    pub(crate) fn write(&self, line: impl Into<String>) {
        self.0.0.lock().unwrap().lines.push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// Lets go of those who block.
    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().is_open = true;
        self.0.1.notify_all();
    }

    pub(crate) fn wait_until_open(&self) {
        let pages = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(pages, |pages| !pages.is_open).unwrap());
    }
}

/// What a drain does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Ends at once.
    Ends,
    /// Never ends.
    Hangs,
    /// Panics when it is polled.
    Panics,
    /// Leaves a process behind.
    Leaves,
    /// Blocks its thread until the book is [opened](Book::open).
    Blocks,
}

pub(crate) struct Fake {
    name: &'static str,
    book: Book,
    drain: Does,
    force: Does,
    counted: u64,
    fault: Fault,
}

impl Fake {
    pub(crate) fn new(name: &'static str, book: &Book) -> Self {
        Self {
            name,
            book: book.clone(),
            drain: Does::Ends,
            force: Does::Ends,
            counted: 0,
            fault: Fault::default(),
        }
    }

    pub(crate) fn drain(mut self, does: Does) -> Self {
        self.drain = does;
        self
    }

    pub(crate) fn force(mut self, does: Does) -> Self {
        self.force = does;
        self
    }

    pub(crate) fn counted(mut self, counted: u64) -> Self {
        self.counted = counted;
        self
    }

    pub(crate) fn fault(mut self, fault: &Fault) -> Self {
        self.fault = fault.clone();
        self
    }

    fn act(&self, verb: &str, does: Does) -> DrainFuture<'_> {
        self.book.write(format!("{verb} {}", self.name));
        Box::pin(async move {
            match does {
                Does::Ends => Drained::new().ended("things", self.counted),
                Does::Hangs => pending().await,
                Does::Panics => panic!("the drain of {} is broken", self.name),
                Does::Blocks => {
                    self.book.wait_until_open();
                    Drained::new()
                }
                Does::Leaves => Drained::new().left("process 42 (stuck)", "uninterruptible"),
            }
        })
    }
}

impl Drain for Fake {
    fn drain(&self, until: Until) -> DrainFuture<'_> {
        assert!(until.deadline() > Instant::now() - GENEROUS);
        self.act("drain", self.drain)
    }

    fn force(&self, _until: Until) -> DrainFuture<'_> {
        self.act("force", self.force)
    }

    fn ended(&self) -> EndedFuture<'_> {
        Box::pin(self.fault.struck())
    }

    fn stats(&self) -> Counters {
        Counters::new().count("fake.counted", self.counted).sum(
            "counted = counted",
            self.counted,
            self.counted,
        )
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.book.write(format!("drop {}", self.name));
    }
}

/// Makes a member fail from outside. Each strike fails one instance.
#[derive(Clone, Default)]
pub(crate) struct Fault(Arc<Mutex<(u32, Vec<Waker>)>>);

impl Fault {
    pub(crate) fn strike(&self) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.0 += 1;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many strikes have hit nobody yet.
    pub(crate) fn left(&self) -> u32 {
        self.0.lock().unwrap().0
    }

    async fn struck(&self) -> Result<(), Failure> {
        std::future::poll_fn(|cx| {
            let mut state = self.0.lock().unwrap();
            if state.0 > 0 {
                state.0 -= 1;
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        Err("struck".into())
    }
}

/// Waits until a condition holds, and fails with what there is when it does not.
pub(crate) fn wait_until<T: std::fmt::Debug>(look: impl Fn() -> T, enough: impl Fn(&T) -> bool) {
    let began = Instant::now();
    loop {
        let seen = look();
        if enough(&seen) {
            return;
        }
        assert!(began.elapsed() < GENEROUS, "still {seen:?}");
        std::thread::yield_now();
    }
}
