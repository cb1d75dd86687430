//! Every number that a builder takes works or is refused with a typed error, at its ends too.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::on_both_cores;
use lastout_async_rt::time::{sleep, yield_now};
use lastout_async_rt::{BuildError, Builder, Idle, Runtime, spawn_boxed};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

type Knob = fn(Builder, usize) -> Builder;

/// Sets the first number of the slab, or the second.
fn slots(builder: Builder, number: usize) -> Builder {
    builder.slab_bounded(number, 256)
}

fn slot_size(builder: Builder, number: usize) -> Builder {
    builder.slab_unbounded(2, number)
}

const KNOBS: [(&str, Knob); 8] = [
    ("tasks_per_cycle", Builder::tasks_per_cycle),
    ("event_interval", Builder::event_interval),
    ("cross_thread_drain_limit", Builder::cross_thread_drain_limit),
    ("queue_capacity", Builder::queue_capacity),
    ("task_capacity", Builder::task_capacity),
    ("event_capacity", Builder::event_capacity),
    ("slots", slots),
    ("slot_size", slot_size),
];

on_both_cores! {
    fn each_number_at_its_ends(core) {
        for (option, knob) in KNOBS {
            for number in [0, 1, 2, 1 << 16, usize::MAX / 64, usize::MAX / 2, usize::MAX - 1, usize::MAX] {
                let what = format!("{option} of {number}");
                match knob(core.builder(), number).build() {
                    Ok(runtime) => assert_eq!(works(&runtime), 45, "{what}"),
                    Err(BuildError::Zero { option: named }) => assert_eq!((named, number), (option, 0)),
                    Err(BuildError::TooLarge { option: named, value }) => assert_eq!((named, value), (option, number)),
                    Err(error) => panic!("{what}: {error}"),
                }
            }
        }
    }

    fn each_seed_has_an_order_of_its_own(core) {
        let orders: HashSet<Vec<usize>> = (0..40).chain([u64::MAX, u64::MAX - 1]).map(|seed| {
            let runtime = core.builder().seeded_order(seed).build().unwrap();
            let order = Rc::new(RefCell::new(Vec::new()));
            for n in 0..20 {
                let order = Rc::clone(&order);
                runtime.handle().spawn_boxed(async move { order.borrow_mut().push(n) }).detach();
            }
            runtime.run_until_stalled();
            order.take()
        }).collect();
        assert_eq!(orders.len(), 42);
    }

    fn any_window_of_spinning(core) {
        for window in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let runtime = core.builder().idle(Idle::SpinThenPark(window)).build().unwrap();
            runtime.block_on(sleep_a_little());
        }
    }
}

async fn sleep_a_little() {
    sleep(Duration::from_micros(50)).await;
}

fn works(runtime: &Runtime) -> usize {
    runtime.block_on(async {
        let tasks: Vec<_> = (0..10)
            .map(|n| {
                spawn_boxed(async move {
                    yield_now().await;
                    n
                })
            })
            .collect();
        sleep_a_little().await;
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    })
}
