//! Every byte is delivered or reported as lost, to each subscriber, whatever its policy and place.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(feature = "tokio")]

mod support;

use lastout_output_stream::{
    Config, End, EndReason, Event, OnStall, Policy, Position, Retain, Stream,
};
use std::time::Duration;
use support::{Account, pattern};
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingested_is_delivered_plus_lost_for_everyone() {
    let config = Config::builder().window(64 * 1024).retain(Retain::Bytes(32 * 1024));
    let (mut writer, source) = tokio::io::duplex(9_000);
    let stream = Stream::spawn(source, config.build().unwrap());
    let total = 3_000_000u64;
    let writing = tokio::spawn(async move {
        let all = pattern(0, total as usize);
        for part in all.chunks(7_001) {
            writer.write_all(part).await.unwrap();
        }
    });
    let detach = Policy::block_for(Duration::from_secs(60), OnStall::Detach);
    let policies = [Policy::Block, Policy::DropOldest, Policy::DropNewest, detach];
    let mut readers = Vec::new();
    for n in 0..12u64 {
        let position = match n % 4 {
            0 => Position::Start,
            1 => Position::Live,
            2 => Position::Offset(n * 1_000),
            _ => Position::LastBytes(5_000),
        };
        let mut reader = stream.subscribe(position, policies[n as usize % policies.len()]).unwrap();
        readers.push(tokio::spawn(async move {
            let mut account = Account::starting_at(reader.stats().attached_at);
            while let Some(event) = reader.next().await {
                account.take(&event);
                if n % 3 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            (account, reader.stats())
        }));
    }
    writing.await.unwrap();
    for reader in readers {
        let (account, stats) = reader.await.unwrap();
        assert!(matches!(account.end, Some(End { reason: EndReason::Eof, .. })));
        assert_eq!(stats.attached_at + stats.delivered + stats.lost, total.max(stats.attached_at));
        assert_eq!((stats.delivered, stats.lost), (account.delivered, account.lost));
        assert_eq!(stats.lag, 0);
        if matches!(stats.policy, Policy::Block | Policy::BlockFor { .. }) {
            assert_eq!(account.lost_after_first_data, 0, "a blocking reader loses nothing");
        }
    }
    assert_eq!(stream.ingested(), total);
}

#[tokio::test]
async fn a_lossy_reader_that_sleeps_sees_the_exact_hole() {
    for policy in [Policy::DropOldest, Policy::DropNewest] {
        let config = Config::builder().window(32 * 1024).retain(Retain::Nothing);
        let (mut writer, source) = tokio::io::duplex(64 * 1024);
        let stream = Stream::spawn(source, config.build().unwrap());
        let mut reader = stream.subscribe(Position::Start, policy).unwrap();
        let total = 1_000_000u64;
        writer.write_all(&pattern(0, total as usize)).await.unwrap();
        support::until(|| stream.ingested() == total).await;
        drop(writer);
        let mut account = Account::starting_at(0);
        while let Some(event) = reader.next().await {
            account.take(&event);
        }
        assert_eq!(account.delivered + account.lost, total, "{policy:?}");
        assert!(account.delivered >= 32 * 1024, "{policy:?} kept {}", account.delivered);
        assert!(account.lost > 900_000, "{policy:?} lost {}", account.lost);
        let first_is_data = account.gaps.first().is_some_and(|(from, _)| *from > 0);
        assert_eq!(first_is_data, policy == Policy::DropNewest, "{:?}", account.gaps);
    }
}

#[tokio::test]
async fn a_late_subscriber_gets_the_history_and_the_same_end() {
    let config = Config::builder().retain(Retain::Bytes(100)).build().unwrap();
    let stream = Stream::spawn(std::io::Cursor::new(pattern(0, 5_000)), config);
    assert!(stream.ended().await.is_eof());
    for (position, from) in [
        (Position::LastBytes(100), 4_900),
        (Position::LastBytes(7), 4_993),
        (Position::Offset(4_950), 4_950),
        (Position::Live, 5_000),
        (Position::Start, 0),
    ] {
        let mut reader = stream.subscribe(position, Policy::Block).unwrap();
        let mut account = Account::starting_at(from);
        while let Some(event) = reader.next().await {
            account.take(&event);
        }
        assert_eq!(account.delivered + account.lost, 5_000 - from);
        assert!(account.end.as_ref().is_some_and(End::is_eof));
        assert!(reader.next().await.is_none() && reader.next().await.is_none());
    }
}

#[tokio::test]
async fn sealing_drops_the_history_for_those_who_come_later() {
    let (mut writer, source) = tokio::io::duplex(1024);
    let stream = Stream::spawn(source, Config::default());
    let mut before = stream.subscribe(Position::Start, Policy::Block).unwrap();
    writer.write_all(b"secret").await.unwrap();
    support::until(|| stream.ingested() == 6).await;
    stream.seal();
    let mut start = stream.subscribe(Position::Start, Policy::Block).unwrap();
    let mut offset = stream.subscribe(Position::Offset(2), Policy::Block).unwrap();
    writer.write_all(b"open").await.unwrap();
    let data = |event: Option<Event>| match event {
        Some(Event::Data { bytes, .. }) => bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!(data(before.next().await), "secret");
    assert_eq!(data(start.next().await), "open");
    assert!(matches!(offset.next().await, Some(Event::Gap { from: 2, to: 6 })));
    assert_eq!(data(offset.next().await), "open");
}

#[tokio::test]
async fn who_waits_ahead_of_the_stream_has_that_place_for_a_sum() {
    let (mut writer, source) = tokio::io::duplex(64);
    let stream = Stream::spawn(source, Config::default());
    let mut soon = stream.subscribe(Position::Offset(10), Policy::Block).unwrap();
    let mut never = stream.subscribe(Position::Offset(u64::MAX), Policy::Block).unwrap();
    let sum = |reader: &lastout_output_stream::Subscriber| {
        let stats = reader.stats();
        stats.attached_at + stats.delivered + stats.lost + stats.lag
    };
    assert_eq!((sum(&soon), sum(&never)), (10, u64::MAX));
    writer.write_all(&pattern(0, 30)).await.unwrap();
    drop(writer);
    assert!(stream.ended().await.is_eof());
    assert_eq!((sum(&soon), sum(&never)), (30, u64::MAX), "the one has been passed");
    let mut account = Account::starting_at(10);
    while let Some(event) = soon.next().await {
        account.take(&event);
    }
    assert_eq!(account.delivered, 20);
    assert!(matches!(never.next().await, Some(Event::End(End { reason: EndReason::Eof, .. }))));
}
