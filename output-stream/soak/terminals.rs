//! Processes on terminals of their own, which end, are killed, interrupted or dropped.

use crate::Sums;
use crate::dice::Dice;
use crate::ledger::follow;
use lastout_output_stream::{Config, Inlet, Process, ProcessBuilder, Stream, Terminal};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Does not end by itself.
pub(crate) const STAYS: &str = "; sleep 600 & sleep 600";

/// One that writes `bytes` and a line, and then goes on like this.
pub(crate) fn on_terminal(bytes: u64, then: &str, dice: &mut Dice) -> ProcessBuilder {
    let write = format!("head -c {bytes} /dev/zero | tr '\\0' x; echo; echo done{then}");
    let size = (1 + dice.roll(200)) as u16;
    Process::shell(write).terminal(Terminal::new(size, size).echo(false))
}

/// One terminal, of which no process is left.
pub(crate) async fn storm(dice: &mut Dice, sums: &mut Sums) {
    let bytes = dice.roll(300_000);
    let out = Stream::prepare(Config::default());
    let ledger = follow(&out, dice);
    let how = dice.roll(4);
    let then = match how {
        0 => "",
        1 => "; exec sleep 600",
        _ => STAYS,
    };
    let builder = on_terminal(bytes, then, dice).stdin(Inlet::Piped).stdout(out).timeout(LONG);
    let mut process = builder.spawn().unwrap();
    process.pty().unwrap().resize(1 + dice.roll(99) as u16, 80).unwrap();
    match how {
        0 => {
            let exit = process.wait().await.unwrap();
            assert!(exit.success() && !exit.timed_out, "{exit:?}");
        }
        1 => {
            // An interrupt drops the output that was not read from the terminal yet.
            process.wait_for(LONG, |line| line.bytes.ends_with(b"done")).await.unwrap();
            process.stdin().unwrap().write("\x03").await.unwrap();
            let exit = process.wait_for_exit().await.unwrap();
            assert_eq!((exit.signal(), exit.timed_out), (Some(2), false), "{exit:?}");
        }
        2 => assert!(process.kill(LONG).await.unwrap().is_clean()),
        _ => {}
    }
    drop(process);
    let (seen, whole) = (ledger.settle(sums).await, bytes + "\r\ndone\r\n".len() as u64);
    assert!(seen <= whole);
    assert!(seen == whole || how > 1, "{seen} of {whole} bytes came from the terminal");
    sums.child_bytes += seen;
    sums.terminals += 1;
}
