//! A report as a table.

use crate::supervisor::drain::Tally;
use crate::supervisor::error::one_line;
use crate::supervisor::report::{Cause, Ending, MemberReport, Report};
use std::fmt;

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("the program asked for it"),
            Self::Signal(name) => write!(f, "{name} came"),
            Self::Failed(member) => write!(f, "{member} failed"),
            Self::Done => f.write_str("every member is done"),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "drained",
            Self::Forced => "forced",
            Self::Stuck => "stuck",
            Self::Absent => "absent",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["member", "end", "ended", "forced", "left behind", "time"].map(String::from);
        let mut rows = vec![header];
        rows.extend(self.members.iter().map(row));
        let widths: [usize; 6] = std::array::from_fn(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        });
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        for member in &self.members {
            for failure in &member.failures {
                writeln!(f, "failure: {}: {}", one_line(&member.name), one_line(failure))?;
            }
        }
        for (member, sum) in self.sums_off() {
            writeln!(f, "sum off: {}: {}", one_line(member), one_line(&sum.to_string()))?;
        }
        let mut left = self.left_behind().peekable();
        if left.peek().is_none() {
            writeln!(f, "left behind: nothing")?;
        }
        for (member, left) in left {
            writeln!(f, "left behind: {}: {}", one_line(member), one_line(&left.to_string()))?;
        }
        write!(f, "ended in {:.1?}: {}", self.elapsed, one_line(&self.cause.to_string()))
    }
}

fn row(member: &MemberReport) -> [String; 6] {
    let drained = &member.drained;
    let left = match drained.left_behind.len() {
        0 => "-".to_owned(),
        count => count.to_string(),
    };
    let mut end = member.ending.to_string();
    match member.restarts {
        0 => {}
        1 => end.push_str(", 1 restart"),
        restarts => end.push_str(&format!(", {restarts} restarts")),
    }
    let (ended, forced) = (list(&drained.ended), list(&drained.forced));
    let time = format!("{:.1?}", member.elapsed);
    [one_line(&member.name), end, ended, forced, left, time]
}

fn list(tallies: &[Tally]) -> String {
    if tallies.is_empty() {
        return "-".to_owned();
    }
    let words: Vec<_> = tallies.iter().map(Tally::to_string).collect();
    one_line(&words.join(", "))
}
