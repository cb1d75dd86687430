//! A copy of the stream to a writer.

use super::Consumer;
use crate::event::{End, EndReason, Event};
use crate::subscriber::Subscriber;
use bytes::Bytes;
use std::io;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// What became of a copy.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tee<W> {
    /// The writer, shut down: whoever reads what it was given sees the end.
    pub writer: W,
    /// Bytes that were written.
    pub written: u64,
    /// Bytes that were lost before they could be written.
    pub lost: u64,
    /// Why it ended.
    pub end: TeeEnd,
}

/// Why a copy ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum TeeEnd {
    /// With the stream.
    Stream(End),
    /// The writer failed; the stream goes on for the others.
    WriteError(io::Error),
}

impl Subscriber {
    /// Writes all data to `writer`, on a task, and shuts the writer down at the end.
    ///
    /// A copy to the input of a process therefore closes that input, also when a write fails.
    ///
    /// With [`Policy::Block`](crate::Policy::Block) a slow writer slows the source; with a lossy
    /// policy the copy has holes, which are counted.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn tee<W>(self, writer: W) -> Consumer<Tee<W>>
    where
        W: AsyncWrite + Unpin + Send + 'static,
    {
        Consumer::spawn(copy(self, writer))
    }
}

async fn copy<W: AsyncWrite + Unpin>(mut from: Subscriber, writer: W) -> Tee<W> {
    let mut tee =
        Tee { writer, written: 0, lost: 0, end: TeeEnd::Stream(End::new(EndReason::Closed, 0)) };
    while let Some(event) = from.next().await {
        let result = match event {
            Event::Data { mut bytes, .. } => write(&mut tee, &mut bytes).await,
            Event::Gap { from, to } => {
                tee.lost += to - from;
                Ok(())
            }
            Event::End(end) => {
                tee.end = TeeEnd::Stream(end);
                tee.writer.shutdown().await
            }
        };
        if let Err(error) = result {
            tee.end = TeeEnd::WriteError(error);
            // What it did accept ends here for whoever reads it; a second failure says no more.
            let _ = tee.writer.shutdown().await;
            break;
        }
    }
    tee
}

/// Writes all of it; what was accepted before a failure is counted.
async fn write<W: AsyncWrite + Unpin>(tee: &mut Tee<W>, bytes: &mut Bytes) -> io::Result<()> {
    while !bytes.is_empty() {
        match tee.writer.write_buf(bytes).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => tee.written += n as u64,
        }
    }
    Ok(())
}
