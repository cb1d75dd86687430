//! Tokio beside this runtime: its futures awaited here, its tasks spawned from here, and its I/O
//! types through the `futures` traits. The way back is [`RemoteHandle`](crate::RemoteHandle), whose
//! methods are futures for any executor.
//!
//! Tokio's timers and sockets need a tokio runtime that drives them. It is the one entered on this
//! thread, if there is one; else this runtime starts one with a single worker thread on first use,
//! and ends it, without waiting for its tasks, when it ends itself.

use crate::handle::Handle as OwnHandle;
use crate::owner::Owner;
use futures_io as futures;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io as tio;
use tokio::runtime::{Handle, TryCurrentError};
use tokio::task::{JoinError, JoinHandle};

fn handle(owner: &Owner) -> io::Result<Handle> {
    if let Ok(handle) = Handle::try_current() {
        return Ok(handle);
    }
    let mut own = owner.tokio.borrow_mut();
    if own.is_none() {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        *own = Some(builder.worker_threads(1).thread_name("async-rt-tokio").enable_all().build()?);
    }
    Ok(own.as_ref().expect("it was set above").handle().clone())
}

/// Polls a future of tokio's here: its wakers work across runtimes, its context is put in place. Once it was
/// polled, it is dropped in that context as well, even when it is cancelled.
///
/// Make timers and sockets of tokio's inside of `future`, as in
/// `with_tokio(async { tokio::time::sleep(nap).await })`: they look for the context at once.
///
/// # Errors
/// When a tokio runtime was needed and could not be started.
///
/// # Cancel safety
/// As cancel safe as `future`.
///
/// # Panics
/// Outside a runtime.
pub async fn with_tokio<F: Future>(future: F) -> io::Result<F::Output> {
    let handle = handle(&OwnHandle::current().owner)?;
    let future = pin!(Some(future));
    Ok(Within { handle, future }.await)
}

/// A future in tokio's context, in which its destructors may spawn on tokio, too.
struct Within<'a, F> {
    handle: Handle,
    /// `None` once it is dropped.
    future: Pin<&'a mut Option<F>>,
}

impl<F: Future> Future for Within<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { handle, future } = self.get_mut();
        let _entered = handle.enter();
        future.as_mut().as_pin_mut().expect("it is polled before it is dropped").poll(cx)
    }
}

impl<F> Drop for Within<'_, F> {
    fn drop(&mut self) {
        // A thread that ends may have lost the place for the context before its runtimes.
        let has_ended = |error: TryCurrentError| error.is_thread_local_destroyed();
        let is_ending = Handle::try_current().is_err_and(has_ended);
        let _entered = (!is_ending).then(|| self.handle.enter());
        self.future.set(None);
    }
}

/// Spawns a task on tokio.
///
/// # Errors
/// When a tokio runtime was needed and could not be started.
///
/// # Panics
/// Outside a runtime.
pub fn spawn_on_tokio<F>(future: F) -> io::Result<TokioJoinHandle<F::Output>>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let handle = handle(&OwnHandle::current().owner)?;
    #[expect(clippy::disallowed_methods, reason = "the handle is returned")]
    let task = handle.spawn(future);
    Ok(TokioJoinHandle { task })
}

/// The output of a task on tokio, awaited here. Dropping it detaches the task.
///
/// # Cancel safety
/// Awaiting `&mut handle` loses nothing when it is cancelled.
#[derive(Debug)]
#[must_use = "a join handle that is dropped detaches its task"]
pub struct TokioJoinHandle<T> {
    task: JoinHandle<T>,
}

impl<T> TokioJoinHandle<T> {
    /// Asks tokio to end the task.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl<T> Future for TokioJoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(cx)
    }
}

/// A stream with the traits of the other side: one of tokio's gets those of `futures`, and the other
/// way round. Tokio's own sockets must be made and polled inside [`with_tokio`].
#[derive(Debug)]
pub struct Compat<T>(T);

impl<T> Compat<T> {
    /// Wraps a stream.
    pub fn new(stream: T) -> Self {
        Self(stream)
    }

    /// The stream.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// The stream.
    pub fn get_ref(&self) -> &T {
        &self.0
    }
}

impl<T: tio::AsyncRead + Unpin> futures::AsyncRead for Compat<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = tio::ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<T: tio::AsyncWrite + Unpin> futures::AsyncWrite for Compat<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<T: futures::AsyncRead + Unpin> tio::AsyncRead for Compat<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tio::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let space = buffer.initialize_unfilled();
        let count = ready!(Pin::new(&mut self.0).poll_read(cx, space))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<T: futures::AsyncWrite + Unpin> tio::AsyncWrite for Compat<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
