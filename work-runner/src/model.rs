//! Models of the wake-up of a worker, each named after the invariant of `signal` that it checks.
//!
//! The real signals run under loom; only the sleeper's thread and its waker are the model's. A lost
//! wake-up shows as loom's deadlock.

use crate::signal::{Signal, Signals};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::future::Future;
use std::task::{Context, Poll, Wake, Waker};

/// What a parked thread waits for.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

struct Ring(Arc<Bell>);

impl Wake for Ring {
    fn wake(self: std::sync::Arc<Self>) {
        *self.0.rung.lock().unwrap() = true;
        self.0.changed.notify_one();
    }
}

/// Sleeps until one of the signals is raised, as the engine does.
fn wait(signals: &Signals, wanted: Signal) -> Signal {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(std::sync::Arc::new(Ring(Arc::clone(&bell))));
    let mut raised = Box::pin(signals.raised(wanted));
    loop {
        match raised.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(signal) => return signal,
            Poll::Pending => {
                let mut rung = bell.rung.lock().unwrap();
                while !*rung {
                    rung = bell.changed.wait(rung).unwrap();
                }
                *rung = false;
            }
        }
    }
}

/// A request and a poke come from two threads while the engine falls asleep: it hears of both.
#[test]
fn i1_whoever_raises_a_signal_wakes_the_sleeper() {
    loom::model(|| {
        let signals = Arc::new(Signals::default());
        let raise = |signal| {
            let signals = Arc::clone(&signals);
            thread::spawn(move || signals.raise(signal))
        };
        let threads = [raise(Signal::POKED), raise(Signal::CHANGED)];
        let (mut poked, mut changed) = (false, false);
        while !(poked && changed) {
            let heard = wait(&signals, Signal::ALL);
            poked |= heard.has(Signal::POKED);
            changed |= heard.has(Signal::CHANGED);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// The signal is raised between the look and the registration of the sleeper.
#[test]
fn i2_nobody_sleeps_over_a_raised_signal() {
    loom::model(|| {
        let signals = Arc::new(Signals::default());
        let other = Arc::clone(&signals);
        let poker = thread::spawn(move || other.raise(Signal::POKED));
        assert_eq!(wait(&signals, Signal::POKED), Signal::POKED);
        poker.join().unwrap();
    });
}

/// Two pokes and one taker: as many takes as there were separate signals, and none is left over.
#[test]
fn i3_a_signal_is_taken_once() {
    loom::model(|| {
        let signals = Arc::new(Signals::default());
        let other = Arc::clone(&signals);
        let poker = thread::spawn(move || other.raise(Signal::POKED));
        let early = signals.take(Signal::ALL);
        poker.join().unwrap();
        let late = signals.take(Signal::ALL);
        assert!(early.has(Signal::POKED) != late.has(Signal::POKED), "{early:?} {late:?}");
        assert_eq!(signals.take(Signal::ALL), Signal::default());
    });
}

/// One sleeper gives up while a signal is raised: the other one gets it.
#[test]
fn i3_a_dropped_sleeper_takes_no_signal_with_it() {
    loom::model(|| {
        let signals = Arc::new(Signals::default());
        let (poking, dropping) = (Arc::clone(&signals), Arc::clone(&signals));
        let poker = thread::spawn(move || poking.raise(Signal::POKED));
        let dropper = thread::spawn(move || {
            let mut raised = Box::pin(dropping.raised(Signal::POKED));
            raised.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        });
        let taken = dropper.join().unwrap();
        if !taken {
            assert_eq!(wait(&signals, Signal::POKED), Signal::POKED);
        }
        poker.join().unwrap();
    });
}
