//! What the test programs in the machine say, as people read it: a line for each case, how to repeat a failed one, counts.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Instant;

use super::machine::{End, Stream};
use crate::test::tally::Tally;

/// Reads the output and prints the report.
#[derive(Debug)]
pub(super) struct Report {
    print: fn(&str),
    tally: Tally,
    /// What came of each stream since its last whole line.
    partial: HashMap<Stream, Vec<u8>>,
    /// The name and the file of the program that is running.
    program: Option<(String, String)>,
    /// When the last case ended, and the next one began.
    since: Option<Instant>,
    /// Failures of the running program that were counted before it started.
    failed_before: u64,
}

impl Default for Report {
    fn default() -> Self {
        Self::printed_by(|line| println!("{line}"))
    }
}

impl Report {
    fn printed_by(print: fn(&str)) -> Self {
        Self {
            print,
            tally: Tally::default(),
            partial: HashMap::new(),
            program: None,
            since: None,
            failed_before: 0,
        }
    }

    /// The machine starts.
    pub(super) fn switched_on(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Takes what the machine wrote.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let partial = self.partial.entry(stream).or_default();
        partial.extend_from_slice(bytes);
        let Some(end) = partial.iter().rposition(|byte| *byte == b'\n') else { return };
        let lines: Vec<u8> = partial.drain(..=end).collect();
        for line in String::from_utf8_lossy(&lines).lines() {
            self.line(line.trim_end());
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(words) = line.strip_prefix("     Running ") {
            let (name, file) = words.split_once(' ').unwrap_or((words, words));
            self.program = Some((name.to_owned(), file.to_owned()));
            self.show(line);
            self.failed_before = self.tally.failed;
        } else if let Some(status) = line.strip_prefix("vm: ended with ") {
            self.show_all(Tally::end);
            // Dead before it could say what failed.
            if status != "0" && self.tally.failed == self.failed_before {
                let program = self.program.as_ref().map_or("", |(name, _)| name).to_owned();
                self.fail(&format!("{program}: ended with {status}"));
            }
            self.program = None;
        } else if let Some((name, verdict)) = case(line) {
            self.case(name, verdict);
        } else {
            self.show(line);
        }
    }

    fn show(&mut self, line: &str) {
        self.show_all(|tally| tally.line(line));
    }

    fn show_all(&mut self, take: impl FnOnce(&mut Tally) -> Vec<String>) {
        take(&mut self.tally).iter().for_each(|line| (self.print)(line));
    }

    fn case(&mut self, name: &str, verdict: &str) {
        let seconds = self.since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        self.since = Some(Instant::now());
        (self.print)(&format!("{verdict:<7} {seconds:>7.1} s  {name}"));
        if let (true, Some((_, file))) = (verdict == "FAILED", &self.program) {
            let name = crate::process::quote(name);
            (self.print)(&format!(
                "  repeat with: cargo xtask vm --disk 2G --disk 256M -- {file} --exact {name} --nocapture"
            ));
        }
    }

    /// The machine is off, and was to end so: what was it doing?
    pub(super) fn switched_off(&mut self, wanted: End) {
        for (_, partial) in std::mem::take(&mut self.partial) {
            if !partial.is_empty() {
                (self.print)(&format!("last: {}", String::from_utf8_lossy(&partial)));
            }
        }
        if let Some((name, _)) = self.program.take() {
            self.show_all(Tally::end);
            if wanted != End::PowerCut {
                self.fail(&format!("{name}: was running when the machine stopped"));
            }
        }
    }

    /// Counts a failure that no test program could tell.
    pub(super) fn fail(&mut self, what: &str) {
        (self.print)(&format!("FAILED  {what}"));
        self.tally.failed += 1;
    }

    /// Counts something that cannot run here.
    pub(super) fn skip(&mut self, name: &str, why: &str) {
        self.show(&format!("skipped: {name}: {why}"));
    }

    /// Prints the counts.
    pub(super) fn close(self) -> ExitCode {
        self.tally.print_skipped();
        println!("{}", self.tally);
        if self.tally.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// `test NAME ... ok`.
fn case(line: &str) -> Option<(&str, &str)> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name, verdict.split(',').next().unwrap_or(verdict)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        // Printed, these lines would be read again by the one who counts the results of this test.
        let mut report = Report::printed_by(|_| {});
        report.switched_on();
        for byte in text.as_bytes() {
            report.take(Stream::Out, &[*byte]);
        }
        report.switched_off(End::Status(0));
        report.tally.to_string()
    }

    #[test]
    fn results_of_programs_are_counted() {
        let text = "     Running a x/a\ntest one ... ok\nskipped: one: no disk\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\nvm: ended with 0\n";
        assert_eq!(read(text), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn a_program_that_dies_is_a_failure() {
        assert_eq!(
            read("     Running a x/a\ntest one ... vm: x\nvm: ended with 139\n"),
            "0 passed, 1 failed, 0 skipped"
        );
        assert_eq!(read("     Running a x/a\ntest one ... "), "0 passed, 1 failed, 0 skipped");
        let failed = "     Running a x/a\ntest one ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0\nvm: ended with 101\n";
        assert_eq!(read(failed), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_case_has_a_name_and_a_verdict() {
        assert_eq!(case("test a × b ... ok"), Some(("a × b", "ok")));
        assert_eq!(case("test a ... ignored, slow"), Some(("a", "ignored")));
        assert_eq!(case("test result: ok. 1 passed"), None);
    }
}
