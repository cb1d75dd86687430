//! Merged streams come in the order in which they were read, each complete and with its own end.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
#![cfg(feature = "tokio")]

mod support;

use lastout_output_stream::{
    Channel, Config, Event, LineOptions, Policy, Position, Sequence, Stream, merge,
};
use support::{Account, pattern, until};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn alternating_writes_stay_in_order() {
    let sequence = Sequence::new();
    let config = || Config::builder().sequence(&sequence).build().unwrap();
    let (mut one, first) = tokio::io::duplex(64);
    let (mut two, second) = tokio::io::duplex(64);
    let out = Stream::spawn(first, config());
    let err = Stream::spawn(second, config());
    for n in 0..50 {
        // Each write is read before the next one is made: the order of the reads is known.
        one.write_all(format!("out {n}\n").as_bytes()).await.unwrap();
        let written = (0..=n).map(|n| format!("out {n}\n").len() as u64).sum::<u64>();
        until(|| out.ingested() == written).await;
        two.write_all(format!("err {n}\n").as_bytes()).await.unwrap();
        until(|| err.ingested() == written).await;
    }
    drop((one, two));
    out.ended().await;
    err.ended().await;
    let subscribe = |stream: &Stream| stream.subscribe(Position::Start, Policy::Block).unwrap();
    let mut lines = merge(subscribe(&out), subscribe(&err)).lines(LineOptions::default());
    let mut got = Vec::new();
    while let Some((channel, line)) = lines.next().await {
        got.push((channel, line.text().into_owned()));
    }
    let expected: Vec<_> = (0..50)
        .flat_map(|n| [(Channel::Out, format!("out {n}")), (Channel::Err, format!("err {n}"))])
        .collect();
    assert_eq!(got, expected);
    let mut merged = merge(subscribe(&out), subscribe(&err));
    let (mut last, mut ends) = (0, 0);
    while let Some(item) = merged.next().await {
        match item.event {
            Event::Data { .. } => {
                assert!(item.sequence > last, "numbers rise when the streams alternate");
                last = item.sequence;
            }
            Event::End(_) => ends += 1,
            Event::Gap { .. } => panic!("nothing was lost"),
        }
    }
    assert_eq!((last, ends), (100, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_never_fall_while_both_are_written_at_once() {
    let sequence = Sequence::new();
    let config = || Config::builder().sequence(&sequence).build().unwrap();
    let (one, first) = tokio::io::duplex(500);
    let (two, second) = tokio::io::duplex(500);
    let streams = [Stream::spawn(first, config()), Stream::spawn(second, config())];
    let subscribe = |n: usize| streams[n].subscribe(Position::Start, Policy::Block).unwrap();
    let mut merged = merge(subscribe(0), subscribe(1));
    let writing = [one, two].map(|mut writer| {
        tokio::spawn(async move {
            for part in pattern(0, 300_000).chunks(313) {
                writer.write_all(part).await.unwrap();
            }
        })
    });
    let mut accounts = [Account::starting_at(0), Account::starting_at(0)];
    let mut last = 0;
    while let Some(item) = merged.next().await {
        if let Event::Data { .. } = item.event {
            assert!(item.sequence >= last, "{} after {last}", item.sequence);
            last = item.sequence;
        }
        accounts[usize::from(item.channel == Channel::Err)].take(&item.event);
    }
    for (account, writing) in accounts.iter().zip(writing) {
        writing.await.unwrap();
        assert_eq!(account.delivered, 300_000);
        assert!(account.end.as_ref().is_some_and(|end| end.is_eof()));
    }
    assert!(last >= 1, "the reads were numbered");
}
