//! What may cross threads, and what must not.

use lastout_async_rt::channel::{mpsc, mpsc_bytes, oneshot, spsc};
use lastout_async_rt::{
    AbortHandle, Backoff, BuildError, CancellationToken, Cancelled, DropGuard, Handle, JoinError,
    JoinHandle, RemoteHandle, Runtime, ShutdownHandle, ShutdownSignal, ShutdownStatsAtomics, time,
};
use std::fmt::Debug;

fn crosses<T: Send + Sync + Unpin + Debug>() {}

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
    crosses::<spsc::Sender<u8>>();
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
}
