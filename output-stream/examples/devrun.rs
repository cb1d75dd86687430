//! Runs several commands side by side, each line behind a coloured name, and starts all of them again when a file
//! changes. Ctrl-C ends them all, with everything that they have started.
//!
//! ```text
//! cargo run -p lastout-output-stream --features process --example devrun -- \
//!     --watch src/main.rs 'web=cargo run' 'css=npm run watch'
//! ```
#![allow(clippy::print_stdout, reason = "it is a program")]

use lastout_output_stream::tree::Signal;
use lastout_output_stream::{Channel, Process};
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];

/// Name and command line.
type Job = (String, OsString);

fn order() -> Result<(Option<PathBuf>, Vec<Job>), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (mut watched, mut jobs) = (None, Vec::new());
    while let Some(argument) = arguments.next() {
        if argument == "--watch" {
            watched = Some(arguments.next().ok_or("--watch FILE")?.into());
            continue;
        }
        let bytes = argument.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=').ok_or("NAME=COMMAND")?;
        let name = String::from_utf8_lossy(&bytes[..at]).into_owned();
        jobs.push((name, OsStr::from_bytes(&bytes[at + 1..]).into()));
    }
    if jobs.is_empty() { Err("NAME=COMMAND...".into()) } else { Ok((watched, jobs)) }
}

/// Runs one command to its end, or until `stop` changes.
async fn run((name, line): &Job, colour: u8, mut stop: watch::Receiver<u32>) {
    let prefix = format!("\x1b[{colour}m{name}\x1b[0m");
    stop.mark_unchanged();
    let shown = prefix.clone();
    let output = Process::shell(line)
        .graceful(Signal::TERM, Duration::from_secs(5))
        .cancel_on(async move { drop(stop.changed().await) })
        .on_line(move |channel, line| match channel {
            Channel::Out => println!("{shown} | {}", line.text()),
            Channel::Err => println!("{shown} ! {}", line.text()),
        })
        .output()
        .await;
    match output {
        Ok(output) if output.exit.cancelled => println!("{prefix} stopped"),
        Ok(output) => println!("{prefix} {}", output.exit.status),
        Err(error) => println!("{prefix} {error}"),
    }
}

/// Waits until the file is another one than before.
async fn changed(path: &Path, before: Option<SystemTime>) {
    while modified(path) == before {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (watched, jobs) = order()?;
    let (stop, stopped) = watch::channel(0);
    loop {
        let before = watched.as_deref().and_then(modified);
        let all = async {
            let jobs = jobs.iter().zip(COLOURS.into_iter().cycle());
            let running = jobs.map(|(job, colour)| run(job, colour, stopped.clone()));
            futures_util::future::join_all(running).await
        };
        let mut all = std::pin::pin!(all);
        let Some(path) = &watched else {
            all.await;
            return Ok(());
        };
        let is_over = tokio::select! {
            biased;
            _ = &mut all => true,
            () = changed(path, before) => false,
        };
        if is_over {
            changed(path, before).await;
        } else {
            stop.send_modify(|round| *round += 1);
            all.await;
        }
        println!("{} changed", path.display());
    }
}
