//! Pipelines whose stages fail, leave helpers behind or never end, and that are ended in every way.

use crate::Sums;
use crate::dice::Dice;
use crate::ledger::follow;
use lastout_output_stream::{Config, Pipeline, Process, ProcessBuilder, Stream};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Three or more stages of which the first writes `bytes`; the last has its stream here.
pub(crate) fn pipeline(bytes: u64, last: ProcessBuilder, dice: &mut Dice) -> Pipeline {
    let mut pipeline = Process::shell(format!("head -c {bytes} /dev/zero; exit {}", dice.roll(2)))
        .pipe(Process::builder("cat"));
    for _ in 0..dice.roll(3) {
        pipeline = pipeline.pipe(Process::shell(match dice.roll(3) {
            // A helper that holds none of the pipes.
            0 => "setsid sleep 600 <&- >&- 2>&- & exec cat",
            1 => "tr '\\0' x",
            _ => "cat",
        }));
    }
    pipeline.pipe(last)
}

/// One pipeline, of which nothing is left.
pub(crate) async fn storm(dice: &mut Dice, sums: &mut Sums) {
    let bytes = dice.roll(2_000_000);
    let out = Stream::prepare(Config::default());
    let ledger = follow(&out, dice);
    let how = dice.roll(4);
    // The last stage ends with the others, or never.
    let last = if how == 0 { "cat" } else { "cat; sleep 600 & sleep 600" };
    let last = Process::shell(last).stdout(out);
    let pipeline = pipeline(bytes, last, dice).timeout(if how == 1 { LONG / 200 } else { LONG });
    match how {
        0 | 1 => {
            let output = pipeline.output().await.unwrap();
            assert!(output.stages.iter().all(|stage| stage.tree.is_clean()));
            let over = output.stages.last().unwrap().exit.timed_out;
            assert_eq!(over, how == 1, "only what never ends is out of time");
            sums.timed_out += u64::from(over);
        }
        2 => {
            let running = pipeline.spawn().unwrap();
            let reports = running.kill(LONG).await.unwrap();
            assert!(reports.iter().all(|report| report.is_clean()));
        }
        _ => drop(pipeline.spawn().unwrap()),
    }
    let seen = ledger.settle(sums).await;
    assert!(seen <= bytes);
    assert!(seen == bytes || how != 0, "{seen} of {bytes} bytes passed through the pipeline");
    sums.child_bytes += seen;
    sums.pipelines += 1;
}
