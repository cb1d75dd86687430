//! What a process is fed with before, or instead of, what its owner writes.

use super::input::StdinEnd;
use crate::contain::{discard, message};
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
#[cfg(feature = "tokio")]
use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::Poll,
};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is asked of a source at a time.
const ROOM: usize = 64 * 1024;

/// How long lines that are there wait for more of them, to be written at once.
const DELAY: Duration = Duration::from_millis(1);

/// Writes one line into the room; `false` when there is none.
type More = Box<dyn FnMut(&mut BytesMut) -> bool + Send>;

/// Where input comes from, see [`Inlet::reader`](crate::Inlet::reader) and
/// [`Inlet::lines`](crate::Inlet::lines).
#[non_exhaustive]
pub enum Food {
    #[doc(hidden)]
    Bytes(Bytes),
    #[cfg(feature = "tokio")]
    #[doc(hidden)]
    Reader(Pin<Box<dyn AsyncRead + Send>>),
    #[doc(hidden)]
    Lines(More),
}

impl fmt::Debug for Food {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes(_) => "Bytes",
            #[cfg(feature = "tokio")]
            Self::Reader(_) => "Reader",
            Self::Lines(_) => "Lines",
        })
    }
}

/// Food while it is eaten: a panic of its destructor, which is its owner's, ends here.
pub(super) struct Meal(Option<Food>);

impl Meal {
    pub(super) fn new(food: Food) -> Self {
        Self(Some(food))
    }

    /// See [`Food::next`].
    pub(super) async fn next(&mut self) -> (Bytes, Option<StdinEnd>) {
        match &mut self.0 {
            Some(food) => food.next().await,
            None => (Bytes::new(), None),
        }
    }
}

impl Drop for Meal {
    fn drop(&mut self) {
        let food = self.0.take();
        discard(food);
    }
}

impl Food {
    /// What comes next, nothing at the end. The second part is set when the source will give no more because
    /// it failed; what it gave before that is in the first.
    #[cfg_attr(
        not(feature = "tokio"),
        expect(clippy::unused_async, reason = "a reader is waited for")
    )]
    async fn next(&mut self) -> (Bytes, Option<StdinEnd>) {
        match self {
            Self::Bytes(bytes) => (std::mem::take(bytes), None),
            #[cfg(feature = "tokio")]
            Self::Reader(reader) => read(reader).await,
            Self::Lines(more) => gather(more),
        }
    }
}

#[cfg(feature = "tokio")]
async fn read(reader: &mut Pin<Box<dyn AsyncRead + Send>>) -> (Bytes, Option<StdinEnd>) {
    let mut room = BytesMut::with_capacity(ROOM);
    let failure = loop {
        let mut reading = pin!(reader.read_buf(&mut room));
        let read =
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| reading.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(message(panic))),
            });
        match read.await {
            Ok(Ok(_)) => break None,
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => break Some(StdinEnd::SourceFailed(error)),
            Err(panic) => break Some(StdinEnd::SourcePanicked(panic)),
        }
    };
    (room.freeze(), failure)
}

fn gather(more: &mut More) -> (Bytes, Option<StdinEnd>) {
    let mut room = BytesMut::new();
    let begin = Instant::now();
    let gathered = catch_unwind(AssertUnwindSafe(|| {
        while room.len() < ROOM && more(&mut room) && begin.elapsed() < DELAY {}
    }));
    let failure = gathered.err().map(|panic| StdinEnd::SourcePanicked(message(panic)));
    (room.freeze(), failure)
}
