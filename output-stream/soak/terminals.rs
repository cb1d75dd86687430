//! Processes on terminals of their own, which end, are killed or dropped.

use crate::Sums;
use crate::dice::Dice;
use crate::ledger::follow;
use lastout_output_stream::{Config, Process, ProcessBuilder, Stream, Terminal};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// One that writes `bytes` and a line, and then ends or does not.
pub(crate) fn on_terminal(bytes: u64, ends: bool, dice: &mut Dice) -> ProcessBuilder {
    let then = if ends { "" } else { "; sleep 600 & sleep 600" };
    let write = format!("head -c {bytes} /dev/zero | tr '\\0' x; echo; echo done{then}");
    let size = (1 + dice.roll(200)) as u16;
    Process::shell(write).terminal(Terminal::new(size, size).echo(false))
}

/// One terminal, of which no process is left.
pub(crate) async fn storm(dice: &mut Dice, sums: &mut Sums) {
    let bytes = dice.roll(300_000);
    let out = Stream::prepare(Config::default());
    let ledger = follow(&out, dice);
    let how = dice.roll(3);
    let builder = on_terminal(bytes, how == 0, dice).stdout(out).timeout(LONG);
    let mut process = builder.spawn().unwrap();
    process.pty().unwrap().resize(1 + dice.roll(99) as u16, 80).unwrap();
    match how {
        0 => {
            let exit = process.wait().await.unwrap();
            assert!(exit.success() && !exit.timed_out, "{exit:?}");
        }
        1 => assert!(process.kill(LONG).await.unwrap().is_clean()),
        _ => {}
    }
    drop(process);
    let (seen, whole) = (ledger.settle(sums).await, bytes + "\r\ndone\r\n".len() as u64);
    assert!(seen <= whole);
    assert!(seen == whole || how > 0, "{seen} of {whole} bytes came from the terminal");
    sums.child_bytes += seen;
    sums.terminals += 1;
}
