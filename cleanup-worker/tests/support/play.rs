//! Everything that a program may do with a worker, in an order that a seed chooses, against an oracle that
//! counts: each task that was made is dropped once, each that was accepted has one outcome, and a flush
//! never returns before what came before it.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "real threads")]

use lastout_cleanup_worker::{
    Armed, Blocking, Cleanup, CleanupContext, CleanupHandle, CleanupWorker, Options, Outcome, Stats,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Longer than any machine needs.
const LONG: Duration = Duration::from_secs(120);
const THREADS: u64 = 3;

/// xorshift: small, seeded, good enough to mix.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

#[derive(Default)]
struct Counts {
    made: AtomicU64,
    dropped: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// Lives as long as its task, in whatever form that is.
struct Token {
    counts: Arc<Counts>,
    /// The futures of one thread that are not dropped. A closure may outlive its task, and a nest hands
    /// over more later, so those are not among them.
    own: Option<Arc<AtomicU64>>,
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            own.fetch_sub(1, SeqCst);
        }
        self.counts.dropped.fetch_add(1, SeqCst);
    }
}

/// Holds a guard, which it drops wherever it is dropped itself.
struct Nest(#[allow(dead_code, reason = "held")] Option<Armed<Self>>, Token);

impl Cleanup for Nest {
    async fn run(self, cx: CleanupContext) -> Outcome {
        let _flushed = cx.handle().flush(Duration::from_millis(1)).await;
        drop(self);
        Ok(())
    }
}

/// One thread of the play.
struct Player<'a> {
    dice: Dice,
    handle: &'a CleanupHandle,
    counts: Arc<Counts>,
    own: Arc<AtomicU64>,
    guards: Vec<Armed<Nest>>,
}

impl Player<'_> {
    fn token(&self, own: bool) -> Token {
        self.counts.made.fetch_add(1, SeqCst);
        let own = own.then(|| Arc::clone(&self.own));
        if let Some(own) = &own {
            own.fetch_add(1, SeqCst);
        }
        Token { counts: Arc::clone(&self.counts), own }
    }

    fn count<E>(&self, result: Result<(), E>) {
        let count = if result.is_ok() { &self.counts.accepted } else { &self.counts.refused };
        count.fetch_add(1, SeqCst);
    }

    fn submit(&mut self, task: impl Cleanup) {
        let timeout = Duration::from_millis(self.dice.roll(5));
        let short = Options::new().timeout(timeout).weight(1 + self.dice.roll(3) as u32);
        let handle = if self.dice.roll(3) == 0 { self.handle.lazy() } else { self.handle.clone() };
        let result = if self.dice.roll(2) == 0 {
            handle.submit(task)
        } else {
            handle.submit_with(task, short)
        };
        self.count(result);
    }

    fn act(&mut self) {
        let act = self.dice.roll(16);
        let token = self.token(!(6..8).contains(&act) && !(10..12).contains(&act));
        let inner = self.handle.clone();
        let moment = Duration::from_millis(self.dice.roll(4));
        match act {
            0..3 => self.submit(async move { drop(token) }),
            3 => self.submit(async move {
                let _token = token;
                Err::<(), _>("on purpose")
            }),
            4 => self.submit(async move {
                let _token = token;
                panic!("on purpose")
            }),
            5 => self.submit(async move {
                let _token = token;
                inner.flush(moment).await
            }),
            6 => self.submit(Blocking(move || drop(token))),
            // Outlives its task where that has a short timeout, and flushes then.
            7 => self.submit(Blocking(move || {
                let _token = token;
                // SLEEP: the closure is to outlive a task whose timeout is of this order.
                std::thread::sleep(moment);
                inner.flush_blocking(moment)
            })),
            8 => {
                let never = async move {
                    let _token = token;
                    std::future::pending::<()>().await;
                };
                let result = self.handle.submit_with(never, Options::new().timeout(moment));
                self.count(result);
            }
            9 => self.submit(async move {
                let _token = token;
                // At once an error here, on the worker's own thread.
                inner.flush_blocking(LONG)
            }),
            10..12 => {
                let inside = self.guards.pop();
                let handle = if self.dice.roll(3) == 0 { inner.lazy() } else { inner };
                match handle.arm(Nest(inside, token)) {
                    Ok(guard) => self.guards.push(guard),
                    Err(refused) => {
                        self.counts.refused.fetch_add(1, SeqCst);
                        // Dropped here, and with it the guard inside, which is accepted.
                        self.drop_nest(refused.into_task());
                    }
                }
            }
            12 => {
                drop(token);
                if let Some(guard) = self.guards.pop() {
                    self.counts.accepted.fetch_add(depth(&guard), SeqCst);
                    drop(guard);
                }
            }
            13 => {
                drop(token);
                if let Some(guard) = self.guards.pop() {
                    self.drop_nest(guard.disarm());
                }
            }
            14 => {
                drop(token);
                self.flush();
            }
            _ => {
                drop(token);
                let stats = self.handle.stats();
                assert!(stats.is_balanced(), "{stats:?}");
            }
        }
    }

    fn drop_nest(&self, nest: Nest) {
        self.counts.accepted.fetch_add(nest.0.as_ref().map_or(0, depth), SeqCst);
        drop(nest);
    }

    fn flush(&mut self) {
        let flushed = self.handle.flush_blocking(LONG);
        let left = self.own.load(SeqCst);
        // What a shutdown gives up is counted before it is dropped.
        if !self.handle.is_closed() {
            assert_eq!((flushed, left), (Ok(()), 0), "a flush returned before its tasks");
        }
    }
}

/// How many tasks the drop of the guard hands over, one after the other.
fn depth(guard: &Armed<Nest>) -> u64 {
    1 + guard.0.as_ref().map_or(0, depth)
}

fn worker(dice: &mut Dice) -> CleanupWorker {
    let builder = CleanupWorker::builder()
        .capacity([10, 1000, 100_000][dice.roll(3) as usize])
        .concurrency([1, 4, 64][dice.roll(3) as usize])
        .blocking_threads(1 + dice.roll(3) as usize)
        .timeout(Duration::from_millis(50))
        .drop_deadline(Duration::from_millis(dice.roll(20)));
    builder.build().unwrap()
}

/// One play: threads that do everything at once, and an end in the middle of it. Gives the numbers.
pub(crate) fn run(seed: u64, acts: u64) -> Stats {
    let mut dice = Dice::new(seed);
    let worker = worker(&mut dice);
    let handle = worker.handle().clone();
    run_on(worker, &handle, &mut dice, acts)
}

/// The same on a worker that exists, as in a forked child.
pub(crate) fn run_on(
    worker: CleanupWorker,
    handle: &CleanupHandle,
    dice: &mut Dice,
    acts: u64,
) -> Stats {
    let counts = Arc::new(Counts::default());
    let deadline = Duration::from_millis(dice.roll(3) * 10);
    let (moment, verb) = (dice.roll(acts), dice.roll(5));
    let acted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let (dice, counts) = (Dice::new(dice.roll(u64::MAX >> 11)), Arc::clone(&counts));
            let mut player =
                Player { dice, handle, counts, own: Arc::default(), guards: Vec::new() };
            let acted = &acted;
            scope.spawn(move || {
                for _ in 0..acts {
                    player.act();
                    acted.fetch_add(1, SeqCst);
                }
                for guard in std::mem::take(&mut player.guards) {
                    player.counts.accepted.fetch_add(depth(&guard), SeqCst);
                    drop(guard);
                }
            });
        }
        until("the moment of the end", || acted.load(SeqCst) >= moment);
        let report = match verb {
            0 => worker.drain_blocking(LONG),
            1 => worker.shutdown_blocking(deadline),
            2 => worker.kill_blocking(deadline),
            3 => {
                worker.close();
                worker.drain_blocking(deadline)
            }
            _ => return drop(worker),
        };
        assert!(report.stats().is_balanced(), "{report:?}");
    });
    let expected = || counts.accepted.load(SeqCst);
    until("all is counted and dropped", || {
        let stats = handle.stats();
        let all = counts.dropped.load(SeqCst) == counts.made.load(SeqCst);
        all && stats.used == 0 && stats.stuck_blocking == 0 && stats.ended() == expected()
    });
    let stats = handle.stats();
    assert_eq!((stats.accepted, stats.ended()), (expected(), expected()), "{stats:?}");
    assert_eq!(stats.refused, counts.refused.load(SeqCst), "{stats:?}");
    assert_eq!((stats.armed, stats.queued, stats.in_flight), (0, 0, 0), "{stats:?}");
    stats
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::yield_now();
    }
}
