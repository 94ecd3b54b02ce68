//! The tests that need the machine: many in one boot, a line for each.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::image::Image;
use super::machine::{End, Machine, Stream};
use super::programs::{self, TestProgram};
use super::report::Report;
use crate::keeper::Kept;
use crate::process;

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// What runs before every change.
    Quick,
    /// Everything.
    Full,
}

/// Test programs that pass on any Linux as they do in the machine, so that a quick run leaves them out.
const ELSEWHERE: [&str; 4] = ["calls", "failpoint", "loop_ephemeral", "namespace"];

impl Length {
    fn includes(self, program: &TestProgram) -> bool {
        self == Length::Full || !ELSEWHERE.contains(&&*program.name)
    }

    fn deadline(self) -> Duration {
        match self {
            Length::Quick => Duration::from_secs(15 * 60),
            Length::Full => Duration::from_secs(3 * 60 * 60),
        }
    }
}

/// Runs the tests, and closes with the counts.
pub(super) fn run(length: Length, missing: Option<String>) -> Result<ExitCode> {
    let mut report = Report::default();
    if let Some(why) = missing {
        report.skip("vm", &why);
        return Ok(report.close());
    }
    let start = Instant::now();
    let image = Image::get()?;
    spent("disk image", start);
    let start = Instant::now();
    let mut programs = programs::build()?;
    programs.retain(|program| length.includes(program));
    spent("building", start);
    let kept = Kept::new("flexvol-vm-")?;
    let mut machine = Machine::new(image, kept.folder());
    machine.deadline = length.deadline();
    let result = boot(&mut machine, &programs, &mut report);
    kept.clean()?;
    result?;
    Ok(report.close())
}

fn spent(what: &str, start: Instant) {
    println!("{what:<14} {:>7.1} s", start.elapsed().as_secs_f64());
}

/// One boot that runs all `programs`.
fn boot(machine: &mut Machine, programs: &[TestProgram], report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let command = ["sh".into(), "-c".into(), script(programs).into()];
    report.switched_on();
    let run = machine.run(&command, &mut |stream: Stream, bytes| report.take(stream, bytes))?;
    report.switched_off();
    if run.end != End::Status(0) {
        run.explain();
        report.fail(&format!("the machine: {:?}", run.end));
    }
    spent("machine", start);
    Ok(())
}

/// What the guest runs: each program, with the words that tell the reader which one it is and how it ended.
fn script(programs: &[TestProgram]) -> String {
    let mut text = String::new();
    for program in programs {
        let file = process::quote(&program.file.to_string_lossy());
        text += &format!("echo '     Running {}' {file}\n", program.name);
        text += &format!("{file} --test-threads=1 --show-output; echo \"vm: ended with $?\"\n");
    }
    text
}
