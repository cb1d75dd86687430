//! Streams of a pattern under readers of every kind.

use crate::Sums;
use crate::dice::Dice;
use lastout_output_stream::{
    Config, End, EndReason, Event, OnStall, Policy, Position, Retain, Stream, Subscriber,
};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// The byte that stands at `offset`.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// The books of one reader.
#[derive(Debug)]
struct Books {
    attached_at: u64,
    at: u64,
    delivered: u64,
    lost: u64,
    policy: Policy,
    /// The first gap is what was gone before it came.
    lost_later: u64,
    end: Option<End>,
    dropped_early: bool,
}

impl Books {
    fn take(&mut self, event: &Event) {
        assert!(self.end.is_none(), "{event:?} after the end: {self:?}");
        match event {
            Event::Data { offset, bytes } => {
                assert_eq!(*offset, self.at, "a hole or a repetition: {self:?}");
                assert!(!bytes.is_empty());
                assert!(bytes.iter().zip(*offset..).all(|(byte, at)| *byte == byte_at(at)));
                self.at += bytes.len() as u64;
                self.delivered += bytes.len() as u64;
            }
            Event::Gap { from, to } => {
                assert!(*from == self.at && to > from, "{event:?}: {self:?}");
                if *from != self.attached_at {
                    self.lost_later += to - from;
                }
                self.at = *to;
                self.lost += to - from;
            }
            Event::End(end) => self.end = Some(end.clone()),
        }
    }
}

/// Reads with a temper: at once, in turns, in batches, with naps; and sometimes not to the end.
async fn read(mut reader: Subscriber, policy: Policy, mut dice: Dice) -> Books {
    let attached_at = reader.stats().attached_at;
    let mut books = Books {
        attached_at,
        at: attached_at,
        delivered: 0,
        lost: 0,
        policy,
        lost_later: 0,
        end: None,
        dropped_early: false,
    };
    let naps = dice.roll(4) == 0;
    let leaves = dice.roll(5) == 0;
    let mut batch = Vec::new();
    loop {
        batch.clear();
        match dice.roll(3) {
            0 if reader.next_batch(&mut batch).await == 0 => break,
            0 => {}
            1 => match tokio::time::timeout(Duration::from_micros(50), reader.next()).await {
                Ok(Some(event)) => batch.push(event),
                Ok(None) => break,
                // A future that is dropped loses nothing: the books will tell.
                Err(_) => {}
            },
            _ => match reader.next().await {
                Some(event) => batch.push(event),
                None => break,
            },
        }
        batch.iter().for_each(|event| books.take(event));
        if leaves && dice.roll(50) == 0 {
            books.dropped_early = true;
            break;
        }
        if naps && dice.roll(20) == 0 {
            // SLEEP: a reader that is slow now and then is what the policies are for.
            tokio::time::sleep(Duration::from_millis(dice.roll(4))).await;
        }
    }
    let stats = reader.stats();
    assert_eq!((stats.delivered, stats.lost), (books.delivered, books.lost), "{books:?}");
    assert_eq!((stats.attached_at, stats.position), (books.attached_at, books.at), "{books:?}");
    books
}

fn config(dice: &mut Dice) -> Config {
    let retain = match dice.roll(5) {
        0 => Retain::Nothing,
        1 => Retain::Chunks(1 + dice.roll(50) as usize),
        2 => Retain::Bytes(1 + dice.roll(300_000)),
        3 => Retain::Lines(1 + dice.roll(500) as usize),
        _ => Retain::All,
    };
    let builder = Config::builder().retain(retain).window(1 + dice.roll(200_000));
    let builder = match dice.roll(3) {
        0 => builder.chunk_size(1 + dice.roll(5_000) as usize),
        _ => builder,
    };
    builder.build().unwrap()
}

fn policy(dice: &mut Dice) -> Policy {
    let stall = Duration::from_millis(1 + dice.roll(3));
    match dice.roll(6) {
        0 => Policy::DropOldest,
        1 => Policy::DropNewest,
        2 => Policy::block_for(stall, OnStall::Lossy),
        3 => Policy::block_for(stall, OnStall::Detach),
        _ => Policy::Block,
    }
}

fn position(dice: &mut Dice, total: u64) -> Position {
    match dice.roll(5) {
        0 => Position::Live,
        // Not ahead of what will come: who waits there gets nothing.
        1 => Position::Offset(dice.roll(total + 1)),
        2 => Position::LastBytes(dice.roll(total + 1)),
        3 => Position::LastLines(dice.roll(1_000) as usize),
        _ => Position::Start,
    }
}

/// One stream, with readers before its first byte, while it runs, and after its end.
pub(crate) async fn storm(dice: &mut Dice, sums: &mut Sums) {
    let total = 1 + dice.roll(3_000_000);
    let prepared = Stream::prepare(config(dice));
    let mut readers = Vec::new();
    let attach = |stream: &Stream, dice: &mut Dice, readers: &mut Vec<_>| {
        let (position, policy) = (position(dice, total), policy(dice));
        let reader = stream.subscribe(position, policy).unwrap();
        readers.push(tokio::spawn(read(reader, policy, dice.split())));
    };
    let first = prepared.subscribe(Position::Start, Policy::Block).unwrap();
    let mut first = tokio::spawn(async move {
        let mut reader = first;
        let mut total = 0;
        while let Some(event) = reader.next().await {
            match event {
                Event::Data { bytes, .. } => total += bytes.len() as u64,
                Event::Gap { from, to } => panic!("lost {from}..{to} from the first byte on"),
                Event::End(end) => assert!(end.is_eof()),
            }
        }
        total
    });
    for _ in 0..dice.roll(4) {
        attach(&prepared, dice, &mut readers);
    }
    let (mut writer, source) = tokio::io::duplex(1 + dice.roll(100_000) as usize);
    let stream = prepared.spawn(source);
    let mut written = 0;
    while written < total {
        let len = (1 + dice.roll(40_000)).min(total - written);
        let part: Vec<u8> = (written..written + len).map(byte_at).collect();
        writer.write_all(&part).await.unwrap();
        written += len;
        if readers.len() < 16 && dice.roll(8) == 0 {
            attach(&stream, dice, &mut readers);
        }
        if dice.roll(200) == 0 {
            stream.seal();
        }
        for stats in stream.stats().subscribers {
            let sum = stats.attached_at + stats.delivered + stats.lost + stats.lag;
            assert!(sum <= total, "{stats:?}");
        }
    }
    drop(writer);
    assert!(stream.ended().await.is_eof());
    assert_eq!(stream.ingested(), total);
    for _ in 0..dice.roll(4) {
        attach(&stream, dice, &mut readers);
    }
    assert_eq!((&mut first).await.unwrap(), total);
    for reader in readers {
        settle(&reader.await.unwrap(), total, sums);
    }
    sums.streams += 1;
}

/// The books of a reader against what was written.
fn settle(books: &Books, total: u64, sums: &mut Sums) {
    sums.readers += 1;
    sums.delivered += books.delivered;
    sums.lost += books.lost;
    if books.dropped_early {
        sums.dropped_early += 1;
        return;
    }
    match books.end.as_ref().expect("who reads on gets an end") {
        End { reason: EndReason::Detached, .. } => {
            sums.detached += 1;
            assert!(matches!(books.policy, Policy::BlockFor { then: OnStall::Detach, .. }));
        }
        end => {
            assert!(end.is_eof(), "{books:?}");
            assert_eq!(books.attached_at + books.delivered + books.lost, total, "{books:?}");
        }
    }
    if books.policy == Policy::Block {
        assert!(books.delivered + books.lost == total - books.attached_at);
    }
}
