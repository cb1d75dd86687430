//! A blocking source is read by a thread with the same guarantees, and needs no runtime.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(feature = "blocking")]

mod support;

use lastout_output_stream::{
    Config, End, EndReason, OnStall, Policy, Position, Retain, Stream, Subscriber,
};
use std::io::{self, Read, Write};
use std::time::Duration;
use support::{Account, pattern};

fn read_all(reader: &mut Subscriber) -> Account {
    let mut account = Account::starting_at(reader.stats().attached_at);
    while let Some(event) = reader.next_blocking() {
        account.take(&event);
    }
    account
}

#[test]
fn every_byte_arrives_at_every_thread() {
    let (source, mut writer) = io::pipe().unwrap();
    let config = Config::builder().window(64 << 10).retain(Retain::Nothing).build().unwrap();
    let stream = Stream::spawn_blocking(source, config).unwrap();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut reader = stream.subscribe(Position::Start, Policy::Block).unwrap();
            std::thread::spawn(move || read_all(&mut reader))
        })
        .collect();
    for part in pattern(0, 3_000_000).chunks(12_345) {
        writer.write_all(part).unwrap();
    }
    drop(writer);
    for reader in readers {
        let account = reader.join().unwrap();
        assert_eq!((account.delivered, account.lost), (3_000_000, 0));
        assert!(account.end.unwrap().is_eof());
    }
}

#[test]
fn a_stall_limit_holds_without_a_runtime() {
    let (source, mut writer) = io::pipe().unwrap();
    let config = Config::builder().window(64 << 10).retain(Retain::Nothing).build().unwrap();
    let stream = Stream::spawn_blocking(source, config).unwrap();
    let stall = Policy::block_for(Duration::from_millis(30), OnStall::Detach);
    let mut stuck = stream.subscribe(Position::Start, stall).unwrap();
    let mut healthy = stream.subscribe(Position::Start, Policy::Block).unwrap();
    let reading = std::thread::spawn(move || read_all(&mut healthy));
    writer.write_all(&pattern(0, 2_000_000)).unwrap();
    drop(writer);
    assert_eq!(reading.join().unwrap().delivered, 2_000_000);
    let account = read_all(&mut stuck);
    assert!(
        account.lost > 0 && matches!(account.end, Some(End { reason: EndReason::Detached, .. }))
    );
    assert!(stream.stats().blocked >= Duration::from_millis(30));
}

#[test]
fn closing_does_not_wait_for_a_read() {
    let (source, mut writer) = io::pipe().unwrap();
    let stream = Stream::spawn_blocking(source, Config::default()).unwrap();
    let mut reader = stream.subscribe(Position::Start, Policy::Block).unwrap();
    stream.close();
    let account = read_all(&mut reader);
    assert!(matches!(account.end, Some(End { reason: EndReason::Closed, .. })));
    // The thread ends after its read, and drops the source: the pipe breaks.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while writer.write_all(b"x").is_ok() {
        assert!(std::time::Instant::now() < deadline, "the thread never let go of the source");
    }
    assert_eq!(stream.ingested(), 0, "nothing is appended after the end");
}

#[test]
fn errors_and_interruptions_are_as_in_async_sources() {
    struct Odd(u8);
    impl Read for Odd {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(io::ErrorKind::Interrupted.into()),
                2 => {
                    buffer[..5].copy_from_slice(&pattern(0, 5));
                    Ok(5)
                }
                _ => Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }
    let stream = Stream::spawn_blocking(Odd(0), Config::default()).unwrap();
    let account = read_all(&mut stream.subscribe(Position::Start, Policy::Block).unwrap());
    assert_eq!(account.delivered, 5);
    assert!(matches!(account.end, Some(End { reason: EndReason::ReadError(_), .. })));
}
