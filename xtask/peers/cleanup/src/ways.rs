//! The ways to hand work over: the floor, ours, and what people use instead.

use crossbeam_queue::SegQueue;
use lastout_cleanup_worker::{Cleanup, CleanupContext, CleanupHandle, CleanupWorker, Outcome};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Release},
};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::sync::{Notify, mpsc as tokio_mpsc};

/// What a guard typically captures: 24 bytes.
type Capture = (Arc<u64>, usize, usize);
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

pub trait Way: Sync {
    type Item: Send;
    fn prepare(&self, n: usize) -> Vec<Self::Item>;
    fn hand(&self, item: Self::Item);
    #[inline]
    fn hand_all(&self, items: Vec<Self::Item>) {
        for item in items {
            self.hand(item);
        }
    }
    fn drain(&self);
}

fn captures(n: usize) -> Vec<Capture> {
    let shared = Arc::new(7);
    (0..n).map(|i| (Arc::clone(&shared), i, i)).collect()
}

async fn consume(capture: Capture) {
    std::hint::black_box(capture);
}

/// One atomic swap.
pub struct Floor(AtomicUsize);

impl Floor {
    pub fn new() -> Self {
        Self(AtomicUsize::new(0))
    }
}

impl Way for Floor {
    type Item = usize;
    fn prepare(&self, n: usize) -> Vec<usize> {
        (0..n).collect()
    }
    #[inline]
    fn hand(&self, item: usize) {
        std::hint::black_box(self.0.swap(item, AcqRel));
    }
    fn drain(&self) {}
}

/// The least that an intrusive queue can do: a swap, and a store into the node.
pub struct Bare {
    head: AtomicUsize,
    nodes: Vec<Node>,
    next: AtomicUsize,
}

/// As large as a node of ours.
struct Node {
    next: AtomicUsize,
    _rest: [u64; 12],
}

impl Bare {
    const NODES: usize = 8192;

    pub fn new() -> Self {
        let node = || Node { next: AtomicUsize::new(0), _rest: [0; 12] };
        let nodes = std::iter::repeat_with(node).take(Self::NODES).collect();
        let (head, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { head, nodes, next }
    }
}

impl Way for Bare {
    type Item = usize;
    fn prepare(&self, n: usize) -> Vec<usize> {
        let first = self.next.fetch_add(n, AcqRel);
        (first..first + n).map(|node| node % Self::NODES).collect()
    }
    #[inline]
    fn hand(&self, item: usize) {
        let previous = self.head.swap(item, AcqRel);
        self.nodes[item].next.store(previous, Release);
    }
    fn drain(&self) {}
}

/// Our worker, asleep during the burst: a lazy handle wakes nobody, and its timer never comes.
struct Ours {
    worker: CleanupWorker,
    handle: CleanupHandle,
}

impl Ours {
    fn new() -> Self {
        let builder = CleanupWorker::builder().lazy_interval(Duration::from_secs(3600));
        let worker = builder.build().expect("valid settings");
        let handle = worker.handle().lazy();
        Self { worker, handle }
    }

    fn drain(&self) {
        let flushed = self.worker.handle().flush_blocking(Duration::from_secs(60));
        flushed.expect("a minute is enough");
        // After work the worker looks around for a moment before it sleeps; the peers have no
        // consumer that does, so the next burst begins when ours is over it.
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub struct Armed(Ours);

impl Armed {
    pub fn new() -> Self {
        Self(Ours::new())
    }
}

/// A task with a name, so that its guard has one.
pub struct Consume(Capture);

impl Cleanup for Consume {
    async fn run(self, _cx: CleanupContext) -> Outcome {
        consume(self.0).await;
        Ok(())
    }
}

impl Way for Armed {
    type Item = lastout_cleanup_worker::Armed<Consume>;
    fn prepare(&self, n: usize) -> Vec<Self::Item> {
        let arm = |capture| self.0.handle.arm(Consume(capture));
        captures(n).into_iter().map(|c| arm(c).expect("there is room")).collect()
    }
    #[inline]
    fn hand(&self, item: Self::Item) {
        drop(item);
    }
    /// Guards are dropped where they are.
    #[inline]
    fn hand_all(&self, mut items: Vec<Self::Item>) {
        items.clear();
    }
    fn drain(&self) {
        self.0.drain();
    }
}

pub struct Submit(Ours);

impl Submit {
    pub fn new() -> Self {
        Self(Ours::new())
    }
}

impl Way for Submit {
    type Item = Capture;
    fn prepare(&self, n: usize) -> Vec<Capture> {
        captures(n)
    }
    #[inline]
    fn hand(&self, item: Capture) {
        self.0.handle.submit(consume(item)).expect("there is room");
    }
    fn drain(&self) {
        self.0.drain();
    }
}

/// tokio's channel with a boxed future for each task.
pub struct Boxed {
    send: tokio_mpsc::UnboundedSender<Task>,
    receive: Mutex<tokio_mpsc::UnboundedReceiver<Task>>,
}

impl Boxed {
    pub fn new() -> Self {
        let (send, receive) = tokio_mpsc::unbounded_channel();
        Self { send, receive: Mutex::new(receive) }
    }
}

impl Way for Boxed {
    type Item = Capture;
    fn prepare(&self, n: usize) -> Vec<Capture> {
        captures(n)
    }
    #[inline]
    fn hand(&self, item: Capture) {
        self.send.send(Box::pin(consume(item))).expect("it is open");
    }
    fn drain(&self) {
        while self.receive.lock().expect("not poisoned").try_recv().is_ok() {}
    }
}

/// tokio's channel with a closed set of tasks.
pub struct Enum {
    send: tokio_mpsc::UnboundedSender<Message>,
    receive: Mutex<tokio_mpsc::UnboundedReceiver<Message>>,
}

#[allow(dead_code, reason = "only moved")]
pub enum Message {
    Remove(Capture),
    Close(Capture),
}

impl Enum {
    pub fn new() -> Self {
        let (send, receive) = tokio_mpsc::unbounded_channel();
        Self { send, receive: Mutex::new(receive) }
    }
}

impl Way for Enum {
    type Item = Capture;
    fn prepare(&self, n: usize) -> Vec<Capture> {
        captures(n)
    }
    #[inline]
    fn hand(&self, item: Capture) {
        let sent = self.send.send(Message::Remove(item));
        assert!(sent.is_ok(), "it is open");
    }
    fn drain(&self) {
        while self.receive.lock().expect("not poisoned").try_recv().is_ok() {}
    }
}

/// A spawn on a runtime that does not run during the burst.
pub struct Spawn(Mutex<tokio::runtime::Runtime>, tokio::runtime::Handle);

impl Spawn {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        let handle = runtime.handle().clone();
        Self(Mutex::new(runtime), handle)
    }
}

impl Way for Spawn {
    type Item = Capture;
    fn prepare(&self, n: usize) -> Vec<Capture> {
        captures(n)
    }
    #[inline]
    fn hand(&self, item: Capture) {
        drop(self.1.spawn(consume(item)));
    }
    fn drain(&self) {
        let runtime = self.0.lock().expect("not poisoned");
        // The queue is in order, so this one is the last of them.
        let last = self.1.spawn(async {});
        runtime.block_on(last).expect("it runs");
    }
}

/// crossbeam's queue, with a wake for the consumer.
pub struct Segmented {
    queue: SegQueue<Task>,
    notify: Notify,
}

impl Segmented {
    pub fn new() -> Self {
        let (queue, notify) = (SegQueue::new(), Notify::new());
        Self { queue, notify }
    }
}

impl Way for Segmented {
    type Item = Capture;
    fn prepare(&self, n: usize) -> Vec<Capture> {
        captures(n)
    }
    #[inline]
    fn hand(&self, item: Capture) {
        self.queue.push(Box::pin(consume(item)));
        self.notify.notify_one();
    }
    fn drain(&self) {
        while self.queue.pop().is_some() {}
    }
}

/// std's channel with a boxed future for each task.
pub struct Std {
    send: mpsc::Sender<Task>,
    receive: Mutex<mpsc::Receiver<Task>>,
}

impl Std {
    pub fn new() -> Self {
        let (send, receive) = mpsc::channel();
        Self { send, receive: Mutex::new(receive) }
    }
}

impl Way for Std {
    type Item = Capture;
    fn prepare(&self, n: usize) -> Vec<Capture> {
        captures(n)
    }
    #[inline]
    fn hand(&self, item: Capture) {
        self.send.send(Box::pin(consume(item))).expect("it is open");
    }
    fn drain(&self) {
        while self.receive.lock().expect("not poisoned").try_recv().is_ok() {}
    }
}
