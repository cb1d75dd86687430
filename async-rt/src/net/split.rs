//! The two directions of a stream as two values.

use super::Duplex;
use super::io_traits;
use std::error::Error;
use std::fmt;
use std::net::Shutdown;
use std::rc::Rc;

/// The reading half of a borrowed stream.
#[derive(Debug)]
pub struct ReadHalf<'a, S>(&'a S);

/// The writing half of a borrowed stream.
#[derive(Debug)]
pub struct WriteHalf<'a, S>(&'a S);

/// The reading half of a stream that two halves own.
#[derive(Debug)]
pub struct OwnedReadHalf<S>(Rc<S>);

/// The writing half of a stream that two halves own. Dropping it ends writing, so that the other
/// side reads to its end.
#[derive(Debug)]
pub struct OwnedWriteHalf<S: Duplex> {
    /// `None` only while `reunite` takes it.
    stream: Option<Rc<S>>,
}

pub(crate) fn borrowed<S>(stream: &mut S) -> (ReadHalf<'_, S>, WriteHalf<'_, S>) {
    (ReadHalf(stream), WriteHalf(stream))
}

pub(crate) fn owned<S: Duplex>(stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let stream = Rc::new(stream);
    (OwnedReadHalf(Rc::clone(&stream)), OwnedWriteHalf { stream: Some(stream) })
}

impl<S: Duplex> OwnedReadHalf<S> {
    /// The stream again, from its two halves.
    ///
    /// # Errors
    /// When the halves are of two streams; both come back.
    #[expect(clippy::missing_panics_doc, reason = "what it expects is an invariant of the type")]
    pub fn reunite(self, mut write: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !Rc::ptr_eq(&self.0, write.as_rc()) {
            return Err(ReuniteError(self, write));
        }
        drop(write.stream.take());
        Ok(Rc::into_inner(self.0).expect("two halves are all there are"))
    }
}

impl<S> AsRef<S> for OwnedReadHalf<S> {
    fn as_ref(&self) -> &S {
        &self.0
    }
}

impl<S: Duplex> OwnedWriteHalf<S> {
    fn as_rc(&self) -> &Rc<S> {
        self.stream.as_ref().expect("it is there until `reunite`")
    }
}

impl<S: Duplex> AsRef<S> for OwnedWriteHalf<S> {
    fn as_ref(&self) -> &S {
        self.as_rc()
    }
}

impl<S: Duplex> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        // In a forked child the connection is the parent's.
        if let Some(stream) = self.stream.as_ref().filter(|stream| stream.is_ours()) {
            // It fails only when the connection has ended, which is what it is for.
            let _ = stream.end(Shutdown::Write);
        }
    }
}

/// The halves were of two streams.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "the two halves are all it can hold")]
pub struct ReuniteError<S: Duplex>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S: Duplex> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("halves belong to two streams")
    }
}

impl<S: Duplex + fmt::Debug> Error for ReuniteError<S> {}

io_traits!(read [S: Duplex] ReadHalf<'_, S>, |this| this.0);
io_traits!(write [S: Duplex] WriteHalf<'_, S>, |this| this.0);
io_traits!(read [S: Duplex] OwnedReadHalf<S>, |this| &*this.0);
io_traits!(write [S: Duplex] OwnedWriteHalf<S>, |this| &**this.as_rc());
