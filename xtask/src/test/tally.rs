//! Counting test results by the lines that test programs print.

use std::collections::BTreeMap;
use std::fmt;

/// The counts so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Tests and cases that ran and passed.
    passed: u64,
    /// Tests and cases that failed.
    pub(crate) failed: u64,
    /// Tests that could not run here, with the reason: each one is among the passed ones of its own program.
    skipped: BTreeMap<String, String>,
    /// Tests marked `#[ignore]`.
    ignored: u64,
    source: Source,
    place: Place,
    /// The last result of the test program that is running. A test may run others of its program, whose results come
    /// before; only the last one is of the program itself.
    last: Option<(Counts, String)>,
}

/// Whose output is read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// One that closes with `N passed, N failed`.
    #[default]
    Cases,
    /// A test program.
    Program,
    /// rustdoc, which gives one result for each way in which it builds examples.
    Examples,
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

impl Tally {
    /// Takes one line of output; the lines to show.
    pub(crate) fn line(&mut self, line: &str) -> Vec<String> {
        if let Some((name, why)) = skipped(line) {
            self.skipped.insert(name.to_owned(), why.to_owned());
            return Vec::new();
        }
        if let Some(source) = header(line) {
            let mut shown = self.end();
            (self.source, self.place) = (source, Place::Report);
            shown.push(line.to_owned());
            return shown;
        }
        if let Some(counts) = libtest_result(line) {
            self.place = Place::Report;
            let before = if self.source == Source::Examples { self.count_last() } else { Vec::new() };
            self.last = Some((counts, line.to_owned()));
            return before;
        }
        if let Some(counts) = closing_line(line).filter(|_| self.source == Source::Cases) {
            self.add(&counts);
        }
        match line {
            "successes:" => self.place = Place::Successes,
            "failures:" => self.place = Place::Failures,
            _ => {}
        }
        if self.shows(line) { vec![line.to_owned()] } else { Vec::new() }
    }

    /// The program has ended: its last result counts.
    pub(crate) fn end(&mut self) -> Vec<String> {
        self.source = Source::Cases;
        self.count_last()
    }

    fn count_last(&mut self) -> Vec<String> {
        let Some((counts, line)) = self.last.take() else { return Vec::new() };
        self.add(&counts);
        if counts == Counts::default() { Vec::new() } else { vec![line] }
    }

    fn add(&mut self, counts: &Counts) {
        self.passed += counts.passed;
        self.failed += counts.failed;
        self.ignored += counts.ignored;
    }

    fn shows(&self, line: &str) -> bool {
        let started = line.starts_with("running ") || line.starts_with("test ");
        let building = line.trim_start().starts_with("Compiling ");
        let noise = line.is_empty() || started && !line.ends_with("FAILED") || building;
        match self.place {
            Place::Failures => true,
            Place::Report => !noise,
            Place::Successes => false,
        }
    }

    /// Lists the tests that could not run here.
    pub(crate) fn print_skipped(&self) {
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

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// The line with which cargo says what it runs next.
fn header(line: &str) -> Option<Source> {
    let program = line.starts_with("     Running ").then_some(Source::Program);
    program.or_else(|| line.starts_with("   Doc-tests ").then_some(Source::Examples))
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

    const PROGRAM: &str = "     Running unittests src/lib.rs (target/debug/deps/a)";

    fn result(passed: u32, failed: u32, ignored: u32) -> String {
        let verdict = if failed == 0 { "ok" } else { "FAILED" };
        format!(
            "test result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out"
        )
    }

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| drop(tally.line(line)));
        tally.end();
        tally
    }

    #[test]
    fn results_of_several_programs_and_cases_add_up() {
        let (first, second) = (result(3, 0, 1), result(2, 1, 0));
        let mut tally = tally(&[PROGRAM, &first, PROGRAM, &second]);
        tally.line("520 passed, 4 failed");
        assert_eq!(tally.to_string(), "525 passed, 5 failed, 1 skipped");
    }

    #[test]
    fn tests_that_a_test_runs_are_not_counted_twice() {
        let (inner, outer) = (result(0, 1, 0), result(5, 0, 0));
        let tally = tally(&[PROGRAM, &inner, "failures:", &inner, "7 passed, 0 failed", &outer]);
        assert_eq!(tally.to_string(), "5 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn each_result_of_documentation_counts() {
        let (one, other) = (result(3, 0, 0), result(1, 0, 0));
        assert_eq!(
            tally(&["   Doc-tests flexvolume", &one, &other]).to_string(),
            "4 passed, 0 failed, 0 skipped"
        );
    }

    #[test]
    fn a_test_that_could_not_run_is_skipped_and_not_passed() {
        let skipped = "skipped: mounts_ext4: needs mkfs.ext4 (package e2fsprogs)";
        let tally = tally(&[PROGRAM, "successes:", skipped, skipped, &result(3, 0, 0)]);
        assert_eq!(tally.to_string(), "2 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn failures_are_shown_and_noise_of_successes_is_not() {
        let mut tally = Tally::default();
        let mut shown = |line| tally.line(line).contains(&line.to_owned());
        assert!(shown("error[E0308]: mismatched types"));
        assert!(shown(PROGRAM));
        assert!(!shown("test tests::fine ... ok"));
        assert!(shown("test tests::bad ... FAILED"));
        assert!(!shown("successes:"));
        assert!(!shown("some words of a test"));
        assert!(shown("failures:"));
        assert!(shown("assertion failed"));
    }
}
