//! What a tree has used, in the lines that `/usr/bin/time -v` prints, for the whole tree.

use lastout_proc_tree::{Reading, RootEnd, Usage};
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::time::Duration;

pub(crate) fn print(words: &[OsString], elapsed: Duration, usage: &Usage, root: Option<&RootEnd>) {
    line("Command being timed", format!("{:?}", words.join(OsStr::new(" "))));
    line("User time (seconds)", shown(usage.user, seconds));
    line("System time (seconds)", shown(usage.system, seconds));
    let percent = usage.cpu().map(|cpu| {
        let share = cpu.as_secs_f64() / elapsed.as_secs_f64().max(f64::EPSILON);
        format!("{:.0}%", share * 100.0)
    });
    line("Percent of CPU this job got", percent.unwrap_or_else(unknown));
    line("Elapsed (wall clock) time (h:mm:ss or m:ss)", clock(elapsed));
    line(
        "Maximum resident set size (kbytes)",
        shown(usage.peak_memory, |bytes| bytes.div_ceil(1024)),
    );
    line("File system inputs", shown(usage.read, |bytes| bytes / 512));
    line("File system outputs", shown(usage.written, |bytes| bytes / 512));
    line("Most processes and threads at a time", shown(usage.peak_tasks, |count| count));
    if let Some(root) = root {
        line(
            "Exit status",
            root.status.code().map_or_else(|| root.status.to_string(), |c| c.to_string()),
        );
        line("Ended because", root.cause);
    }
}

fn line(what: &str, value: impl Display) {
    eprintln!("\t{what}: {value}");
}

/// The number and what counted it.
fn shown<T: Copy, S: Display>(reading: Option<Reading<T>>, show: impl Fn(T) -> S) -> String {
    reading.map_or_else(unknown, |it| format!("{} ({})", show(it.value), it.source))
}

fn unknown() -> String {
    "unknown".into()
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{rest:02}.{:02}", time.subsec_millis() / 10),
        _ => format!("{hours}:{minutes:02}:{rest:02}"),
    }
}
