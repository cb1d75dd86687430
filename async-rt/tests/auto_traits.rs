//! What may cross threads, and what must not.

use lastout_async_rt::channel::{
    broadcast, mpsc, mpsc_bytes, oneshot, spsc, spsc_bytes, unbounded, watch,
};
use lastout_async_rt::{
    AbortHandle, Backoff, BuildError, CancellationToken, Cancelled, DropGuard, Handle, JoinError,
    JoinHandle, RemoteHandle, Runtime, ShutdownHandle, ShutdownSignal, ShutdownStatsAtomics, time,
};
use std::fmt::Debug;

fn crosses<T: Send + Sync + Unpin + Debug>() {}

fn crosses_without_sharing() {
    type Value = std::cell::Cell<u8>;
    crosses::<mpsc::Sender<Value>>();
    crosses::<mpsc::Receiver<Value>>();
    crosses::<spsc::Sender<Value>>();
    crosses::<unbounded::Receiver<Value>>();
}

fn moves<F: Future + Send>(_: F) {}

#[test]
fn the_futures_of_channels_cross_threads() {
    let (send, mut recv) = mpsc::channel::<std::cell::Cell<u8>>(1);
    moves(async move { (send.reserve().await.is_ok(), recv.recv().await) });
    let (mut send, mut recv) = spsc::channel::<std::cell::Cell<u8>>(1);
    moves(async move { (send.reserve().await.is_ok(), recv.recv().await) });
    let (send, mut recv) = mpsc_bytes::channel(1);
    moves(async move { (send.send(b"a").await.is_ok(), recv.recv().await) });
}

#[test]
fn what_is_promised_to_cross_threads_does() {
    crosses::<AbortHandle>();
    crosses::<RemoteHandle>();
    crosses::<ShutdownHandle>();
    crosses::<ShutdownSignal>();
    crosses::<ShutdownStatsAtomics>();
    crosses::<CancellationToken>();
    crosses::<Cancelled>();
    crosses::<DropGuard>();
    crosses::<Backoff>();
    crosses::<JoinError>();
    crosses::<BuildError>();
    crosses::<mpsc::Sender<u8>>();
    crosses::<mpsc::Receiver<u8>>();
    crosses::<mpsc::Permit<'_, u8>>();
    crosses::<spsc::Sender<u8>>();
    crosses::<spsc::Receiver<u8>>();
    crosses::<spsc_bytes::Sender>();
    crosses::<spsc_bytes::Receiver>();
    crosses::<unbounded::Sender<u8>>();
    crosses::<unbounded::Receiver<u8>>();
    // Values that can move between threads without being shared by them.
    crosses_without_sharing();
    crosses::<broadcast::Sender<u8>>();
    crosses::<broadcast::Receiver<u8>>();
    crosses::<watch::Sender<u8>>();
    crosses::<watch::Receiver<u8>>();
    crosses::<oneshot::Sender<u8>>();
    crosses::<oneshot::Receiver<u8>>();
    crosses::<mpsc_bytes::Sender>();
    crosses::<mpsc_bytes::Record>();
}

/// Ambiguous, so a compile error, for a type that is `Send`.
macro_rules! stays {
    ($($type:ty),*) => { $({
        trait AmbiguousIfSend<A> { fn check() {} }
        impl<T: ?Sized> AmbiguousIfSend<()> for T {}
        #[allow(dead_code, reason = "only named in an impl that must not match")]
        struct Sends;
        impl<T: ?Sized + Send> AmbiguousIfSend<Sends> for T {}
        <$type as AmbiguousIfSend<_>>::check();
    })* };
}

#[test]
fn what_belongs_to_the_thread_stays_there() {
    stays!(Runtime, Handle, JoinHandle<()>, time::Sleep, lastout_async_rt::JoinSet<()>);
    stays!(lastout_async_rt::channel::local::Sender<u8>, lastout_async_rt::Notify);
    stays!(lastout_async_rt::lock::Mutex<u8>, mpsc::Sender<std::rc::Rc<u8>>);
}
