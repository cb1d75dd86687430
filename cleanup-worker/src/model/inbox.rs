//! I1 and I4: the inbox alone.

use super::{Bell, model_seeing};
use crate::config::Options;
use crate::handle::Task;
use crate::inbox::{Inbox, Pushed, Taken, Taker};
use crate::node::{Meta, Origin, TypedNode};
use crate::shared::Shared;
use crate::sync::{Arc, Mutex, lock};
use crate::task::Cleanup;
use loom::thread;

type Queue = Inbox<Arc<Shared>>;

fn node(label: &'static str) -> Task {
    let meta = Meta {
        options: Options::new().label(label),
        generation: 1,
        origin: Origin { armed: false, lazy: false },
    };
    let node = TypedNode::new(async {}, Cleanup::run, meta, None);
    node.unwrap_or_else(|_| unreachable!("memory")).erase()
}

fn push(inbox: &Queue, label: &'static str) {
    match inbox.push(node(label)) {
        Pushed::Joined => {}
        Pushed::Wake(waker) => waker.wake(),
        Pushed::Late(_) => unreachable!("nobody seals here"),
    }
}

/// Two producers, and a taker in between: what comes out is whole, each once, in order.
#[test]
fn i1_tasks_come_out_whole_and_in_the_order_of_their_producer() {
    let orders = [["a1", "a2", "b"], ["a1", "b", "a2"], ["b", "a1", "a2"]];
    // Each of them, whether the taker in between finds something or nothing.
    let ways =
        orders.into_iter().flat_map(|order| [(order.to_vec(), true), (order.to_vec(), false)]);
    model_seeing(ways, || {
        let inbox = Arc::new(Queue::new());
        let (first, second) = (Arc::clone(&inbox), Arc::clone(&inbox));
        let first = thread::spawn(move || {
            push(&first, "a1");
            push(&first, "a2");
        });
        let second = thread::spawn(move || push(&second, "b"));
        let mut taker = Taker::new();
        let mut labels = Vec::new();
        // Dropping a node here touches its body: a race if its producer has not published it.
        let mut sink = |node: Task| labels.push(node.header().meta.options.label);
        let _ = taker.take(&inbox, &mut sink);
        let early = !labels.is_empty();
        let mut sink = |node: Task| labels.push(node.header().meta.options.label);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(taker.take(&inbox, &mut sink), Taken::All);
        let place = |label| labels.iter().position(|l| *l == label);
        assert_eq!(labels.len(), 3, "{labels:?}");
        assert!(place("a1") < place("a2") && place("b").is_some(), "{labels:?}");
        (labels, early)
    });
}

/// Two producers and a taker that sleeps between: the waker's cell has one owner at a time.
#[test]
fn i4_the_waker_has_one_owner_at_a_time() {
    loom::model(|| {
        let inbox = Arc::new(Queue::new());
        let producers = ["a", "b"].map(|label| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || push(&inbox, label))
        });
        let (bell, waker) = Bell::new();
        let taker = Mutex::new(Taker::new());
        let mut taken = 0;
        while taken < 2 {
            let mut taker = lock(&taker);
            match taker.take_awake(&inbox, |_| taken += 1) {
                Taken::Stalled => thread::yield_now(),
                Taken::All if taken < 2 && taker.doze(&inbox, &waker) => bell.0.wait(),
                Taken::All => {}
            }
        }
        producers.into_iter().for_each(|producer| producer.join().unwrap());
    });
}
