//! Counts tests from the lines of the test runners, for the closing line of `ci`.

/// Whose lines are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// cargo-nextest: one summary, on standard error.
    Nextest,
    /// `cargo test`: a result for each target, on standard output.
    Libtest,
}

/// Tests that ran.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, or ran out of time; a target that died counts as one.
    pub failed: u64,
    /// Tests that were not run.
    pub skipped: u64,
}

impl Tally {
    /// Takes in a line of a run; any that is not the runner's own count changes nothing.
    ///
    /// Tests print, too: under nextest only the last summary on standard error counts, and under
    /// `cargo test` only lines that begin like its own.
    pub fn read_line(&mut self, runner: Runner, is_error: bool, line: &str) {
        match runner {
            Runner::Nextest => {
                let summary = line.trim_start().strip_prefix("Summary [").filter(|_| is_error);
                if let Some((_, counts)) = summary.and_then(|line| line.split_once(" run: ")) {
                    *self = Self::default();
                    self.read_counts(counts);
                }
            }
            Runner::Libtest => {
                let result = line.strip_prefix("test result: ").filter(|_| !is_error);
                if let Some((_, counts)) = result.and_then(|line| line.split_once(". ")) {
                    self.read_counts(counts);
                }
            }
        }
    }

    fn read_counts(&mut self, counts: &str) {
        for part in counts.split([',', ';']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(kind)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match kind {
                "passed" => self.passed += number,
                "failed" | "timed" | "exec" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// The count of a run that ended; a failed run without a failed test had something die.
    #[must_use]
    pub fn ended(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
        }
        self
    }

    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(runner: Runner, is_error: bool, lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.read_line(runner, is_error, line));
        tally
    }

    #[test]
    fn libtest_is_counted_for_each_target() {
        let line = "test result: FAILED. 4 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out";
        let tally = count(Runner::Libtest, false, &[line, line]);
        assert_eq!(tally, Tally { passed: 8, failed: 2, skipped: 4 });
    }

    #[test]
    fn nextest_is_counted_once_whatever_its_tests_print() {
        let summary =
            "     Summary [   0.010s] 3 tests run: 2 passed (1 slow), 1 timed out, 5 skipped";
        let forged = "test result: ok. 1000 passed; 0 failed";
        let tally = count(Runner::Nextest, true, &[forged, summary, summary]);
        assert_eq!(tally, Tally { passed: 2, failed: 1, skipped: 0 });
        assert_eq!(count(Runner::Nextest, false, &[summary]), Tally::default());
    }

    #[test]
    fn what_tests_print_indented_or_as_an_error_is_not_counted() {
        let lines = ["  test result: ok. 5 passed; 0 failed", "test a ... ok", "9 passed"];
        assert_eq!(count(Runner::Libtest, false, &lines), Tally::default());
        assert_eq!(count(Runner::Libtest, true, &["test result: ok. 5 passed"]), Tally::default());
    }

    #[test]
    fn a_run_that_died_counts_as_a_failure() {
        assert_eq!(Tally::default().ended(false).failed, 1);
        assert_eq!(Tally::default().ended(true).failed, 0);
    }

    #[test]
    fn the_closing_line_has_the_form_that_ci_reads() {
        assert_eq!(Tally::default().to_string(), "0 passed, 0 failed, 0 skipped");
    }
}
