//! A runner that runs nothing.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use crate::command::Command;
use crate::runner::{Captured, Ended, Output, Pipes, Runner, StartError, StartFailure};

type Answer = dyn Fn(&Command) -> Option<Result<Output, StartFailure>> + Send + Sync;

/// Answers by the file name of the program and by its arguments. Later rules win over earlier ones; a run that no rule
/// answers panics with the command.
#[derive(Clone, Default)]
pub struct FakeRunner {
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    rules: Vec<(String, Box<Answer>)>,
    calls: Vec<Vec<String>>,
}

/// What a program leaves that exits with `code` after printing `stdout`.
#[must_use]
pub fn output(code: i32, stdout: impl Into<Vec<u8>>) -> Output {
    let captured = Captured { bytes: stdout.into(), omitted: 0 };
    Output {
        ended: Ended::Exited(code),
        core: Default::default(),
        stdout: captured.clone(),
        stderr: Captured::default(),
        combined: captured,
        duration: Duration::from_millis(1),
        pipes: Pipes::Closed,
    }
}

impl FakeRunner {
    /// A runner that expects nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every run of `program` (its file name) ends like this.
    pub fn always(&self, program: &str, output: Output) {
        self.on(program, move |_| Some(Ok(output.clone())));
    }

    /// Every run of `program` fails to start like this.
    pub fn cannot_start(&self, program: &str, reason: StartFailure) {
        self.on(program, move |_| Some(Err(reason.clone())));
    }

    /// Runs of `program` (its file name) are answered by this function, which may change the test's world; `None` leaves
    /// the run to earlier rules.
    pub fn on(
        &self,
        program: &str,
        answer: impl Fn(&Command) -> Option<Result<Output, StartFailure>> + Send + Sync + 'static,
    ) {
        lock(&self.world).rules.push((program.to_owned(), Box::new(answer)));
    }

    /// What was run so far: the file name of the program and its arguments, secret ones as `<redacted>`.
    #[must_use]
    pub fn calls(&self) -> Vec<Vec<String>> {
        lock(&self.world).calls.clone()
    }
}

impl Runner for FakeRunner {
    fn run(&self, command: &Command) -> Result<Output, StartError> {
        let name = command.program().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shown = command.shown_arguments().map(|word| word.to_string_lossy().into_owned());
        let mut world = lock(&self.world);
        world.calls.push(std::iter::once(name.clone()).chain(shown).collect());
        let rules = world.rules.iter().rev().filter(|(program, _)| *program == name);
        match rules.filter_map(|(_, answer)| answer(command)).next() {
            Some(Ok(output)) => Ok(output),
            Some(Err(reason)) => Err(StartError { program: command.program().to_owned(), reason }),
            None => panic!("the test did not expect this run: {command}"),
        }
    }
}

impl fmt::Debug for FakeRunner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FakeRunner").field("calls", &self.calls()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(runner: &FakeRunner, program: &str, argument: &str) -> Result<Output, StartError> {
        runner.run(&Command::new(program, Duration::from_secs(1)).argument(argument))
    }

    #[test]
    fn the_latest_rule_that_answers_wins() {
        let runner = FakeRunner::new();
        runner.always("tool", output(0, "general"));
        runner.on("tool", |command| {
            let special = command.raw_arguments().any(|word| word == "special");
            special.then(|| Ok(output(3, "special")))
        });
        assert_eq!(run(&runner, "/usr/bin/tool", "x").unwrap().stdout.bytes, b"general");
        assert_eq!(run(&runner, "tool", "special").unwrap().ended, Ended::Exited(3));
        assert_eq!(runner.calls(), [["tool", "x"], ["tool", "special"]]);
    }

    #[test]
    fn a_program_may_refuse_to_start() {
        let runner = FakeRunner::new();
        runner.cannot_start("tool", StartFailure::Missing);
        assert_eq!(run(&runner, "tool", "").unwrap_err().reason, StartFailure::Missing);
    }

    #[test]
    #[should_panic(expected = "did not expect this run: other \"x\"")]
    fn an_unexpected_run_fails_the_test() {
        let runner = FakeRunner::new();
        runner.always("tool", output(0, ""));
        let _ = run(&runner, "other", "x");
    }

    #[test]
    fn secrets_are_not_recorded() {
        let runner = FakeRunner::new();
        runner.always("tool", output(0, ""));
        runner.run(&Command::new("tool", Duration::from_secs(1)).secret_argument("hunter2")).unwrap();
        assert!(!format!("{runner:?}").contains("hunter2"));
    }
}
