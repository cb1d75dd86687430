//! Handles, readers and futures go to other threads, and everything can be printed.
#![allow(clippy::unwrap_used, reason = "tests")]

use lastout_output_stream as stream;
use std::fmt::Debug;

fn all<T: Send + Sync + Unpin + Debug + 'static>() {}
#[cfg(feature = "tokio")]
fn sent<T: Send + 'static>(value: T) -> T {
    value
}

#[test]
fn types_are_send_sync_unpin_and_debug() {
    all::<stream::Stream>();
    all::<stream::Prepared>();
    all::<stream::TooLong>();
    all::<stream::Subscriber>();
    all::<stream::Lines>();
    all::<stream::LineParser>();
    all::<stream::Line>();
    all::<stream::LineOptions>();
    all::<stream::Merge>();
    all::<stream::MergedLines>();
    all::<stream::Merged>();
    all::<stream::Text>();
    all::<stream::TextDecoder>();
    all::<stream::Sink>();
    all::<stream::Collected>();
    all::<stream::Keep>();
    all::<stream::Config>();
    all::<stream::ConfigBuilder>();
    all::<stream::Sequence>();
    all::<stream::Event>();
    all::<stream::End>();
    all::<stream::Stats>();
    all::<stream::ConfigError>();
    all::<stream::SubscribeError>();
    all::<stream::Next<'static>>();
    all::<stream::NextBatch<'static>>();
    all::<stream::NextLine<'static>>();
}

#[cfg(feature = "tokio")]
#[test]
fn consumers_and_their_futures_too() {
    all::<stream::Collector>();
    all::<stream::Consumer<u64>>();
    all::<stream::ConsumerError>();
    all::<stream::Tee<Vec<u8>>>();
    all::<stream::WaitError>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let stream = stream::Stream::spawn(tokio::io::empty(), stream::Config::default());
    let _ended = sent(stream.ended());
    let waiting = stream.clone();
    let _wait = sent(async move { waiting.wait_for(std::time::Duration::ZERO, |_| true).await });
    let mut collector = stream.collect(stream::Keep::all()).unwrap();
    let _collected = sent(async move { collector.wait().await });
}

#[cfg(all(feature = "process", feature = "tokio"))]
#[test]
fn processes_and_their_futures_too() {
    all::<stream::Process>();
    all::<stream::Stdin>();
    all::<stream::StdinReport>();
    all::<stream::Exit>();
    all::<stream::ExitError>();
    all::<stream::Output>();
    all::<stream::OutputError>();
    all::<stream::Failed>();
    all::<stream::Outlet>();
    all::<stream::Inlet>();
    let _output = sent(stream::Process::shell("true").output());
    fn futures(mut process: stream::Process) {
        let _wait = sent(async move {
            let _ = process.wait().await;
            let _ = process.kill(std::time::Duration::ZERO).await;
            process.wait_with_output(stream::Keep::all()).await
        });
    }
    let _ = futures;
}
