//! Counts tests from the lines of the test runners, for the closing line of `ci`.

/// Tests that ran.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, or ran out of time.
    pub failed: u64,
    /// Tests that were not run.
    pub skipped: u64,
}

impl Tally {
    /// Adds what a closing line of nextest or of libtest counts; any other line changes nothing.
    pub fn read_line(&mut self, line: &str) {
        let line = line.trim();
        let counts = if line.starts_with("test result:") {
            line.split_once(". ").map(|(_, counts)| counts)
        } else if line.starts_with("Summary [") {
            line.split_once(" run: ").map(|(_, counts)| counts)
        } else {
            None
        };
        let Some(counts) = counts else { return };
        for part in counts.split([',', ';']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(kind)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match kind {
                "passed" => self.passed += number,
                "failed" | "timed" => self.failed += number,
                "skipped" | "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.read_line(line));
        tally
    }

    #[test]
    fn both_runners_are_counted() {
        let tally = count(&[
            "test result: FAILED. 4 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; finished in 0.00s",
            "     Summary [   0.010s] 3 tests run: 2 passed (1 slow), 1 timed out, 5 skipped",
        ]);
        assert_eq!(
            tally,
            Tally {
                passed: 6,
                failed: 2,
                skipped: 7
            }
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(
            count(&["test a ... ok", "9 passed", "running 3 tests"]),
            Tally::default()
        );
    }

    #[test]
    fn the_closing_line_has_the_form_that_ci_reads() {
        assert_eq!(count(&[]).to_string(), "0 passed, 0 failed, 0 skipped");
    }
}
