//! The pump of an async source: a tokio task.

use super::{Duty, Pushed};
use crate::event::EndReason;
use crate::shared::Turn;
use crate::state::{Admit, Orders};
use bytes::{BufMut, BytesMut};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::runtime::{Handle, RuntimeFlavor};

/// Something to pump.
pub(crate) trait Source: AsyncRead {
    /// Reads without waiting, whatever the runtime believes of the readiness of the source.
    ///
    /// For a source that cannot do that, "nothing" is what its last poll said.
    fn read_now(self: Pin<&mut Self>, _room: &mut BytesMut) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// How many bytes can be read at once, as far as the source knows.
    fn available(&self) -> u64 {
        0
    }
}

/// Any async reader, taken at its word.
pub(crate) struct Plain<S>(pub(crate) Pin<Box<S>>);

impl<S: AsyncRead> AsyncRead for Plain<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().0.as_mut().poll_read(cx, buf)
    }
}

impl<S: AsyncRead> Source for Plain<S> {}

/// How one attempt to read went.
enum Read {
    Done(io::Result<usize>),
    /// The pump shall drain, and the source has nothing right now.
    Dry,
    Stopped,
}

/// Pumps until the source ends or the stream is closed.
pub(crate) async fn run(mut duty: Duty, source: impl Source) {
    let mut source = Box::pin(source);
    let is_alone = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
    let end = loop {
        let read = match read(&mut duty, source.as_mut()).await {
            Read::Dry => match source.as_mut().read_now(&mut duty.room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    break EndReason::Drained;
                }
                read => read,
            },
            Read::Done(read) => read,
            Read::Stopped => break EndReason::Closed,
        };
        let turn = match read {
            Ok(0) => break EndReason::Eof,
            Ok(_) => match duty.push(|| source.available()) {
                Pushed::Go(turn) => turn,
                Pushed::Stop => break EndReason::Closed,
                Pushed::Enough => break last_read(&mut duty, source.as_mut()),
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Turn::Go,
            Err(error) => break EndReason::ReadError(Arc::new(error)),
        };
        match turn {
            Turn::Go => {}
            Turn::Pace => let_readers_run(&duty, is_alone).await,
            Turn::Ask if admission(&duty).await == Orders::Stop => break EndReason::Closed,
            Turn::Ask => {}
        }
        // A source that is always ready must not starve the runtime.
        tokio::task::coop::consume_budget().await;
    };
    // The source goes first: who sees the end may rely on its descriptor being closed.
    drop(source);
    duty.finish(end);
}

/// Everything that was there is read: whether more comes, or nothing ever.
fn last_read(duty: &mut Duty, source: Pin<&mut impl Source>) -> EndReason {
    match source.read_now(&mut duty.room) {
        Ok(0) => EndReason::Eof,
        Ok(_) => {
            duty.push(|| 0);
            EndReason::Drained
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => EndReason::Drained,
        Err(error) => EndReason::ReadError(Arc::new(error)),
    }
}

/// Gives up a turn, so that readers find their bytes while they are warm.
///
/// With one thread, going to the back of the queue is enough for a reader that is a task, and
/// costs next to nothing; with several threads that would call another one to help. A reader that
/// still did not run gets a turn of the whole runtime, once for each time that it is woken.
async fn let_readers_run(duty: &Duty, is_alone: bool) {
    if is_alone {
        let mut had_turn = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut had_turn, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        if !duty.shared.lock().should_pace() {
            return;
        }
    }
    tokio::task::yield_now().await;
    duty.shared.lock().stop_pacing();
}

async fn read(duty: &mut Duty, mut source: Pin<&mut impl Source>) -> Read {
    let shared = &duty.shared;
    let mut room = (&mut duty.room).limit(duty.chunk_size);
    let mut reading = pin!(source.read_buf(&mut room));
    poll_fn(|cx| {
        if let Poll::Ready(read) = reading.as_mut().poll(cx) {
            return Poll::Ready(Read::Done(read));
        }
        match shared.poll_orders(cx) {
            Orders::Run => Poll::Pending,
            // A task that has used up its turn is told to wait, whatever its source has.
            Orders::Drain if !tokio::task::coop::has_budget_remaining() => Poll::Pending,
            Orders::Drain => Poll::Ready(Read::Dry),
            Orders::Stop => Poll::Ready(Read::Stopped),
        }
    })
    .await
}

/// Waits until the readers have made room, or until the stream is to stop. A drain waits for no reader: what
/// is in a pipe must not be lost because somebody reads slowly.
async fn admission(duty: &Duty) -> Orders {
    let mut yielded = false;
    loop {
        let (admit, orders) = answer(duty, yielded).await;
        if orders != Orders::Run || admit == Admit::Go {
            return orders;
        }
        tokio::task::yield_now().await;
        yielded = true;
    }
}

/// Waits while a reader holds up the source, at most until the stall limits run out.
async fn answer(duty: &Duty, mut yielded: bool) -> (Admit, Orders) {
    let mut timer: Option<(Instant, Pin<Box<tokio::time::Sleep>>)> = None;
    poll_fn(|cx| {
        loop {
            let (admit, orders) = duty.shared.poll_admit(cx, Instant::now(), yielded);
            let Admit::Blocked { until } = admit else {
                return Poll::Ready((admit, orders));
            };
            if orders != Orders::Run {
                return Poll::Ready((admit, orders));
            }
            yielded = false;
            let Some(until) = until else {
                return Poll::Pending;
            };
            let sleep = match &mut timer {
                Some((set, sleep)) if *set == until => sleep,
                _ => {
                    let sleep = Box::pin(tokio::time::sleep_until(until.into()));
                    &mut timer.insert((until, sleep)).1
                }
            };
            std::task::ready!(sleep.as_mut().poll(cx));
            timer = None;
        }
    })
    .await
}
