//! What a command answers: a table on a terminal, lines with tabs in a pipe, or JSON; and its exit status.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Something failed, or there is something to find fault with.
pub(crate) const FAILED: u8 = 1;
/// The words were not understood.
pub(crate) const USAGE: u8 = 2;

/// It was refused, or there was nothing to do.
pub(crate) const REFUSED: u8 = 3;
/// There is no such job.
pub(crate) const NO_JOB: u8 = 4;

/// What a command has to say.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl Answer {
    /// A text, and all is well.
    pub(crate) fn say(text: impl Into<String>) -> Result<Self, Failed> {
        Ok(Self { text: text.into(), code: 0 })
    }

    /// A value as JSON.
    pub(crate) fn json(value: &serde_json::Value) -> Result<Self, Failed> {
        Self::say(value.to_string())
    }

    /// Rows under titles: aligned on a terminal, with tabs and without titles elsewhere.
    pub(crate) fn table(titles: &[&str], rows: Vec<Vec<String>>) -> Result<Self, Failed> {
        let rows = rows.into_iter().map(|row| row.iter().map(|cell| clean(cell)).collect());
        let rows: Vec<Vec<String>> = rows.collect();
        if !io::stdout().is_terminal() {
            let lines: Vec<_> = rows.iter().map(|row| row.join("\t")).collect();
            return Self::say(lines.join("\n"));
        }
        let titles: Vec<String> = titles.iter().map(|title| title.to_uppercase()).collect();
        let all = || std::iter::once(&titles).chain(&rows);
        let width = |at: usize| all().map(|row| row[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..titles.len()).map(width).collect();
        let lines = all().map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        });
        Self::say(lines.collect::<Vec<_>>().join("\n"))
    }
}

/// Text of others moves no cursor and ends no line.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Why a command has no answer.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl Failed {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: USAGE }
    }

    pub(crate) fn text(text: String) -> Self {
        Self { text, code: FAILED }
    }

    pub(crate) fn new(what: impl fmt::Display, error: &(dyn Error + 'static)) -> Self {
        Self { text: format!("{what}: {}", chain(error)), code: FAILED }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lastout: {}", self.text)?;
        if self.code == USAGE {
            f.write_str("\nlastout: `lastout help` lists the commands")?;
        }
        Ok(())
    }
}

/// An error and its sources, as one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(&format!(": {error}"));
        source = error.source();
    }
    line
}

/// Prints a text, on a terminal after `before`. False when the reader has gone, such as `head`.
pub(crate) fn print(text: &str, before: &str) -> io::Result<bool> {
    let before = if io::stdout().is_terminal() { before } else { "" };
    let end = if text.is_empty() { "" } else { "\n" };
    match write!(io::stdout(), "{before}{text}{end}").and_then(|()| io::stdout().flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Prints a line to stderr. A reader that has gone changes neither what is done nor the exit status.
pub(crate) fn tell(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints the answer. A reader that has gone is no failure.
pub(crate) fn give(answer: Result<Answer, Failed>) -> ExitCode {
    match answer {
        Ok(Answer { text, code }) => match print(&text, "") {
            Ok(_) => ExitCode::from(code),
            Err(error) => {
                tell(format_args!("lastout: write the answer: {error}"));
                ExitCode::from(FAILED)
            }
        },
        Err(failed) => {
            tell(&failed);
            ExitCode::from(failed.code)
        }
    }
}
