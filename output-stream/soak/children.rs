//! Processes of every temper: they write, hang, fork, daemonize, and are ended in every way.

use crate::Sums;
use crate::dice::Dice;
use lastout_output_stream::{Config, Keep, Policy, Position, Process, Stream, tree};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// A process that writes `bytes` to standard output, and then does what its temper says.
pub(crate) fn script(bytes: u64, temper: u64) -> String {
    let write = format!("head -c {bytes} /dev/zero; echo done >&2");
    match temper {
        // A helper holds the pipes.
        0 => format!("{write}; sleep 600 &"),
        // One that left the session, too.
        1 => format!("{write}; setsid sleep 600 & exit 3"),
        // It never ends by itself.
        2 => format!("{write}; sleep 600; :"),
        // Nor when it is asked to.
        3 => format!("trap '' TERM; {write}; sleep 600 & sleep 600"),
        // Somebody writes for ever.
        4 => format!("{write}; yes > /dev/null & exit 0"),
        _ => write,
    }
}

/// A few processes, each ended in a way of its own; nobody of them is left.
pub(crate) async fn storm(dice: &mut Dice, sums: &mut Sums) {
    for _ in 0..=dice.roll(3) {
        let bytes = dice.roll(2_000_000);
        let temper = dice.roll(9);
        match dice.roll(3) {
            0 => to_the_end(bytes, temper, sums).await,
            1 => watched(bytes, temper, dice.roll(3), sums).await,
            _ => dropped(bytes, temper).await,
        }
        sums.children += 1;
    }
}

async fn to_the_end(bytes: u64, temper: u64, sums: &mut Sums) {
    let ends = !matches!(temper, 2 | 3);
    let builder = Process::shell(script(bytes, temper)).grace(Duration::from_millis(50));
    let builder = if ends { builder.timeout(LONG) } else { builder.timeout(LONG / 200) };
    let output = builder.output_within(Keep::all()).await.unwrap();
    assert!(output.tree.is_clean());
    if output.exit.timed_out {
        assert!(!ends, "{:?}", output.exit);
        sums.timed_out += 1;
        assert!(output.stdout.total() <= bytes);
    } else {
        assert_eq!(output.stdout.total(), bytes, "all that was written before the exit is read");
        assert_eq!((output.stdout.omitted(), output.stdout.lost()), (0, 0));
        let code = if temper == 1 { 3 } else { 0 };
        assert_eq!(output.exit.code(), Some(code));
        assert_eq!(output.stderr.text(), "done\n");
    }
    sums.writers_left += u64::from(output.exit.writers_left());
    sums.child_bytes += output.stdout.total();
}

/// Watched by a reader from the first byte on, and then ended.
async fn watched(bytes: u64, temper: u64, how: u64, sums: &mut Sums) {
    let out = Stream::prepare(Config::default());
    let reader = out.subscribe(Position::Start, Policy::Block).unwrap();
    let mut collector = reader.collect(Keep::nothing());
    let script = script(bytes, temper);
    let mut process = Process::shell(script).stdout(out).spawn().unwrap();
    let mut errors = process.stderr().lines(Default::default()).unwrap();
    assert_eq!(errors.next().await.unwrap().text(), "done");
    match how {
        0 => assert!(process.kill(LONG).await.unwrap().is_clean()),
        1 => {
            let policy = tree::EndPolicy::term(Duration::from_millis(20));
            assert!(process.terminate(&policy).await.unwrap().is_clean());
        }
        _ if matches!(temper, 2 | 3) => drop(process.kill(LONG).await.unwrap()),
        _ => {}
    }
    let exit = process.wait().await.unwrap();
    assert!(!exit.timed_out);
    let kept = collector.wait().await;
    assert_eq!((kept.total(), kept.lost()), (bytes, 0), "read from the first byte on: {exit:?}");
    sums.writers_left += u64::from(exit.writers_left());
    sums.child_bytes += kept.total();
}

/// Dropped while it runs: its streams end, and the auditor finds nobody.
async fn dropped(bytes: u64, temper: u64) {
    let process = Process::shell(script(bytes, temper)).spawn().unwrap();
    let stdout = process.stdout().clone();
    let mut collector = stdout.collect(Keep::all()).unwrap();
    drop(process);
    stdout.ended().await;
    assert!(collector.wait().await.total() <= bytes);
}
