//! Counting test results by the lines that test programs print.

use std::collections::BTreeMap;
use std::fmt;

/// The counts so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Tests and cases that ran and passed.
    passed: u64,
    /// Tests and cases that failed.
    pub(super) failed: u64,
    /// Tests that could not run here, with the reason: each one is among the passed ones of its own program.
    skipped: BTreeMap<String, String>,
    /// Tests marked `#[ignore]`.
    ignored: u64,
    place: Place,
}

/// Where in a test program's output we are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Outside the output that tests printed.
    #[default]
    Report,
    /// In the output of tests that passed.
    Successes,
    /// In the output of tests that failed.
    Failures,
}

/// Whether a line is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// A result, a failure, or the compiler's words.
    Yes,
    /// Noise of tests that passed.
    No,
}

impl Tally {
    /// Takes one line of output.
    pub(super) fn line(&mut self, line: &str) -> Show {
        if let Some((name, why)) = skipped(line) {
            self.skipped.insert(name.to_owned(), why.to_owned());
            return Show::No;
        }
        if let Some(counts) = libtest_result(line).or_else(|| closing_line(line)) {
            self.place = Place::Report;
            self.passed += counts.passed;
            self.failed += counts.failed;
            self.ignored += counts.ignored;
            return if counts.passed + counts.failed + counts.ignored == 0 { Show::No } else { Show::Yes };
        }
        if line.starts_with("     Running ") || line.starts_with("   Doc-tests ") {
            self.place = Place::Report;
        }
        match line {
            "successes:" => self.place = Place::Successes,
            "failures:" => self.place = Place::Failures,
            _ => {}
        }
        self.show(line)
    }

    fn show(&self, line: &str) -> Show {
        let started = line.starts_with("running ") || line.starts_with("test ");
        let noise = line.is_empty()
            || started && !line.ends_with("FAILED")
            || line.trim_start().starts_with("Compiling ");
        match self.place {
            Place::Failures => Show::Yes,
            Place::Report if !noise => Show::Yes,
            Place::Report | Place::Successes => Show::No,
        }
    }

    /// Lists the tests that could not run here.
    pub(super) fn print_skipped(&self) {
        for (name, why) in &self.skipped {
            println!("skipped: {name}: {why}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.skipped.len() as u64;
        let (passed, failed) = (self.passed.saturating_sub(skipped), self.failed);
        write!(out, "{passed} passed, {failed} failed, {} skipped", skipped + self.ignored)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// `skipped: NAME: why`, as a test prints it that cannot run here.
fn skipped(line: &str) -> Option<(&str, &str)> {
    line.trim_start().strip_prefix("skipped: ")?.split_once(": ")
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
fn libtest_result(line: &str) -> Option<Counts> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number =
        |word: &str| counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse().ok());
    Some(Counts { passed: number("passed")?, failed: number("failed")?, ignored: number("ignored")? })
}

/// `3 passed, 0 failed`, alone on a line.
fn closing_line(line: &str) -> Option<Counts> {
    let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Counts { passed: passed.parse().ok()?, failed: failed.parse().ok()?, ignored: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_add_up() {
        let mut tally = Tally::default();
        tally.line(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        tally.line("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        tally.line("520 passed, 4 failed");
        assert_eq!(tally.to_string(), "525 passed, 5 failed, 1 skipped");
    }

    #[test]
    fn a_test_that_could_not_run_is_skipped_and_not_passed() {
        let mut tally = Tally::default();
        tally.line("successes:");
        tally.line("skipped: mounts_ext4: needs mkfs.ext4 (package e2fsprogs)");
        tally.line("skipped: mounts_ext4: needs mkfs.ext4 (package e2fsprogs)");
        tally.line(
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        assert_eq!(tally.to_string(), "2 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn failures_are_shown_and_noise_of_successes_is_not() {
        let mut tally = Tally::default();
        let shown = |tally: &mut Tally, line| tally.line(line) == Show::Yes;
        assert!(shown(&mut tally, "error[E0308]: mismatched types"));
        assert!(!shown(&mut tally, "test tests::fine ... ok"));
        assert!(shown(&mut tally, "test tests::bad ... FAILED"));
        assert!(!shown(&mut tally, "successes:"));
        assert!(!shown(&mut tally, "some words of a test"));
        assert!(shown(&mut tally, "failures:"));
        assert!(shown(&mut tally, "assertion failed"));
    }
}
