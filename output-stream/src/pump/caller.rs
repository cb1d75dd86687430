//! The pump of a pipe that the thread of the caller drives.

use super::{Duty, Pushed};
use crate::event::EndReason;
use crate::reactor::Reactor;
use crate::shared::Turn;
use crate::state::{Admit, Orders};
use crate::turn::let_others_run;
use bytes::BytesMut;
use rustix::event::PollFlags;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

/// Reads a pipe that does not block, to its end or until the stream is closed.
pub(crate) async fn run(mut duty: Duty, reactor: Arc<Reactor>, pipe: OwnedFd) {
    let pipe = Arc::new(pipe);
    let mut buffer = vec![0; duty.chunk_size.min(duty.room.capacity())];
    let mut is_dry = false;
    let end = loop {
        let pushed = match read_now(&pipe, &mut buffer, &mut duty.room) {
            Ok(0) => break EndReason::Eof,
            Ok(_) => duty.push(|| available(&pipe)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if is_dry {
                    break EndReason::Drained;
                }
                match more(&duty, &reactor, &pipe).await {
                    Orders::Run => {}
                    // Once more: only the pipe knows whether somebody holds it.
                    Orders::Drain => is_dry = true,
                    Orders::Stop => break EndReason::Closed,
                }
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => break EndReason::ReadError(Arc::new(error)),
        };
        is_dry = false;
        match pushed {
            Pushed::Stop => break EndReason::Closed,
            Pushed::Enough => break last_read(&mut duty, &pipe, &mut buffer),
            Pushed::Go(turn) => {
                let_others_run().await;
                if turn == Turn::Ask && admission(&duty, &reactor).await == Orders::Stop {
                    break EndReason::Closed;
                }
            }
        }
    };
    // The source goes first: who sees the end may rely on its descriptor being closed.
    drop(pipe);
    duty.finish(end);
}

/// Reads what is there.
pub(crate) fn read_now(
    pipe: impl AsFd,
    buffer: &mut [u8],
    room: &mut BytesMut,
) -> io::Result<usize> {
    let most = buffer.len().min(room.capacity());
    let n = rustix::io::read(pipe, &mut buffer[..most])?;
    room.extend_from_slice(&buffer[..n]);
    Ok(n)
}

pub(crate) fn available(pipe: impl AsFd) -> u64 {
    rustix::io::ioctl_fionread(pipe).unwrap_or(0)
}

/// Everything that was there is read: whether more comes, or nothing ever.
fn last_read(duty: &mut Duty, pipe: &OwnedFd, buffer: &mut [u8]) -> EndReason {
    match read_now(pipe, buffer, &mut duty.room) {
        Ok(0) => EndReason::Eof,
        Ok(_) => {
            duty.push(|| 0);
            EndReason::Drained
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => EndReason::Drained,
        Err(error) => EndReason::ReadError(Arc::new(error)),
    }
}

/// Waits until the pipe has something, or there are other orders than to read on.
async fn more(duty: &Duty, reactor: &Reactor, pipe: &Arc<OwnedFd>) -> Orders {
    poll_fn(|cx| {
        // A pipe that is waited for stays open until the next wait, so orders come first.
        match duty.shared.poll_orders(cx) {
            Orders::Run => reactor.poll_ready(pipe, PollFlags::IN).map(|()| Orders::Run),
            orders => Poll::Ready(orders),
        }
    })
    .await
}

/// Waits until the readers have made room, or until the stream is to stop. A drain waits for no reader.
async fn admission(duty: &Duty, reactor: &Reactor) -> Orders {
    let mut yielded = false;
    poll_fn(|cx| {
        let now = Instant::now();
        let (admit, orders) = duty.shared.poll_admit(cx, now, yielded);
        yielded = admit == Admit::Yield;
        if orders != Orders::Run || admit == Admit::Go {
            return Poll::Ready(orders);
        }
        match admit {
            Admit::Blocked { until: Some(until) } if reactor.poll_time(until).is_pending() => {}
            Admit::Blocked { until: None } => {}
            _ => cx.waker().wake_by_ref(),
        }
        Poll::Pending
    })
    .await
}
